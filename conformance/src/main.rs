//! The conformance suite as a command.

use std::io::Write;
use std::process::ExitCode;

use leasehold_conformance::command::{self, USAGE};
use leasehold_conformance::stop::Stop;
use leasehold_conformance::{process, told};
use tokio::signal::unix::{SignalKind, signal};

/// The command line is wrong.
const WRONG: u8 = 64;

fn main() -> ExitCode {
    if let Some(ended) = process::candidate_if_asked() {
        return ended;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let stop = Stop::default();
    let asked = stop.clone();
    // Without it a signal ends the process, and what the cases made stays.
    std::thread::spawn(move || on_signals(&asked));
    let code = told::tell("leasehold-conformance", |say| command::run(&arguments, &stop, say));
    if code == WRONG {
        let _ = writeln!(std::io::stderr(), "\n{}", USAGE.trim_end());
    }
    ExitCode::from(code)
}

/// The first signal ends the run, and the second the process.
fn on_signals(stop: &Stop) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let [Ok(mut interrupt), Ok(mut terminate)] =
            [SignalKind::interrupt(), SignalKind::terminate()].map(signal)
        else {
            return;
        };
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
            };
            if !stop.ask(number) {
                std::process::exit(i32::from(128 + number));
            }
        }
    });
}
