//! What works on macOS and Windows, as far as that can be seen from here: types and lints. Nothing
//! is linked or run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, cargo, target_directory};

const TARGETS: [&str; 2] = ["x86_64-pc-windows-gnu", "aarch64-apple-darwin"];

/// The library with all networked stores, and the command.
const SCOPE: [&str; 11] = [
    "-p=leasehold-core",
    "-p=leasehold",
    "-p=leasehold-etcd",
    "-p=leasehold-redis",
    "-p=leasehold-k8s",
    "-p=leasehold-testing",
    "-p=leasehold-cli",
    "--features=leasehold-cli/etcd,leasehold-cli/k8s,leasehold-cli/redis,leasehold/testing",
    "--lib",
    "--bins",
    "--quiet",
];

/// What a dependency has in C is of no use to a check of types, and most machines have no compiler
/// for these systems. Stands in for one: answers each request with an empty file.
const COMPILER: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -o) shift; : > "$1" ;;
        *.a) printf '!<arch>\n' > "$1" ;;
    esac
    shift
done
"#;

/// The step.
pub(crate) fn step() -> Result<String, String> {
    let compiler = compiler(&target_directory().join("other-systems"))?;
    for target in TARGETS {
        let add = format!("rustup target add {target}");
        cargo::run(Command::new("rustup").args(["--quiet", "target", "add", target]))
            .map_err(|error| format!("{error}; run: {add}"))?;
        let mut check = cargo(["clippy", "--target", target]);
        check.args(SCOPE).args(["--", "-D", "warnings"]);
        let name = target.replace('-', "_");
        for tool in ["CC", "CXX", "AR"] {
            check.env(format!("{tool}_{name}"), &compiler);
        }
        cargo::run(&mut check)?;
    }
    Ok(TARGETS.join(", "))
}

fn compiler(directory: &Path) -> Result<PathBuf, String> {
    let path = directory.join("compiler");
    let failed = |error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(directory).map_err(failed)?;
    fs::write(&path, COMPILER).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    Ok(path)
}
