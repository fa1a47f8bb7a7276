//! `cargo xtask test`: everything that must hold, as named steps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, Counts, capture, cargo, count_tests, root};
use crate::steps::{self, Lane, Step};
use crate::{
    Outcome, conformance, defects, fresh, model, other_systems, own_store, servers, sim, size,
    tools, width,
};

/// In the order they run: what fails fast comes first.
const STEPS: &[Step] = &[
    quick("tools", tools::components_and_packages),
    quick("format", format),
    quick("clippy", clippy),
    full("core-alone", core_without_driver),
    full("facade-alone", facade_without_backends),
    quick("no-defects", defects::step),
    full("other-systems", other_systems::step),
    quick("tests", tests),
    quick("doc-tests", doc_tests),
    full("fresh-project", fresh::step),
    full("own-store", own_store::step),
    full("servers", servers::step),
    beside("redis-conformance", Lane::Waits, conformance::redis),
    beside("redis-tests", Lane::Waits, redis_tests),
    beside("simulation", Lane::Computes, sim::schedules),
    beside("mutants", Lane::Computes, sim::mutants),
    beside("model", Lane::Computes, model::complete),
    full("conformance", conformance::step),
    full("etcd-tests", etcd_tests),
    full("kubernetes-tests", kubernetes_tests),
    full("slow-tests", slow_tests),
    full("docs", documentation),
    full("dependencies", dependencies),
    full("size", size::step),
];

type Run = fn() -> Result<String, String>;

const fn full(name: &'static str, run: Run) -> Step {
    Step { name, quick: false, lane: Lane::Row, run }
}

const fn quick(name: &'static str, run: Run) -> Step {
    Step { quick: true, ..full(name, run) }
}

const fn beside(name: &'static str, lane: Lane, run: Run) -> Step {
    Step { lane, ..full(name, run) }
}

/// An integration test whose file name begins so takes more than a few seconds; `--quick` leaves it
/// out.
const SLOW: &str = "slow_";

/// One whose file name begins so needs the servers of `cargo xtask servers etcd`; `--quick` leaves
/// it out too.
const ETCD: &str = "etcd_";

/// The same, of `cargo xtask servers kubernetes`.
const KUBERNETES: &str = "kubernetes_";

/// The same, of `cargo xtask servers redis`.
const REDIS: &str = "redis_";

/// Of these, the ones that measure how long something takes: one at a time. The others stand side
/// by side.
const PACE: &str = "pace";

/// How many clusters of three members the machine carries beside each other.
const SIDE_BY_SIDE: &str = "--test-threads=2";

/// What may not be in the tree of a core without driver.
const DRIVER_CRATES: [&str; 3] = ["tokio", "rustix", "getrandom"];

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    quick: bool,
    list: bool,
    only: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        for &argument in arguments {
            match argument {
                "--quick" => options.quick = true,
                "--list" => options.list = true,
                flag if flag.starts_with('-') => return Err(format!("test does not know {flag}")),
                step if STEPS.iter().any(|known| known.name == step) => {
                    options.only.push(step.to_owned());
                }
                other => {
                    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
                    return Err(format!(
                        "there is no step {other:?}; the steps are: {}",
                        names.join(", ")
                    ));
                }
            }
        }
        Ok(options)
    }

    fn chosen(&self) -> Vec<&'static Step> {
        let named = |step: &&Step| self.only.iter().any(|name| name == step.name);
        if !self.only.is_empty() {
            return STEPS.iter().filter(named).collect();
        }
        STEPS.iter().filter(|step| step.quick || !self.quick).collect()
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    let chosen = options.chosen();
    if options.list {
        chosen.iter().for_each(|step| println!("{}", step.name));
        return Ok(());
    }
    steps::run(&chosen)
}

fn format() -> Result<String, String> {
    silently(cargo(["fmt", "--all", "--check"]))?;
    width::step()
}

fn clippy() -> Result<String, String> {
    let scope = ["--workspace", "--all-targets", "--all-features"];
    silently(with(&["clippy"], &scope, &["--", "-D", "warnings"]))
}

/// The pure part must build where there is no async runtime at all.
fn core_without_driver() -> Result<String, String> {
    let scope = ["-p", "leasehold-core", "--no-default-features"];
    cargo::run(&mut with(&["build"], &scope, &[]))?;
    cargo::run(&mut with(&["clippy"], &scope, &["--", "-D", "warnings"]))?;
    let tree = capture(&mut with(&["tree", "--edges", "normal", "--prefix", "none"], &scope, &[]))?;
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    match DRIVER_CRATES.iter().find(|name| crates.contains(name)) {
        Some(name) => Err(format!("leasehold-core depends on {name} without its driver")),
        None => Ok(String::new()),
    }
}

/// The facade without backends, and the suite as a store of one's own uses it.
fn facade_without_backends() -> Result<String, String> {
    for package in ["leasehold", "leasehold-conformance"] {
        let scope = ["-p", package, "--no-default-features"];
        cargo::run(&mut with(&["clippy"], &scope, &["--", "-D", "warnings"]))?;
    }
    Ok(String::new())
}

fn tests() -> Result<String, String> {
    let prefixes = [SLOW, ETCD, KUBERNETES, REDIS];
    let full = |name: &String| prefixes.iter().any(|it| name.starts_with(it));
    let quick = test_targets()?.into_iter().filter(|name| !full(name));
    let named: Vec<String> = quick.map(|name| format!("--test={name}")).collect();
    let mut command = cargo(["test", "--workspace", "--lib", "--bins", "--examples"]);
    counted(count_tests(command.args(named))?)
}

