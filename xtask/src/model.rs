//! `cargo xtask model`: every state of two candidates, explored with the very election of the
//! product.

use std::ffi::OsStr;
use std::process::Command;

use crate::Outcome;
use crate::cargo::{self, cargo};

/// The model checker with these arguments.
pub(crate) fn command<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> Command {
    let package = ["--package", "leasehold-sim", "--bin", "leasehold-model", "--"];
    let mut command = cargo(["run", "--profile", "sim", "--quiet"]);
    command.args(package).args(arguments);
    command
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    cargo::run(&mut command(arguments))
}

/// A step of the tests: all runs.
pub(crate) fn complete() -> Result<String, String> {
    run(&[]).map(|()| String::new())
}
