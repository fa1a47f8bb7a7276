//! `leasehold-sim`: runs schedules, defects and replays.
#![allow(clippy::print_stderr)]

mod command;

use std::process::ExitCode;

/// Schedules allocate little and often.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = match command::Options::from_arguments() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match command::run(&options) {
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