fn doc_tests() -> Result<String, String> {
    counted_or_none(count_tests(&mut cargo(["test", "--workspace", "--doc"]))?)
}

/// One at a time: these start processes, stop them and measure how long the others take. They print
/// what they measured.
fn slow_tests() -> Result<String, String> {
    counted(files("slow_*", |name| name.starts_with(SLOW), "--test-threads=1")?)
}

/// With a real cluster each.
fn etcd_tests() -> Result<String, String> {
    on_servers(ETCD)
}

/// With a real API server and its etcd each.
fn kubernetes_tests() -> Result<String, String> {
    on_servers(KUBERNETES)
}

/// With servers of their own each, which are small: most of the time is waiting for leases.
fn redis_tests() -> Result<String, String> {
    counted(files("redis_*", |name| name.starts_with(REDIS), "--test-threads=4")?)
}

fn on_servers(prefix: &str) -> Result<String, String> {
    let pace = format!("{prefix}{PACE}");
    let others = |name: &str| name.starts_with(prefix) && !name.starts_with(&pace);
    let measured = files(&format!("{pace}*"), |name| name.starts_with(&pace), "--test-threads=1")?;
    let beside = files(&format!("{prefix}*"), others, SIDE_BY_SIDE)?;
    counted(measured + beside)
}

fn files(what: &str, chosen: impl Fn(&str) -> bool, threads: &str) -> Result<Counts, String> {
    let chosen = test_targets()?.into_iter().filter(|name| chosen(name));
    let named: Vec<String> = chosen.map(|name| format!("--test={name}")).collect();
    if named.is_empty() {
        return Err(format!("there is no test file {what}.rs"));
    }
    let mut command = cargo(["test", "--workspace"]);
    count_tests(command.args(named).args(["--", threads, "--show-output"]))
}

fn documentation() -> Result<String, String> {
    // Libraries only: the command and the facade are both called `leasehold` and would overwrite
    // each other.
    let mut command = cargo(["doc", "--workspace", "--lib", "--no-deps", "--all-features"]);
    cargo::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    // What programs read, as docs.rs builds it: without the development dependencies of anybody.
    let mut command = cargo(["doc", "-p", "leasehold", "--lib", "--no-deps", "--all-features"]);
    cargo::run(command.args(docs_rs_arguments()?).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(String::new())
}

/// What the facade's manifest has docs.rs give to cargo.
fn docs_rs_arguments() -> Result<Vec<String>, String> {
    let path = root().join("crates/leasehold/Cargo.toml");
    let manifest = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("cargo-args = "));
    let line = line.ok_or("the facade's manifest has no cargo-args for docs.rs")?;
    Ok(line.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

fn dependencies() -> Result<String, String> {
    cargo::run(&mut cargo(["fetch"]))?;
    let mut deny = tools::cargo_deny()?;
    silently({
        deny.args(["--offline", "check", "bans", "licenses", "sources"]);
        deny
    })
}

fn silently(mut command: Command) -> Result<String, String> {
    cargo::run(&mut command).map(|()| String::new())
}

fn with(before: &[&str], scope: &[&str], after: &[&str]) -> Command {
    cargo(before.iter().chain(scope).chain(after))
}

/// A suite with zero tests is red, and so is one that left a test out.
fn counted(counts: Counts) -> Result<String, String> {
    if counts.passed == 0 {
        return Err("not one test ran".to_owned());
    }
    counted_or_none(counts)
}

fn counted_or_none(Counts { passed, ignored }: Counts) -> Result<String, String> {
    match ignored {
        0 => Ok(format!("{passed} tests")),
        _ => Err(format!(
            "{ignored} tests are ignored: a slow one belongs in a file tests/{SLOW}*.rs, and one \
             that cannot run must fail"
        )),
    }
}

/// The names of all integration tests, in order.
fn test_targets() -> Result<Vec<String>, String> {
    let root = root();
    let mut members = directories(&root.join("crates"))?;
    members.extend(directories(&root)?);
    let mut names = Vec::new();
    for member in members.iter().filter(|member| member.join("Cargo.toml").exists()) {
        let tests = member.join("tests");
        if tests.exists() {
            names.extend(targets_in(&tests)?);
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// A test target is a file `tests/NAME.rs` or a directory `tests/NAME` with a `main.rs`.
fn targets_in(tests: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for path in entries(tests)? {
        let is_target = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists();
        if let (true, Some(name)) = (is_target, path.file_stem()) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn directories(parent: &Path) -> Result<Vec<PathBuf>, String> {
    Ok(entries(parent)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let read = || {
        let entries = fs::read_dir(directory)?;
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()
    };
    read().map_err(|error| format!("cannot list {}: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Vec<&'static str> {
        Options::parse(arguments).unwrap().chosen().iter().map(|step| step.name).collect()
    }

    #[test]
    fn quick_leaves_out_what_is_slow_and_naming_a_step_runs_it_alone() {
        assert_eq!(names(&[]).len(), STEPS.len());
        assert!(!names(&["--quick"]).contains(&"slow-tests"));
        assert!(names(&["--quick"]).contains(&"tests"));
        assert_eq!(names(&["--quick", "size"]), ["size"]);
        assert!(Options::parse(&["sizes"]).unwrap_err().contains("there is no step \"sizes\""));
        assert!(Options::parse(&["--fast"]).unwrap_err().contains("--fast"));
    }

    #[test]
    fn no_tests_and_ignored_tests_are_failures() {
        assert!(counted(Counts { passed: 0, ignored: 0 }).is_err());
        assert!(counted(Counts { passed: 9, ignored: 1 }).is_err());
        assert_eq!(counted(Counts { passed: 9, ignored: 0 }), Ok("9 tests".to_owned()));
    }
}
