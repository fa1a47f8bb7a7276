//! Logs go to standard error; standard output is the child's alone.

use std::io;

use tracing::level_filters::LevelFilter;

use crate::args::{LogArgs, LogFormat};

/// Installs the subscriber of this process.
pub fn install(args: LogArgs) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let colour = args.color.applies_to(&io::stderr());
    // A closed standard error is no reason to fail.
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_ansi(colour)
        .with_target(false)
        .log_internal_errors(false);
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
}
