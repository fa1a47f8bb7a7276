//! Logs go to standard error; standard output is the child's alone.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;

use crate::args::{Colour, LogArgs, LogFormat};

/// Installs the subscriber of this process.
pub fn install(args: LogArgs) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colour = match args.color {
        Colour::Auto => wanted && io::stderr().is_terminal(),
        Colour::Always => true,
        Colour::Never => false,
    };
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
