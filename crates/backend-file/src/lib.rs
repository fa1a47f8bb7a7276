//! A lock in a local file: leader election for the processes of one host, without a server.
//!
//! **Guaranteed**, on one host and on a local file system:
//! - At most one writer replaces each state of the lock, and it learns so (`Written`) only when the
//!   new record is on the disk. A crash of the machine at any point leaves the old record or the
//!   new one.
//! - Nobody waits for anybody: a process that is stopped at any point of a write, for however long,
//!   keeps no other from reading and writing, and its late write fails.
//! - The lock of a holder whose process has ended (killed, crashed, exited) is free at once; that
//!   of one that is merely stopped is free when its lease is over. Somebody who may only read the
//!   files cannot delay that.
//! - Reading needs only permission to read, and changes nothing.
//! - What this crate cannot read (an empty file, somebody else's, a later version's) is never
//!   overwritten.
//! - A write that is refused leaves no file behind.
//! - No want of threads, descriptors or notifications is a panic: each is an error that names the
//!   limit, and the election goes on once there is room.
//!
//! **Not guaranteed:**
//! - Anything between hosts, or between containers that do not share the directory. File systems
//!   that are not known to be local are refused.
//! - That tokens grow when somebody removes the file *and* the wall clock has gone back since it
//!   was created. (Each creation begins tokens above the wall clock in milliseconds; `token_floor`
//!   overrides it.)
//! - That the work of a dead holder's process has stopped too, if it left other processes behind.
//!   Hand them [`FileLock::liveness`].
//! - That processes of the holder's own user, or root, do not make a dead holder look alive: who
//!   may write a liveness file can lock it. Then its lease is waited out.
//! - Anything after the files were restored from a backup, copied, or edited while candidates run.
//!   A removal of `PATH` beside a leader that is stopped lets a candidate that never saw it lead
//!   before that leader's lease is over.
//! - Anything after a power failure on a file system without a journal (ext2): its renames are not
//!   atomic.
//!
//! # The files
//! `PATH` is the lock; `cat PATH` shows a copy of the latest record. **To remove the lock, remove
//! `PATH`**: from then on it is absent, and the next candidate creates another. The state is in the
//! files next to it:
//!
//! | name | what it is |
//! |---|---|
//! | `PATH.*.record` | the record of a state, at most 64 KiB |
//! | `PATH.*.baton` | empty; its name says which state the lock is in, and a write renames it |
//! | `PATH.*.alive` | locked for writing while the process of a holder lives |
//! | `PATH.*.tmp` | on its way to become a liveness file |
//!
//! Without records and batons the lock is unreadable until `PATH` is removed too. Without its
//! liveness file a dead holder's lease is waited out. The name of `PATH` may be of any bytes, 193
//! at most, but must not be a symbolic link: the other files are named after it. In `/tmp` and
//! `/var/tmp` cleaners may remove a lock that was not written for days; `/run` and `/var/lib` are
//! better places.
//!
//! # Permissions
//! - An observer needs to read the directory and the files in it.
//! - A candidate needs to write the directory as well. The files may be of another user, as long as
//!   the directory is not sticky (as `/tmp` is) and the baton neither immutable nor append-only.
//!   Candidates of several users share a directory of a common group, of mode 2770, with a umask
//!   that lets the group read what each creates.
//! - [`may_take`](leasehold_core::LockBackend::may_take) asks the kernel for just that, without a
//!   change: by a request to remove a *directory* of the baton's name, which fails since it is a
//!   file, but only after the rights were checked.
//!
//! # Containers
//! All candidates must see one directory. A container's own layer and a service's private `/tmp`
//! (`PrivateTmp=`) look like any local file system, and two of them hold two locks.
//! [`FileLock::caveat`] reports what speaks for that. Mount one directory of the host into all
//! containers. Process ids play no part, so pid namespaces need not be shared.
//!
//! How this is a compare-and-swap, and why it holds, is written in `store.rs`; why a death is seen,
//! in `alive.rs` and `liveness.rs`.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "leasehold-file needs Linux: it rests on locks of open files that end with their process, on \
     notifications of a directory, and on file systems that are known to be local"
);

mod alive;
mod clear;
#[cfg(test)]
mod crash;
mod disk;
mod doctor;
mod failure;
mod form;
mod fs_kind;
mod liveness;
mod lock;
mod place;
mod private;
mod reader;
mod rights;
mod store;
mod watch;
mod workers;

pub use clear::remove_scratch;
pub use lock::{FileLock, FileLockOptions};
