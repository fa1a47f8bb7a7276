//! `cargo xtask conformance`: the same cases against every backend.

use std::process::Command;

use crate::cargo::{self, cargo, target_directory};
use crate::{Outcome, servers};

/// Installs the servers that are asked for, and runs the suite.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let asks = |backend: &str| {
        arguments.iter().any(|argument| argument.starts_with(backend) && !argument.contains(':'))
    };
    if asks("etcd") || asks("k8s") {
        servers::run(Some("etcd"))?;
    }
    if asks("k8s") {
        for server in ["kubernetes", "client-go", "client-go-endpoints"] {
            servers::run(Some(server))?;
        }
    }
    if asks("redis") || asks("valkey") {
        servers::run(Some("redis"))?;
    }
    build()?;
    cargo::run(suite().args(arguments))
}

/// What a candidate asks of a store, once each. The whole tier is
/// `cargo xtask conformance etcd-least`.
const LEAST: &str = "Q1,Q2,BA1,BA2,BA6,EX2,RN2,HO1,HO7,FE1,FE4,FE7,WA1,WA2";

/// What depends on how servers of Redis stand to one another. Whole tiers are
/// `cargo xtask conformance redis-cluster` and its like.
const SOME: &str = "Q1,Q2,Q3,BA1,BA2,EX2,RN2,HO1,FE1,FE4,WA1,SV1,SV2,SE1";

/// A step of `cargo xtask test`: the fast tier on real servers, and some of it once more where
/// everybody may use one lock and nothing else. Those without servers are among the slow tests.
pub(crate) fn step() -> Result<String, String> {
    on(&[("etcd", None), ("etcd-least", Some(LEAST)), ("k8s", None)])
}

/// The same for Redis: the oldest one and Sentinels whole; of the others what depends on how they
/// stand.
pub(crate) fn redis() -> Result<String, String> {
    on(&[
        ("redis", None),
        ("redis-sentinel", None),
        ("valkey", Some(SOME)),
        ("redis-replicated", Some(SOME)),
        ("redis-cluster", Some(SOME)),
        ("redis-least", Some(SOME)),
    ])
}

/// Runs the fast tier on each store, or these cases of it. Returns their last lines.
fn on(stores: &[(&str, Option<&str>)]) -> Result<String, String> {
    build()?;
    let lines =
        stores.iter().map(|(store, cases)| cargo::last_line(suite().arg(store).args(*cases)));
    Ok(lines.collect::<Result<Vec<_>, _>>()?.join("; "))
}

/// Builds the suite's command, and beside it the one whose children the cases look at. Both as the
/// tests of the whole workspace build them: with the features of one package alone most of the tree
/// would be built once more.
fn build() -> Result<(), String> {
    let tests = ["--test", "proxy", "--test", "run"];
    cargo::run(cargo(["test", "--quiet", "--workspace", "--no-run"]).args(tests))
}

/// The suite's command, once it is built.
fn suite() -> Command {
    let built = target_directory().join("debug");
    let mut suite = Command::new(built.join("leasehold-conformance"));
    suite.env("LEASEHOLD_PROGRAM", built.join("leasehold"));
    suite
}
