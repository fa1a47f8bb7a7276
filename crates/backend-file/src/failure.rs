//! What went wrong, where, and what to do about it.

use std::fmt;
use std::path::Path;

use leasehold_core::{Error, ErrorKind, printable};
use rustix::io::Errno;

/// The longest path that is shown whole, in characters.
const LONGEST: usize = 1_000;

/// A failed step of an operation.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    text: String,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// A system call on `path` failed; `step` is a verb phrase such as "sync".
    pub(crate) fn io(step: &str, path: &Path, errno: Errno) -> Self {
        let (kind, advice) = advice(errno);
        Self { kind, text: format!("{step} {}: {}{advice}", shown(path), text_of(errno)) }
    }

    pub(crate) fn during(self, operation: &'static str) -> Error {
        Error::new(self.kind, operation, self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// A path for people: others may have chosen parts of it.
pub(crate) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).at_most(LONGEST).to_string()
}

fn text_of(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

fn advice(errno: Errno) -> (ErrorKind, &'static str) {
    use ErrorKind::{Denied, Invalid, Unavailable};
    match errno {
        Errno::ACCESS | Errno::PERM => (
            Denied,
            "; a candidate needs to read and write the directory, an observer to read it and the files in it",
        ),
        Errno::ROFS => (Denied, "; put the lock on a file system that is mounted writable"),
        Errno::NOTDIR => (Invalid, "; a part of the path is a file: give a path below directories"),
        Errno::LOOP => (
            Invalid,
            "; give the file itself, not a symbolic link to it, and a path without a loop of such links",
        ),
        Errno::NAMETOOLONG => (Invalid, "; choose a shorter path"),
        Errno::NOSPC => (Unavailable, "; make room on the file system (df, and df -i for inodes)"),
        Errno::DQUOT => (Unavailable, "; make room within this user's quota, or have it raised"),
        Errno::NOMEM => (Unavailable, "; the kernel has no memory left for it"),
        Errno::NOLCK => (Unavailable, "; the kernel has no room for another lock"),
        Errno::MFILE | Errno::NFILE => (Unavailable, "; raise the limit of open files"),
        _ => (Unavailable, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_bounded_line() {
        let hostile = format!("/run/a\u{1b}[2J\n{}", "x".repeat(4000));
        let text = Failure::io("open", Path::new(&hostile), Errno::IO).to_string();
        assert!(!text.contains(['\n', '\u{1b}']) && text.len() < 1_200, "{text}");
    }

    #[test]
    fn the_kind_is_the_callers_next_move() {
        for (errno, kind, says) in [
            (Errno::ACCESS, ErrorKind::Denied, "read and write the directory"),
            (Errno::ROFS, ErrorKind::Denied, "mounted writable"),
            (Errno::NOTDIR, ErrorKind::Invalid, "below directories"),
            (Errno::NOSPC, ErrorKind::Unavailable, "make room"),
            (Errno::DQUOT, ErrorKind::Unavailable, "quota"),
            (Errno::MFILE, ErrorKind::Unavailable, "open files"),
            (Errno::IO, ErrorKind::Unavailable, "error 5"),
        ] {
            let error =
                Failure::io("create", Path::new("/run/jobs"), errno).during("write the lock");
            assert_eq!(error.kind(), kind);
            let text = error.to_string();
            assert!(text.starts_with("cannot write the lock: create /run/jobs: "), "{text}");
            assert!(text.contains(says), "{text}");
        }
    }
}
