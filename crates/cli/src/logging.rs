//! Logs go to standard error; standard output is the child's alone.

mod line;

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{LogArgs, LogFormat};
use crate::output::Paint;
use line::Line;

/// Installs the subscriber of this process.
pub fn install(args: LogArgs) {
    let form = match args.log_format {
        LogFormat::Text => Line::Text(Paint(args.color.applies_to(&io::stderr()))),
        LogFormat::Json => Line::Json,
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(LevelFilter::TRACE)
        // A closed standard error is no reason to fail.
        .log_internal_errors(false)
        .event_format(form)
        .finish()
        .with(targets(args.quiet, args.verbose))
        .init();
}

/// How much is told. With one `-v` that is ours alone: a client library tells of every frame.
fn targets(quiet: bool, verbose: u8) -> Targets {
    let (ours, others) = match (quiet, verbose) {
        (true, _) => (LevelFilter::WARN, LevelFilter::WARN),
        (false, 0) => (LevelFilter::INFO, LevelFilter::INFO),
        (false, 1) => (LevelFilter::DEBUG, LevelFilter::INFO),
        (false, _) => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    // It tells every failed request as an error, and so do we, with what follows from it.
    let kube = if verbose == 0 { LevelFilter::OFF } else { others };
    Targets::new()
        .with_default(others)
        .with_target("leasehold", ours)
        .with_target("kube_client", kube)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn more_words_are_ours_first() {
        for (quiet, verbose, ours, others) in [
            (true, 0, Level::WARN, Level::WARN),
            (false, 0, Level::INFO, Level::INFO),
            (false, 1, Level::DEBUG, Level::INFO),
            (false, 2, Level::TRACE, Level::TRACE),
        ] {
            let targets = targets(quiet, verbose);
            for (target, most) in [("leasehold_etcd::pool", ours), ("h2::codec", others)] {
                for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                    assert_eq!(targets.would_enable(target, &level), level <= most, "{target}");
                }
            }
            assert_eq!(targets.would_enable("kube_client::client", &Level::ERROR), verbose > 0);
        }
    }
}
