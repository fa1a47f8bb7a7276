//! `cargo xtask mutants`: blind mutation of the election and its timing. Every operator, arm, guard
//! and result is changed in turn, and some test must fail.
//!
//! `cargo xtask sim --mutants` is something else: unsafe variants that people thought of, which the
//! simulation must find by the harm they do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, cargo, root, target_directory};
use crate::{Outcome, tools};

const USAGE: &str = "\
Usage: cargo xtask mutants [FILE...]

Changes the election and its timing blindly, one operator, arm, guard or result at a time, and runs
the tests for each: first core's own unit tests, then, for what survives them, the tests of the
driver and the simulation's fixed seeds. Fails if one survives that
crates/core/mutants-accepted.txt does not list.

  FILE    only this file, such as plan.rs

`cargo xtask sim --mutants` is something else: unsafe variants of the election that people
thought of, which the simulation must find.
";

const SOURCES: &str = "crates/core/src";

/// What is changed: the pure part. `mutant.rs` is a switch for tests.
const FILES: [&str; 7] = [
    "election/answers.rs",
    "election/mod.rs",
    "election/plan.rs",
    "election/settle.rs",
    "election/state.rs",
    "fit.rs",
    "timing.rs",
];

/// The survivors that change nothing that matters, each under the reason why.
const ACCEPTED: &str = "crates/core/mutants-accepted.txt";

/// The quick tests, for every mutant.
const UNITS: Pass = Pass {
    name: "units",
    options: &[
        "--no-default-features",
        "--cargo-arg=--config=profile.mutants.package.leasehold-core.opt-level=0",
        "--minimum-test-timeout=20",
    ],
    tests: &["--lib"],
};

/// The tests for what survived the quick ones.
const ALL: Pass = Pass {
    name: "all",
    // It would run these tests on the package that is mutated alone, which has not all of them: see
    // `sound`.
    options: &[
        "--test-package=leasehold-core",
        "--test-package=leasehold-sim",
        "--baseline=skip",
        "--timeout=120",
    ],
    tests: &["--test=driver", "--test=elector", "--test=term", "--test=fixed"],
};

/// One run of cargo-mutants.
struct Pass {
    name: &'static str,
    options: &'static [&'static str],
    tests: &'static [&'static str],
}

/// What cargo-mutants found, each mutant as it names it.
struct Found {
    killed: usize,
    survived: Vec<String>,
}

pub(crate) fn run(arguments: &[&str]) -> Outcome {
    if arguments.iter().any(|argument| ["help", "--help", "-h"].contains(argument)) {
        print!("{USAGE}");
        return Ok(());
    }
    let files = chosen(arguments)?;
    let units = UNITS.run(&files, &[])?;
    println!("{} killed by unit tests, {} left", units.killed, units.survived.len());
    let survived = match units.survived.as_slice() {
        [] => Vec::new(),
        survived => {
            sound()?;
            // It tests a few that the patterns do not name, too, which the unit tests had killed.
            let mut left = ALL.run(&files, survived)?.survived;
            left.retain(|name| survived.contains(name));
            left
        }
    };
    let path = root().join(ACCEPTED);
    let accepted = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let accepted = accepted.lines().filter(|line| files.iter().any(|file| is_in(line, file)));
    let verdict = Verdict::of(survived.iter().map(|name| without_place(name)), accepted);
    for name in &verdict.gone {
        println!("no longer survives, strike it from {ACCEPTED}: {name}");
    }
    for name in &verdict.new {
        println!("survived: {name}");
    }
    let total = units.killed + units.survived.len();
    let (killed, new) = (total - survived.len(), verdict.new.len());
    println!("{total} mutants, {killed} killed, {} accepted, {new} survived", survived.len() - new);
    match new {
        0 => Ok(()),
        _ => Err(format!(
            "{new} mutants survived: write the test that is missing, or say in {ACCEPTED} why none \
             can be"
        )),
    }
}

fn chosen(arguments: &[&str]) -> Result<Vec<&'static str>, String> {
    if arguments.is_empty() {
        return Ok(FILES.to_vec());
    }
    let find = |name: &&str| {
        let file = FILES.iter().find(|file| **file == *name || file.ends_with(&format!("/{name}")));
        file.copied().ok_or_else(|| {
            format!("mutants does not know {name:?}; the files are: {}", FILES.join(", "))
        })
    };
    arguments.iter().map(find).collect()
}

