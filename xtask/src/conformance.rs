//! `cargo xtask conformance`: the same cases against every backend.

use std::process::Command;

use crate::cargo::{self, cargo, target_directory};
use crate::{Outcome, servers};

/// Installs the servers that are asked for, and runs the suite.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    if arguments.iter().any(|argument| argument.starts_with("etcd") && !argument.contains(':')) {
        servers::run(Some("etcd"))?;
    }
    let mut suite = suite()?;
    cargo::run(suite.args(arguments))
}

/// The step of `cargo xtask test`: the fast tier on real servers, and once more where everybody may use one lock and
/// nothing else. Those without servers are among the slow tests.
pub(crate) fn step() -> Result<String, String> {
    let etcd = cargo::last_line(suite()?.arg("etcd"))?;
    let least = cargo::last_line(suite()?.arg("etcd-least"))?;
    Ok(format!("{etcd}; {least}"))
}

/// The suite's command, and beside it the one whose children the cases look at.
fn suite() -> Result<Command, String> {
    cargo::run(&mut cargo(["build", "--quiet", "-p", "leasehold-cli", "--features", "etcd"]))?;
    let mut suite = cargo(["run", "--quiet", "--package", "leasehold-conformance", "--"]);
    suite.env("LEASEHOLD_PROGRAM", target_directory().join("debug").join("leasehold"));
    Ok(suite)
}
