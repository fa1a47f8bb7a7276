//! A lock in a local file: leader election for the processes of one host, without a server.
//!
//! **Guaranteed**, on one host and on a local file system:
//! - At most one writer replaces each state of the lock, and it learns so (`Written`) only when the new record
//!   is on the disk. A crash of the machine at any point leaves the old record or the new one.
//! - Nobody waits for anybody: a process that is stopped at any point of a write, for however long, keeps no
//!   other from reading and writing, and its late write fails.
//! - The lock of a holder whose process has ended (killed, crashed, exited) is free at once; that of one that
//!   is merely stopped is free when its lease is over.
//! - Reading needs only permission to read, and changes nothing.
//! - What this crate cannot read (an empty file, somebody else's, a later version's) is never overwritten.
//!
//! **Not guaranteed:**
//! - Anything between hosts, or between containers that do not share the directory. File systems that are not
//!   known to be local are refused.
//! - That tokens grow when somebody removes the file *and* the wall clock has gone back since it was created.
//!   (Each creation begins tokens above the wall clock in milliseconds; `token_floor` overrides it.)
//! - That the work of a dead holder's process has stopped too, if it left other processes behind. Hand them
//!   [`FileLock::liveness`].
//! - Anything after the files were restored from a backup, copied, or edited while candidates run.
//! - Anything after a power failure on a file system without a journal (ext2): its renames are not atomic.
//!
//! # The files
//! `PATH` is the lock; `cat PATH` shows a copy of the latest record. **To remove the lock, remove `PATH`**:
//! from then on it is absent, and the next candidate creates another. The state is in the files beside it:
//! `PATH.*.record` and `PATH.*.baton`; removing only these makes the lock unreadable until `PATH` is removed
//! too. `PATH.*.alive` tell whether a holder's process lives; without them a dead holder's lease is waited out.
//! `PATH` may be of any bytes but must not be a symbolic link: the other files are named after it.
//! In `/tmp` and `/var/tmp` cleaners may remove a lock that was not written for days; `/run` and `/var/lib`
//! are better places.
//!
//! How this is a compare-and-swap, and why it holds, is written in `store.rs`.

mod alive;
mod clear;
#[cfg(test)]
mod crash;
mod diagnose;
mod disk;
mod failure;
mod form;
mod fs_kind;
mod liveness;
mod lock;
mod place;
mod private;
mod rights;
mod store;
mod watch;
mod workers;

pub use clear::remove_scratch;
pub use lock::{FileLock, FileLockOptions};
