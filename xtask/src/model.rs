//! `cargo xtask model`: every state of two candidates, explored with the very election of the product.

use crate::Outcome;
use crate::cargo::{self, cargo};

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let program = ["--package", "leasehold-sim", "--bin", "leasehold-model"];
    let mut command = cargo(["run", "--release", "--quiet"].into_iter().chain(program));
    cargo::run(command.arg("--").args(arguments))
}

/// A step of the tests: all runs.
pub(crate) fn complete() -> Result<String, String> {
    run(&[]).map(|()| String::new())
}
