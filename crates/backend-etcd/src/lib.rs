//! A lock in etcd: leader election in the layout of etcd's own elections, so that `etcdctl elect`
//! and Go's `concurrency.Election` contend with us on one key range.
//!
//! **Guaranteed**, on a cluster that keeps a majority of its members:
//! - The token is the `create_revision` of the key: the store mints it, it grows with every term,
//!   and it is the same number space as Go's `Election.Rev()`.
//! - A lease is granted inside the Take that names it, so it never began before the moment a term
//!   counts from.
//! - A renewal is acknowledged only if the lease was kept alive **and** the key is still ours and
//!   the oldest, both asked of the store after the renewal began. It costs the store no write.
//! - One member that is killed, frozen or cut off delays a request by a fraction of a second; the
//!   same request goes to another one.
//! - Another cluster at the same addresses is not taken for this one: every request fails with
//!   `Replaced`. One wrong address among several is left out.
//! - What others put under the prefix, however large, changes nothing unless it is the oldest key:
//!   only that is read.
//! - Without a majority nothing is answered from memory: no read is served by a member alone.
//!
//! **Not guaranteed:**
//! - Anything when somebody deletes or overwrites the keys of an election: a leader notices by its
//!   watch, and at the latest with its next renewal. Until then two may believe.
//! - That a cluster restored from a snapshot is recognised by a process that was started after the
//!   restore. Restore with `etcdutl snapshot restore --bump-revision`, or name the highest token
//!   known by `token_floor`.
//! - That a store was replaced, where no answer names its cluster: a proxy may leave it out.
//! - That ours lead in turn with Go's candidates: these queue, ours do not, so a Go candidate that
//!   waits is next.
//! - That a cloned process loses its term: nothing is stored by a renewal, so both copies are
//!   acknowledged.
//!
//! A build needs `protoc` on the path or in `PROTOC`, for the client library generates its code.

mod doctor;
mod election;
mod failure;
mod list;
mod lock;
mod options;
mod pool;
mod queue;
mod reader;
mod shell;
mod watch;

pub use etcd_client;

pub use election::{ElectionName, lease_id};
pub use lock::EtcdLock;
pub use options::{Etcd, EtcdOptions};
