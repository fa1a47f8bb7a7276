//! Cargo, called in this checkout.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    // Read when run, not when built: checkouts may share a target directory.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").expect("cargo run sets it");
    Path::new(&manifest).parent().expect("xtask lies in the checkout").to_owned()
}

/// Where cargo builds by default.
pub(crate) fn target_directory() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The cargo that runs this, at the root of the checkout, without input. It finds the `protoc` that
/// the etcd client generates its code with, unless the caller names another.
pub(crate) fn cargo<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    if env::var_os("PROTOC").is_none()
        && let Ok(protoc) = protoc_bin_vendored::protoc_bin_path()
    {
        command.env("PROTOC", protoc);
    }
    command
}

/// Runs a command to its end, its output going where ours goes.
///
/// # Errors
/// It cannot be started, or did not succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", line(command))) }
}

/// Runs a command and returns what it prints.
///
/// # Errors
/// As [`run`].
pub(crate) fn capture(command: &mut Command) -> Result<String, String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| cannot_start(command, &error))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{} ended with {}", line(command), output.status))
    }
}

/// What the test binaries of one or more `cargo test` said, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) ignored: u64,
}

/// Runs a `cargo test`, passes its output on and counts.
///
/// # Errors
/// As [`run`].
pub(crate) fn count_tests(command: &mut Command) -> Result<Counts, String> {
    let mut counts = Counts::default();
    each_line(command, |line| counts.count(line))?;
    Ok(counts)
}

/// Runs a command, passes its output on and returns the last line.
///
/// # Errors
/// As [`run`].
pub(crate) fn last_line(command: &mut Command) -> Result<String, String> {
    let mut last = String::new();
    each_line(command, |line| line.clone_into(&mut last))?;
    Ok(last)
}

fn each_line(command: &mut Command, mut see: impl FnMut(&str)) -> Result<(), String> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| cannot_start(command, &error))?;
    let output = child.stdout.take().expect("it is piped");
    for line in BufReader::new(output).split(b'\n') {
        let line = line.map_err(|error| format!("cannot read its output: {error}"))?;
        let line = String::from_utf8_lossy(&line);
        see(&line);
        println!("{line}");
    }
    let status = child.wait().map_err(|error| format!("cannot wait for cargo: {error}"))?;
    // A closed pipe is no reason to call a test run failed.
    let _ = std::io::stdout().flush();
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", line(command))) }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, ignored: self.ignored + other.ignored }
    }
}

impl Counts {
    /// Reads a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn count(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            match (pair[0].parse::<u64>(), pair[1]) {
                (Ok(number), "passed") => self.passed += number,
                (Ok(number), "ignored") => self.ignored += number,
                _ => {}
            }
        }
    }
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start {}: {error}", command.get_program().display())
}

/// A command as a person would type it.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_test_binaries_say() {
        let mut counts = Counts::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished \
             in 0.02s",
            "test says_2_passed ... ok",
            "test result: FAILED. 40 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out",
        ] {
            counts.count(line);
        }
        assert_eq!(counts, Counts { passed: 43, ignored: 1 });
    }

    #[test]
    fn prints_a_command_as_typed() {
        let mut command = Command::new("/some/where/cargo");
        assert_eq!(line(command.args(["fmt", "--all"])), "cargo fmt --all");
    }
}
