//! How long a release build of the command takes from cold, and how large it is.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cargo::{self, cargo, target_directory};

const MAX_BYTES: u64 = 6_000_000;

/// What a build may take on two cores that do nothing else.
const MAX_TIME: Duration = Duration::from_secs(90);

/// What it may take as a step among others, on a machine that may be busy.
const MAX_TIME_SHARED: Duration = Duration::from_secs(240);

/// `cargo xtask size`.
pub(crate) fn run(check: bool) -> Outcome {
    let build = Build::from_cold()?;
    println!("{}", build.describe());
    if check { build.check(MAX_TIME) } else { Ok(()) }
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Result<String, String> {
    let build = Build::from_cold()?;
    build.check(MAX_TIME_SHARED)?;
    Ok(build.describe())
}

struct Build {
    took: Duration,
    bytes: u64,
}

impl Build {
    /// Builds in a directory of its own, which is removed afterwards. Downloads are not counted.
    fn from_cold() -> Result<Self, String> {
        cargo::run(&mut cargo(["fetch"]))?;
        let target = Scratch(target_directory().join(format!("size-{}", std::process::id())));
        let began = Instant::now();
        let mut build = cargo(["build", "--quiet", "--release", "-p", "leasehold-cli"]);
        cargo::run(build.env("CARGO_TARGET_DIR", &target.0))?;
        let took = began.elapsed();
        let binary = target.0.join("release").join("leasehold");
        let bytes = fs::metadata(&binary)
            .map_err(|error| format!("cannot find {}: {error}", binary.display()))?
            .len();
        Ok(Self { took, bytes })
    }

    fn describe(&self) -> String {
        format!("release build from cold {:.1} s, {} bytes", self.took.as_secs_f64(), self.bytes)
    }

    fn check(&self, max_time: Duration) -> Outcome {
        if self.bytes > MAX_BYTES {
            return Err(format!("{}: more than {MAX_BYTES} bytes", self.describe()));
        }
        if self.took > max_time {
            return Err(format!("{}: more than {} s", self.describe(), max_time.as_secs()));
        }
        Ok(())
    }
}

/// A directory that goes with this value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over only if it could not be removed, under the target directory, where anyone may clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_are_kept() {
        let build = |seconds, bytes| Build { took: Duration::from_secs(seconds), bytes };
        assert!(build(90, MAX_BYTES).check(MAX_TIME).is_ok());
        assert!(build(91, MAX_BYTES).check(MAX_TIME).unwrap_err().contains("more than 90 s"));
        assert!(build(1, MAX_BYTES + 1).check(MAX_TIME).unwrap_err().contains("bytes"));
    }
}
