//! The system calls that a lock is made of, one method each, so that a test can record them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Stat, openat, statat};
use rustix::io::{Errno, retry_on_intr};

/// No lock is longer; whatever is, is some other file.
pub(crate) const MOST: u64 = 64 << 10;

/// The permissions of a file that others read, and write where the umask lets them.
pub(crate) const SHARED: u32 = 0o666;

/// Changes of one directory, in the order in which they are asked for.
pub(crate) trait Disk {
    /// The directory itself, for the calls that change nothing.
    fn directory(&self) -> &Directory;
    /// A new, empty file with these permissions less the umask, open for reading and writing; it
    /// must not exist.
    fn create(&self, name: &OsStr, mode: u32) -> Result<File, Errno>;
    /// Writes into a file that `create` just made under this name.
    fn write(&self, name: &OsStr, file: &File, bytes: &[u8]) -> Result<(), Errno>;
    /// Brings a file's contents to the disk.
    fn sync(&self, name: &OsStr, file: &File) -> Result<(), Errno>;
    /// Brings the directory's entries to the disk.
    fn sync_directory(&self) -> Result<(), Errno>;
    /// Gives a file a second name, which must not exist.
    fn link(&self, name: &OsStr, second: &OsStr) -> Result<(), Errno>;
    /// Renames; the old name must exist.
    fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno>;
    /// Removes a name.
    fn unlink(&self, name: &OsStr) -> Result<(), Errno>;
    /// Writes over a part of an existing file.
    fn overwrite(&self, name: &OsStr, file: &File, at: u64, bytes: &[u8]) -> Result<(), Errno>;
}

/// An open directory. Names are looked up in it, whatever becomes of its own path.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

/// What tells two files apart while one of them is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

/// Whether a file may get another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Allowed,
    /// There is none of that name.
    Gone,
}

/// A file's contents and which file they were read from.
pub(crate) struct Contents {
    pub(crate) bytes: Vec<u8>,
    pub(crate) file: File,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty())).map(Self)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The `f_type` of its file system.
    pub(crate) fn magic(&self) -> Result<u64, Errno> {
        let found = rustix::fs::fstatfs(&self.0)?;
        Ok(found.f_type as u64)
    }

    /// The number of its file system among those that are mounted.
    pub(crate) fn device(&self) -> Result<u64, Errno> {
        rustix::fs::fstat(&self.0).map(|stat| stat.st_dev)
    }

    /// An existing regular file; `None` if the name does not exist. Anything but a file is
    /// `Errno::NXIO`.
    pub(crate) fn file(&self, name: &OsStr, flags: OFlags) -> Result<Option<File>, Errno> {
        let is_file = |stat: Stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        match self.stat(name)? {
            None => return Ok(None),
            Some(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink() => {
                return Err(Errno::LOOP);
            }
            // To open a device may do something.
            Some(stat) if !is_file(stat) => return Err(Errno::NXIO),
            Some(_) => {}
        }
        // What it is may have changed. Without NONBLOCK the open of a pipe would wait for somebody
        // at its other end.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match retry_on_intr(|| openat(&self.0, name, flags, Mode::empty())) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::ISDIR) => return Err(Errno::NXIO),
            Err(errno) => return Err(errno),
        };
        if is_file(rustix::fs::fstat(&file)?) { Ok(Some(file)) } else { Err(Errno::NXIO) }
    }

    /// The whole file, or as much of it as proves that it is no lock.
    pub(crate) fn contents(&self, name: &OsStr) -> Result<Option<Contents>, Errno> {
        let Some(file) = self.file(name, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(2048);
        (&file).take(MOST + 1).read_to_end(&mut bytes).map_err(errno)?;
        Ok(Some(Contents { bytes, file }))
    }

    /// Whether the name is there.
    pub(crate) fn has(&self, name: &OsStr) -> Result<bool, Errno> {
        self.stat(name).map(|found| found.is_some())
    }

    /// Which file the name is for.
    pub(crate) fn identity(&self, name: &OsStr) -> Result<Option<Identity>, Errno> {
        Ok(self.stat(name)?.as_ref().map(identity_of))
    }

    /// When the file was last changed or renamed, in whole seconds of the wall clock.
    pub(crate) fn changed(&self, name: &OsStr) -> Result<Option<i64>, Errno> {
        Ok(self.stat(name)?.map(|stat| stat.st_ctime))
    }

    /// Whether this user may rename or remove a regular file, by the kernel's own word: it is asked
    /// to remove a *directory* of that name. Whether the name may go (rights on the directory, the
    /// sticky bit, attributes, read-only mounts, capabilities, user namespaces) is decided first;
    /// then the request fails, since this is a file.
    pub(crate) fn may_move(&self, name: &OsStr) -> Result<Moved, Errno> {
        match retry_on_intr(|| rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)) {
            Err(Errno::NOTDIR) => Ok(Moved::Allowed),
            Ok(()) | Err(Errno::NOENT) => Ok(Moved::Gone),
            Err(errno) => Err(errno),
        }
    }

    /// What the name is for, itself if that is a symbolic link.
    pub(crate) fn stat(&self, name: &OsStr) -> Result<Option<Stat>, Errno> {
        match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The names in it. Not one moment's: what is renamed meanwhile may be missed under both names.
    pub(crate) fn list(&self) -> Result<Vec<OsString>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fresh = retry_on_intr(|| openat(&self.0, ".", flags, Mode::empty()))?;
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(fresh, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            names.push(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned());
        }
        Ok(names)
    }
}

/// Which file this is.
pub(crate) fn identity(file: &File) -> Result<Identity, Errno> {
    rustix::fs::fstat(file).as_ref().map(identity_of).map_err(|errno| *errno)
}

fn identity_of(stat: &Stat) -> Identity {
    Identity(stat.st_dev, stat.st_ino)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl Disk for Directory {
    fn directory(&self) -> &Directory {
        self
    }

    fn create(&self, name: &OsStr, mode: u32) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        retry_on_intr(|| openat(&self.0, name, flags, mode)).map(File::from)
    }

    fn write(&self, _: &OsStr, mut file: &File, bytes: &[u8]) -> Result<(), Errno> {
        file.write_all(bytes).map_err(errno)
    }

    fn sync(&self, _: &OsStr, file: &File) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::fsync(file))
    }

    fn sync_directory(&self) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::fsync(&self.0))
    }

    fn link(&self, name: &OsStr, second: &OsStr) -> Result<(), Errno> {
        rustix::fs::linkat(&self.0, name, &self.0, second, AtFlags::empty())
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat(&self.0, from, &self.0, to)
    }

    fn unlink(&self, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.0, name, AtFlags::empty())
    }

    fn overwrite(&self, _: &OsStr, file: &File, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        file.write_all_at(bytes, at).map_err(errno)
    }
}