impl Pass {
    /// Tests these mutants, or all of these files.
    fn run(&self, files: &[&str], only: &[String]) -> Result<Found, String> {
        let out = home().join(self.name);
        fs::create_dir_all(&out)
            .map_err(|error| format!("cannot create {}: {error}", out.display()))?;
        let mut command = tools::cargo_mutants()?;
        command.args(["mutants", "--profile=mutants", "--package=leasehold-core", "--output"]);
        command.arg(&out).args(self.options);
        for file in files {
            command.arg(format!("--file={SOURCES}/{file}"));
        }
        for name in only {
            command.arg(format!("--re=^{}$", escaped(name)));
        }
        command.arg("--").args(self.tests);
        // It changes a copy of the checkout, which it makes among the temporary files.
        command.env("CARGO_TARGET_DIR", home().join("build"));
        finish(&mut command)?;
        Found::read(&out.join("mutants.out"))
    }
}

/// The tests of the second pass hold without a mutation. Else every mutant would seem killed.
fn sound() -> Outcome {
    let mut command = cargo(["test", "--quiet", "--profile=mutants"]);
    command.args(["--package=leasehold-core", "--package=leasehold-sim"]).args(ALL.tests);
    cargo::run(command.env("CARGO_TARGET_DIR", home().join("build")))
}

fn home() -> PathBuf {
    target_directory().join("mutants")
}

/// Survivors and tests that hang are no failure of the run.
fn finish(command: &mut Command) -> Outcome {
    const ALL_KILLED: i32 = 0;
    const SOME_SURVIVED: i32 = 2;
    const SOME_HUNG: i32 = 3;
    let status =
        command.status().map_err(|error| format!("cannot start cargo-mutants: {error}"))?;
    match status.code() {
        Some(ALL_KILLED | SOME_SURVIVED | SOME_HUNG) => Ok(()),
        _ => Err(format!("cargo-mutants ended with {status}")),
    }
}

impl Found {
    /// Those that do not compile count for nothing, those that hang the tests are killed.
    fn read(out: &Path) -> Result<Self, String> {
        let lines = |name: &str| -> Result<Vec<String>, String> {
            let path: PathBuf = out.join(name);
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Ok(text.lines().map(str::to_owned).collect())
        };
        let killed = lines("caught.txt")?.len() + lines("timeout.txt")?.len();
        Ok(Self { killed, survived: lines("missed.txt")? })
    }
}

/// Survivors against the accepted ones. Several mutants of a function may have one name.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    new: Vec<String>,
    gone: Vec<String>,
}

impl Verdict {
    fn of<'a>(
        survived: impl Iterator<Item = String>,
        accepted: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        survived.for_each(|name| *counts.entry(name).or_default() += 1);
        accepted.for_each(|name| *counts.entry(name.to_owned()).or_default() -= 1);
        let mut verdict = Self { new: Vec::new(), gone: Vec::new() };
        for (name, count) in counts {
            let side = if count > 0 { &mut verdict.new } else { &mut verdict.gone };
            side.extend((0..count.abs()).map(|_| name.clone()));
        }
        verdict
    }
}

fn is_in(line: &str, file: &str) -> bool {
    line.starts_with(&format!("{SOURCES}/{file}: "))
}

/// `a.rs:12:5: replace …` as `a.rs: replace …`, which an edit elsewhere in the file does not
/// change.
fn without_place(name: &str) -> String {
    let Some((place, what)) = name.split_once(": ") else { return name.to_owned() };
    let file = place.split(':').next().unwrap_or(place);
    format!("{file}: {what}")
}

/// As a regular expression that matches exactly this.
fn escaped(name: &str) -> String {
    const SPECIAL: &str = r"\.+*?()|[]{}^$#&-~";
    let mut text = String::new();
    for c in name.chars() {
        if SPECIAL.contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survivor_is_new_unless_it_is_listed_as_often_as_it_survives() {
        let survived = ["a: x", "a: x", "b: y"].map(str::to_owned);
        let verdict = Verdict::of(survived.into_iter(), ["a: x", "c: z"].into_iter());
        let texts =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(verdict, Verdict { new: texts(&["a: x", "b: y"]), gone: texts(&["c: z"]) });
    }

    #[test]
    fn a_name_does_not_say_where_in_the_file() {
        let name = "crates/core/src/timing.rs:169:61: replace + with - in Timing::bounds";
        let short = "crates/core/src/timing.rs: replace + with - in Timing::bounds";
        assert_eq!(without_place(name), short);
        assert!(is_in(short, "timing.rs") && !is_in(short, "election/plan.rs"));
        assert!(!is_in("# why", "timing.rs"));
    }

    #[test]
    fn a_name_is_matched_as_it_is() {
        assert_eq!(escaped("a.rs: (x) -> <y>"), r"a\.rs: \(x\) \-> <y>");
    }

    #[test]
    fn files_are_named_as_a_person_would() {
        assert_eq!(chosen(&["plan.rs"]), Ok(vec!["election/plan.rs"]));
        assert_eq!(chosen(&[]).unwrap().len(), FILES.len());
        assert!(chosen(&["mutant.rs"]).unwrap_err().contains("election/plan.rs"));
    }
}
