//! `cargo xtask conformance`: the same cases against every backend.

use crate::cargo::{self, cargo, target_directory};
use crate::{Outcome, servers};

/// Builds the command whose children the cases look at, installs the servers that are asked for, and runs the suite.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    cargo::run(&mut cargo(["build", "--quiet", "-p", "leasehold-cli", "--features", "etcd"]))?;
    if arguments.iter().any(|argument| ["etcd", "etcd-least"].contains(&argument.as_str())) {
        servers::run(Some("etcd"))?;
    }
    let mut suite = cargo(["run", "--quiet", "--package", "leasehold-conformance", "--"]);
    suite.env("LEASEHOLD_PROGRAM", target_directory().join("debug").join("leasehold"));
    cargo::run(suite.args(arguments))
}
