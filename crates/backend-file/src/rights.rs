//! Whether this user may take a lock, asked of the kernel without a change.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use leasehold_backend::Failure;
use rustix::fs::{Access, AtFlags, FileType, Stat, StatxAttributes, StatxFlags, accessat, statx};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::disk::{Directory, Moved};
use crate::failure::{self, shown};
use crate::place::{Place, State};

/// The cure of most refusals.
const SHARE: &str = "give all candidates a directory of their own, writable by a group that they \
                     share and without the sticky bit (chmod 2770)";

/// Whether the directory lets this user create and rename files.
///
/// # Errors
/// `Denied`: it does not, and why.
pub(crate) fn of_directory(place: &Place, directory: &Directory) -> Result<(), Failure> {
    let path = &place.directory;
    if attributes(directory, OsStr::new(".")).contains(StatxAttributes::APPEND) {
        let text = format!("{} is append-only, so that nothing in it can be renamed", shown(path));
        return Err(Failure::denied(text).with_cure("remove that attribute (chattr -a)"));
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    match accessat(directory.fd(), ".", wanted, AtFlags::EACCESS) {
        Err(Errno::ROFS) => Err(read_only(path)),
        Err(Errno::ACCESS | Errno::PERM) => {
            let stat = directory.stat(OsStr::new(".")).ok().flatten();
            let fixed = attributes(directory, OsStr::new(".")).contains(StatxAttributes::IMMUTABLE);
            if fixed {
                let failure = Failure::denied(format!("{} is immutable", shown(path)));
                return Err(failure.with_cure("remove that attribute (chattr -i)"));
            }
            let text = format!(
                "user {} may not create files in {}{}: Permission denied",
                geteuid().as_raw(),
                shown(path),
                Owner(stat)
            );
            let cure = format!("a candidate needs to read and write the directory: {SHARE}");
            Err(Failure::denied(text).with_cure(cure))
        }
        // The question itself may be refused (an old kernel, a filter of system calls), which says
        // nothing.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether this user may replace this state of the lock; `None` if it has passed.
///
/// # Errors
/// `Denied`: the file that must be renamed cannot be, and why.
pub(crate) fn of_state(
    place: &Place,
    directory: &Directory,
    state: State,
) -> Result<Option<()>, Failure> {
    let baton = place.baton(state);
    match directory.may_move(&baton) {
        Ok(Moved::Allowed) => Ok(Some(())),
        Ok(Moved::Gone) => Ok(None),
        Err(Errno::ROFS) => Err(read_only(&place.directory)),
        Err(Errno::ACCESS | Errno::PERM) => {
            of_directory(place, directory)?;
            // A refusal that has no reason here is of the question: a security module may forbid
            // just that.
            why_kept(place, directory, &baton).map_or(Ok(Some(())), Err)
        }
        // The question failed (a filter of system calls may not know it), which says nothing: the
        // try itself will.
        Err(_) => Ok(Some(())),
    }
}

/// Why a file cannot be renamed in a directory that is writable.
fn why_kept(place: &Place, directory: &Directory, name: &OsStr) -> Option<Failure> {
    let file = directory.stat(name).ok().flatten()?;
    let parent = directory.stat(OsStr::new(".")).ok().flatten()?;
    let attributes = attributes(directory, name);
    let path = place.directory.join(name);
    if attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
        let failure = Failure::denied(format!("{} is immutable or append-only", shown(&path)));
        return Some(failure.with_cure("remove that attribute (chattr -i -a)"));
    }
    let user = geteuid().as_raw();
    let is_sticky = parent.st_mode & rustix::fs::Mode::SVTX.as_raw_mode() != 0;
    (is_sticky && file.st_uid != user && parent.st_uid != user).then(|| {
        let text = format!(
            "{} belongs to user {}, and {} is sticky{}, so that user {user} can never take it",
            shown(&place.path()),
            file.st_uid,
            shown(&place.directory),
            Owner(Some(parent)),
        );
        Failure::denied(text).with_cure(format!("run as user {}, or {SHARE}", file.st_uid))
    })
}

fn read_only(path: &Path) -> Failure {
    failure::io("write to", path, Errno::ROFS)
}

fn attributes(directory: &Directory, name: &OsStr) -> StatxAttributes {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let found = statx(directory.fd(), name, flags, StatxFlags::TYPE);
    found.map_or(StatxAttributes::empty(), |found| found.stx_attributes)
}

/// Owner, group and mode, in brackets.
struct Owner(Option<Stat>);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(stat) = self.0 else { return Ok(()) };
        let kind = FileType::from_raw_mode(stat.st_mode).as_raw_mode();
        write!(f, " (user {}, group {}, mode {:o})", stat.st_uid, stat.st_gid, stat.st_mode & !kind)
    }
}
