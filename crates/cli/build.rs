//! Which commit this is, for `leasehold --version`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=LEASEHOLD_COMMIT");
    // A packager without a checkout may say it; nobody must.
    let commit = std::env::var("LEASEHOLD_COMMIT").ok().or_else(|| {
        // Changes with every commit and checkout.
        if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo::rerun-if-changed={log}");
        }
        git(&["rev-parse", "--short=12", "HEAD"])
    });
    println!("cargo::rustc-env=LEASEHOLD_COMMIT={}", commit.as_deref().unwrap_or("unknown commit"));
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
