//! Lines of Rust have at most 100 columns, also where rustfmt leaves them alone: comments, literals
//! and the arguments of macros.

use std::fs;

use crate::cargo::{capture, root};

const COLUMNS: usize = 100;

/// Fails with the place of every line that is too wide.
pub(crate) fn step() -> Result<String, String> {
    let files = capture(std::process::Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.rs",
    ]))?;
    let mut wide = Vec::new();
    for file in files.lines() {
        // One that was deleted and not yet committed.
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        wide.extend(too_wide(&text).map(|line| format!("{file}:{line}")));
    }
    match wide.is_empty() {
        true => Ok(String::new()),
        false => Err(format!("these lines have over {COLUMNS} columns: {}", wide.join(", "))),
    }
}

/// The numbers of such lines. A row of a table in a comment cannot be broken.
fn too_wide(text: &str) -> impl Iterator<Item = usize> + '_ {
    let is_row = |line: &str| ["/// |", "//! |"].iter().any(|row| line.starts_with(row));
    text.lines()
        .zip(1..)
        .filter(move |(line, _)| line.chars().count() > COLUMNS && !is_row(line.trim_start()))
        .map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rustfmt_leaves_alone_is_found() {
        let fits = "ä".repeat(COLUMNS);
        let wide = "x".repeat(COLUMNS);
        let text = format!("{fits}\n// {wide}\n    /// | {wide} |\n\"{wide}\"\n");
        assert_eq!(too_wide(&text).collect::<Vec<_>>(), [2, 4]);
    }
}
