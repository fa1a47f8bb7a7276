//! `cargo xtask sim`: schedules of faults against the very election of the product, and deliberate
//! defects that they must find.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::process::{Command, ExitCode};

use crate::Outcome;
use crate::cargo::{self, cargo};

/// How many schedules a full test runs: about a minute of one core, half of it on two.
const SCHEDULES: &str = "600000";

/// How long one mutant may survive. The slowest takes some 20 s.
const SECONDS: &str = "180";

/// The simulator with these arguments.
pub(crate) fn command<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> Command {
    let mut command = cargo(["run", "--profile", "sim", "--package", "leasehold-sim"]);
    command.args(["--bin", "leasehold-sim"]);
    // The first build takes minutes: who looks sees it.
    if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    command.arg("--").args(arguments);
    command
}

/// The simulator for a person: it has said itself what was wrong, and ends as it ended.
pub(crate) fn by_hand(arguments: &[String]) -> Result<ExitCode, String> {
    let status = command(arguments).status();
    let status = status.map_err(|error| format!("cannot start cargo: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn run(arguments: &[String]) -> Outcome {
    cargo::run(&mut command(arguments))
}

/// A step of the tests: fixed seeds, no violation.
pub(crate) fn schedules() -> Result<String, String> {
    run(&["--seeds".to_owned(), SCHEDULES.to_owned()]).map(|()| format!("{SCHEDULES} schedules"))
}

/// A step of the tests: no mutant survives.
pub(crate) fn mutants() -> Result<String, String> {
    let arguments = ["--mutants", "--budget", SECONDS].map(str::to_owned);
    run(&arguments).map(|()| String::new())
}
