//! The conformance suite as a command.

use std::io::Write;
use std::process::ExitCode;

use leasehold_conformance::command::{self, USAGE};
use leasehold_conformance::failed::Failed;
use leasehold_conformance::stop::Stop;
use leasehold_conformance::{process, told};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    if let Some(ended) = process::candidate_if_asked() {
        return ended;
    }
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).skip(1).collect();
    let stop = Stop::default();
    stop.obey(signals);
    match told::tell("leasehold-conformance", |say| command::run(&arguments, &stop, say)) {
        Ok(true) => ExitCode::SUCCESS,
        Err(Failed::Usage(_)) => {
            let _ = writeln!(std::io::stderr(), "\n{}", USAGE.trim_end());
            ExitCode::from(2)
        }
        Err(Failed::Stopped(signal)) => ExitCode::from(128_u8.saturating_add(signal)),
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// The number of the next one that asks to end.
fn signals() -> Option<impl AsyncFnMut() -> u8> {
    let [Ok(mut interrupt), Ok(mut terminate)] =
        [SignalKind::interrupt(), SignalKind::terminate()].map(signal)
    else {
        return None;
    };
    Some(async move || {
        tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
        }
    })
}
