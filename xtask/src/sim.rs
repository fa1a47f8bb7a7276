//! `cargo xtask sim`: schedules of faults against the very election of the product, and deliberate defects that they
//! must find.

use crate::Outcome;
use crate::cargo::{self, cargo};

/// How many schedules a full test runs: about half a minute on one core.
const SCHEDULES: &str = "300000";

/// How long one mutant may survive. The slowest takes some 20 s.
const SECONDS: &str = "180";

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut command =
        cargo(["run", "--profile", "sim", "--quiet", "--package", "leasehold-sim", "--"]);
    cargo::run(command.args(arguments))
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
