//! The conformance suite as a command.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command for people")]

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(ended) = leasehold_conformance::process::candidate_if_asked() {
        return ended;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match leasehold_conformance::command::run(&arguments, |text| println!("{text}")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}\n\n{}", leasehold_conformance::command::USAGE);
            ExitCode::from(64)
        }
    }
}
