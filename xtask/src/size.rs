//! How long a release build of the command takes from cold, how large it is, and what a follower of
//! it costs.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cargo::{self, cargo, target_directory};
use crate::scratch::Scratch;

const MAX_BYTES: u64 = 6_000_000;

/// What an idle follower may keep resident.
const MAX_RESIDENT_KIB: u64 = 10_000_000 / 1024;

/// Time for a follower to find the leader and to fall asleep.
const SETTLES: Duration = Duration::from_secs(3);

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
    resident_kib: u64,
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
        Ok(Self { took, bytes, resident_kib: follower_kib(&binary, &target.0)? })
    }

    fn describe(&self) -> String {
        let seconds = self.took.as_secs_f64();
        format!(
            "release build from cold {seconds:.1} s, {} bytes; an idle follower keeps {} KiB \
             resident",
            self.bytes, self.resident_kib
        )
    }

    fn check(&self, max_time: Duration) -> Outcome {
        if self.bytes > MAX_BYTES {
            return Err(format!("{}: more than {MAX_BYTES} bytes", self.describe()));
        }
        if !(1..=MAX_RESIDENT_KIB).contains(&self.resident_kib) {
            return Err(format!("{}: not up to {MAX_RESIDENT_KIB} KiB", self.describe()));
        }
        if self.took > max_time {
            return Err(format!("{}: more than {} s", self.describe(), max_time.as_secs()));
        }
        Ok(())
    }
}

/// What a second candidate for one lock file keeps resident while the first one leads.
fn follower_kib(binary: &Path, directory: &Path) -> Result<u64, String> {
    let lock = format!("file:{}", directory.join("size.lock").display());
    let candidate = || {
        let mut command = Command::new(binary);
        command.args(["run", "--lock", &lock, "--", "sleep", "60"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn().map(Candidate);
        started.map_err(|error| format!("cannot run {}: {error}", binary.display()))
    };
    let _leader = candidate()?;
    std::thread::sleep(SETTLES);
    let follower = candidate()?;
    std::thread::sleep(SETTLES);
    let path = format!("/proc/{}/status", follower.0.id());
    let status =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|line| line.split_whitespace().next()).map(str::parse);
    value.and_then(Result::ok).ok_or_else(|| format!("{path} has no VmRSS"))
}

/// Ends with this value, and what it runs ends with it.
struct Candidate(Child);

impl Drop for Candidate {
    fn drop(&mut self) {
        // One that ended by itself is not there to be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_kept() {
        let build = |seconds, bytes| {
            let took = Duration::from_secs(seconds);
            Build { took, bytes, resident_kib: 4_000 }
        };
        assert!(build(90, MAX_BYTES).check(MAX_TIME).is_ok());
        assert!(build(91, MAX_BYTES).check(MAX_TIME).unwrap_err().contains("more than 90 s"));
        assert!(build(1, MAX_BYTES + 1).check(MAX_TIME).unwrap_err().contains("bytes"));
        let heavy = Build { resident_kib: MAX_RESIDENT_KIB + 1, ..build(1, 1) };
        assert!(heavy.check(MAX_TIME).unwrap_err().contains("KiB"));
    }
}
