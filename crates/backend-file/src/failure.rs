//! What went wrong, where, and what to do about it.

use std::path::Path;

use leasehold_backend::Failure;
use leasehold_core::{ErrorKind, printable};
use rustix::io::Errno;

/// The longest path that is shown whole, in characters.
const LONGEST: usize = 1_000;

/// A system call on `path` failed; `step` is a verb phrase such as "sync".
pub(crate) fn io(step: &str, path: &Path, errno: Errno) -> Failure {
    let (kind, cure) = advice(errno);
    let failure = Failure::new(kind, format!("{step} {}: {}", shown(path), text_of(errno)));
    if cure.is_empty() { failure } else { failure.with_cure(cure) }
}

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
            "a candidate needs to read and write the directory, an observer to read it and the \
             files in it",
        ),
        Errno::ROFS => (Denied, "put the lock on a file system that is mounted writable"),
        Errno::NOTDIR => (Invalid, "give a path below directories: a part of this one is a file"),
        Errno::LOOP => (
            Invalid,
            "give the file itself, not a symbolic link to it, and a path without a loop of such \
             links",
        ),
        Errno::NAMETOOLONG => (Invalid, "choose a shorter path"),
        Errno::NOSPC => (Unavailable, "make room on the file system (df, and df -i for inodes)"),
        Errno::DQUOT => (Unavailable, "make room within this user's quota, or have it raised"),
        Errno::NOMEM => (Unavailable, "free memory: the kernel has none left for it"),
        Errno::NOLCK => (Unavailable, "raise its limit: the kernel has no room for another lock"),
        Errno::MFILE | Errno::NFILE => (Unavailable, "raise the limit of open files"),
        _ => (Unavailable, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_bounded_line() {
        let hostile = format!("/run/a\u{1b}[2J\n{}", "x".repeat(4000));
        let text = io("open", Path::new(&hostile), Errno::IO).to_string();
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
            let error = io("create", Path::new("/run/jobs"), errno).during("write the lock");
            assert_eq!(error.kind(), kind);
            let text = error.to_string();
            assert!(text.starts_with("cannot write the lock: create /run/jobs: "), "{text}");
            assert!(text.contains(says), "{text}");
        }
    }
}
