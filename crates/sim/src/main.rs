//! `leasehold-sim`: runs schedules, defects and replays.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod command;

use std::process::ExitCode;

use clap::Parser;

/// Schedules allocate little and often.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = match command::Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match command::run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(64)
        }
    }
}
