//! `cargo xtask sim`: schedules of faults against the very election of the product, and deliberate defects that they
//! must find.

use std::ffi::OsStr;
use std::process::Command;

use crate::Outcome;
use crate::cargo::{self, cargo};

/// How many schedules a full test runs: about a minute of one core, half of it on two.
const SCHEDULES: &str = "600000";

/// How long one mutant may survive. The slowest takes some 20 s.
const SECONDS: &str = "180";

/// The simulator with these arguments.
pub(crate) fn command<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> Command {
    let package = ["--package", "leasehold-sim", "--bin", "leasehold-sim", "--"];
    let mut command = cargo(["run", "--profile", "sim", "--quiet"]);
    command.args(package).args(arguments);
    command
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
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
