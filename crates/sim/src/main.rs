//! `leasehold-sim`: runs schedules, defects and replays.
#![allow(clippy::print_stderr)]

mod command;

use std::process::ExitCode;

/// Schedules allocate little and often.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let wrong = |error: clap::Error| {
        let _ = error.print();
        ExitCode::from(if error.use_stderr() { 64 } else { 0 })
    };
    if std::env::args_os().nth(1).is_some_and(|first| first == "processes") {
        return match command::Processes::from_arguments() {
            Ok(options) => end(options.run()),
            Err(error) => wrong(error),
        };
    }
    let options = match command::Options::from_arguments() {
        Ok(options) => options,
        Err(error) => return wrong(error),
    };
    end(command::run(&options))
}

fn end(outcome: command::Outcome) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // As if the signal that a closed pipe brings had ended it.
        Err(error) if command::is_closed_pipe(&error) => ExitCode::from(128 + 13),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(64)
        }
    }
}
