//! What a fresh machine lacks, installed without asking.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::{self, cargo, root};

/// A program that tests start, and the Debian package that brings it. (Every Debian has a perl; the
/// whole one also has threads, and is known by `prove`.)
const PROGRAMS: [(&str, &str); 5] = [
    ("tmux", "tmux"),
    ("strace", "strace"),
    ("setsid", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("prove", "perl"),
];

/// A cargo subcommand, and the component of the toolchain that brings it.
const COMPONENTS: [(&str, &str); 2] = [("fmt", "rustfmt"), ("clippy", "clippy")];

const CARGO_DENY: &str = "0.20.2";

const CARGO_MUTANTS: &str = "27.1.0";

/// The step that makes a fresh machine fit.
pub(crate) fn components_and_packages() -> Result<String, String> {
    let mut missing: Vec<&str> = Vec::new();
    for (subcommand, component) in COMPONENTS {
        if !answers(&mut cargo([subcommand, "--version"])) {
            missing.push(component);
        }
    }
    let lacking = |(program, _): &&(&str, &str)| !is_on_path(program);
    let packages: Vec<&str> =
        PROGRAMS.iter().filter(lacking).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        let command = format!("rustup component add {}", missing.join(" "));
        println!("installing: {command}");
        cargo::run(Command::new("rustup").args(["component", "add"]).args(&missing))
            .map_err(|error| format!("{error}; run: {command}"))?;
    }
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    match missing.len() + packages.len() {
        0 => Ok("nothing missing".to_owned()),
        _ => Ok(format!("installed {}", [missing, packages].concat().join(", "))),
    }
}

/// The pinned cargo-deny.
pub(crate) fn cargo_deny() -> Result<Command, String> {
    installed("cargo-deny", CARGO_DENY, &["--no-default-features"])
}

/// The pinned cargo-mutants.
pub(crate) fn cargo_mutants() -> Result<Command, String> {
    installed("cargo-mutants", CARGO_MUTANTS, &[])
}

/// A cargo subcommand, installed once per version into a cache outside the checkout.
fn installed(name: &str, version: &str, options: &[&str]) -> Result<Command, String> {
    let home = cache()?.join("tools").join(format!("{name}-{version}"));
    let program = home.join("bin").join(name);
    if !program.exists() {
        println!("installing {name} {version} into {}: some minutes, once", home.display());
        let mut install = cargo(["install", "--quiet", "--locked"]);
        install.args(options).args([name, "--version", version, "--root"]).arg(&home);
        // It runs for a moment: build it fast rather than make it fast.
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        install.env("CARGO_PROFILE_RELEASE_LTO", "false");
        cargo::run(install.env_remove("CARGO_TARGET_DIR"))?;
    }
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    Ok(command)
}

/// Where tools are kept between runs.
pub(crate) fn cache() -> Result<PathBuf, String> {
    cache_under(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))
        .ok_or_else(|| "neither XDG_CACHE_HOME nor HOME names a directory".to_owned())
}

fn cache_under(cache: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let cache = cache.map(PathBuf::from).filter(absolute);
    let home = home.map(PathBuf::from).filter(absolute);
    cache.or_else(|| home.map(|home| home.join(".cache"))).map(|cache| cache.join("leasehold"))
}

/// Debian packages, installed without asking.
pub(crate) fn install_packages(packages: &[&str]) -> Result<(), String> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if !is_on_path("apt-get") {
        return Err(format!(
            "missing what these Debian packages bring: {}; install them",
            packages.join(", ")
        ));
    }
    if !is_root() {
        return Err(format!("missing programs, and only root may install them; run: {by_hand}"));
    }
    println!("installing: {by_hand}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-o", "DPkg::Lock::Timeout=120"]).args(arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        cargo::run(&mut command).map_err(|error| format!("{error}; run: {by_hand}"))
    };
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

/// Whether this process may install packages: its files in `/proc` belong to its effective user.
fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|data| data.uid() == 0)
}

fn answers(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Whether a shell would find it.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| is_executable(&directory.join(program)))
}

fn is_executable(file: &Path) -> bool {
    let metadata = file.metadata();
    metadata.is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_user_keeps_caches() {
        let under = |cache: Option<&str>, home: Option<&str>| {
            cache_under(cache.map(Into::into), home.map(Into::into))
        };
        assert_eq!(under(Some("/c"), Some("/h")), Some("/c/leasehold".into()));
        assert_eq!(under(None, Some("/h")), Some("/h/.cache/leasehold".into()));
        assert_eq!(under(Some("relative"), Some("/h")), Some("/h/.cache/leasehold".into()));
        assert_eq!(under(None, None), None);
    }

    #[test]
    fn finds_programs_as_a_shell_does() {
        assert!(is_on_path("sh"));
        assert!(!is_on_path("no-such-program-of-leasehold"));
    }
}
