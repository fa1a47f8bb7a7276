//! The lock on a liveness file, and the question whether its holder lives.
//!
//! The holder has the whole file locked for *writing* (an open file description lock: it belongs to
//! the open file and ends when the last descriptor of it is closed). A probe asks the kernel
//! whether a lock for *reading* would conflict, and takes none. Only an open file that may write
//! can have a lock for writing, so nobody with mere permission to read can look like a holder,
//! whatever it locks or waits for; and a probe is in nobody's way.
//!
//! Releases before this rule locked with `flock`, which a reader can do as well. The contents of
//! the file say which rule its holder followed. A holder takes the older lock, too, so that older
//! candidates see that it lives.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::disk::Directory;

/// The contents of a file whose holder has it locked for writing.
pub(crate) const MARK: &[u8] = b"locked for writing\n";

/// Others only read it, whatever the umask says: who may write could look like the holder.
pub(crate) const MODE: u32 = 0o644;

/// Locks the file as its holder, or fails at once. Never unlock it: that would free it under every
/// duplicate.
pub(crate) fn lock(file: &File) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))).map_err(errno)?;
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Whether the process that locked this file is gone. `false` also if that cannot be told.
pub(crate) fn is_free(directory: &Directory, name: &OsStr) -> bool {
    let Ok(Some(file)) = directory.file(name, OFlags::RDONLY) else {
        return false;
    };
    if !matches!(is_unlocked(&file), Ok(true)) {
        return false;
    }
    // One byte more, so that longer contents are not taken for the mark.
    let mut contents = [0; MARK.len() + 1];
    match file.read_at(&mut contents, 0) {
        Ok(length) if contents[..length] == *MARK => true,
        Ok(_) => flock(&file, FlockOperation::NonBlockingLockShared).is_ok(),
        Err(_) => false,
    }
}

fn is_unlocked(file: &File) -> Result<bool, Errno> {
    let mut conflict = whole(libc::F_RDLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut conflict)).map_err(errno)?;
    Ok(i32::from(conflict.l_type) == libc::F_UNLCK)
}

fn whole(kind: i32) -> libc::flock {
    let [kind, start] = [kind, libc::SEEK_SET].map(|small| {
        libc::c_short::try_from(small).expect("the kernel's constants fit the kernel's fields")
    });
    libc::flock { l_type: kind, l_whence: start, l_start: 0, l_len: 0, l_pid: 0 }
}

fn errno(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;

    fn setup(contents: &[u8]) -> (tempfile::TempDir, Directory, File) {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let file = directory.create(OsStr::new("a"), MODE).unwrap();
        file.write_all_at(contents, 0).unwrap();
        (dir, directory, file)
    }

    fn probe(directory: &Directory) -> bool {
        is_free(directory, OsStr::new("a"))
    }

    /// Everything that an open file for reading can do to the file.
    fn occupy(directory: &Directory) -> [File; 3] {
        let open = || directory.file(OsStr::new("a"), OFlags::RDONLY).unwrap().unwrap();
        let readers = [open(), open(), open()];
        let denied = fcntl(&readers[0], FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK)));
        assert_eq!(denied, Err(nix::errno::Errno::EBADF), "not open for writing");
        fcntl(&readers[1], FcntlArg::F_OFD_SETLK(&whole(libc::F_RDLCK))).unwrap();
        flock(&readers[2], FlockOperation::NonBlockingLockExclusive).unwrap();
        readers
    }

    #[test]
    fn what_readers_lock_hides_no_death() {
        let (_dir, directory, file) = setup(MARK);
        lock(&file).unwrap();
        assert!(!probe(&directory));
        let copy = file.try_clone().unwrap();
        drop(file);
        assert!(!probe(&directory), "the duplicate holds it");
        drop(copy);
        assert!(probe(&directory));
        let _readers = occupy(&directory);
        assert!(probe(&directory));
    }

    #[test]
    fn a_holder_of_an_earlier_release_is_believed_to_live_by_its_own_lock() {
        for contents in [&b""[..], b"locked for writing\n\n", b"locked for"] {
            let (_dir, directory, file) = setup(contents);
            flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
            assert!(!probe(&directory), "{contents:?}");
            drop(file);
            assert!(probe(&directory), "{contents:?}");
        }
    }

    #[test]
    fn an_earlier_release_sees_that_our_holder_lives() {
        let (_dir, directory, file) = setup(MARK);
        lock(&file).unwrap();
        let probe = directory.file(OsStr::new("a"), OFlags::RDONLY).unwrap().unwrap();
        assert!(flock(&probe, FlockOperation::NonBlockingLockShared).is_err());
    }

    #[test]
    fn what_cannot_be_asked_proves_nothing() {
        let (_dir, directory, _file) = setup(MARK);
        assert!(!is_free(&directory, OsStr::new("b")), "missing");
        rustix::fs::mkdirat(directory.fd(), "b", rustix::fs::Mode::RWXU).unwrap();
        assert!(!is_free(&directory, OsStr::new("b")), "a directory");
    }
}
