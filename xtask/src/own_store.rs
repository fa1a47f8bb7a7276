//! The store of one's own in `examples/own-store`: a project outside the workspace, whose tests run
//! the conformance suite on it, and the page `docs/OWN-STORE.md` that leads through it.

use std::fs;
use std::path::Path;

use crate::cargo::{self, Counts, cargo, count_tests, root, target_directory};

const EXAMPLE: &str = "examples/own-store";
const PAGE: &str = "docs/OWN-STORE.md";

/// The files that the page may quote.
const QUOTED: [&str; 4] = ["Cargo.toml", "src/lock.rs", "src/main.rs", "tests/suite.rs"];

/// The step of `cargo xtask test`. The suite waits in real time, at most a minute and a half.
pub(crate) fn step() -> Result<String, String> {
    let blocks = quoted()?;
    let manifest = root().join(EXAMPLE).join("Cargo.toml");
    let example = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().expect("it names a command");
        let mut cargo = cargo([command, "--manifest-path"]);
        cargo.arg(&manifest).args(rest).env("CARGO_TARGET_DIR", target_directory());
        cargo
    };
    cargo::run(&mut example(&["fmt", "--check"]))?;
    cargo::run(&mut example(&["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    let counts = count_tests(&mut example(&["test", "--", "--test-threads=1"]))?;
    let Counts { passed, ignored } = counts;
    match (passed, ignored) {
        (0, _) => Err("not one test ran".to_owned()),
        (_, 0) => Ok(format!("{passed} tests, {blocks} blocks of the page")),
        _ => Err(format!("{ignored} tests are ignored")),
    }
}

/// Every block of code on the page stands in a file of the example; the number of blocks.
fn quoted() -> Result<usize, String> {
    let read = |path: &Path| {
        fs::read_to_string(root().join(path))
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let sources: Result<Vec<String>, String> =
        QUOTED.iter().map(|file| read(&Path::new(EXAMPLE).join(file))).collect();
    let page = read(Path::new(PAGE))?;
    let (sources, blocks) = (sources?, blocks(&page));
    match blocks.iter().find(|block| !sources.iter().any(|source| source.contains(**block))) {
        Some(block) => Err(format!("{PAGE} quotes what is not in {EXAMPLE}:\n{block}")),
        None if blocks.is_empty() => Err(format!("{PAGE} quotes nothing")),
        None => Ok(blocks.len()),
    }
}

/// What is between the fences of a page.
fn blocks(page: &str) -> Vec<&str> {
    let parts = page.split("\n```").skip(1).step_by(2);
    parts.filter_map(|part| Some(part.split_once('\n')?.1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_what_is_between_fences() {
        let page = "a\n```rust\nlet x;\n  y\n```\nb\n```\nz\n```\n";
        assert_eq!(blocks(page), ["let x;\n  y", "z"]);
        assert!(blocks("none").is_empty());
    }
}
