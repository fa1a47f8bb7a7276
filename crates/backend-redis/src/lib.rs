//! A lock in Redis or Valkey: one string key without a time to live, replaced by compare-and-swap.
//!
//! **Guaranteed:**
//! - No clock, eviction, restart or deletion on the server ends a lease: candidates count leases
//!   themselves, and a lock that vanished is waited for like one that is held.
//! - A write counts only if the server's *reign* is the one in which the replaced state was read: a
//!   restart, a promotion and the resynchronization of a replica each begin another. What was
//!   read in an earlier reign may be of the past, so whoever wants the lock waits a lease out.
//! - With `replicas`, a write counts once a majority of the nodes has it, asked of the very
//!   connection that wrote, and the reign has not changed meanwhile. A fail-over does not give the
//!   lock to two leaders.
//! - A key of another type, and a value that is not a record, are never overwritten.
//!
//! **Not guaranteed:**
//! - Anything at a fail-over without `replicas`, or with more replicas than it names:
//!   acknowledgements of replicas that nobody counted prove nothing. Replicas that follow are
//!   counted; those that are down are not seen.
//! - Anything after `CONFIG RESETSTAT`, if exactly as many replicas resynchronize afterwards as
//!   before: the reign then seems unchanged.
//! - Tokens that grow, if the record is deleted and the server's clock goes back with it. Name the
//!   highest token known by `token_floor`.
//!
//! Needs Redis or Valkey 7.0 or newer, without a proxy before it.

mod connection;
mod dial;
mod doctor;
mod failure;
mod frame;
mod info;
mod list;
mod lock;
mod name;
mod node;
mod options;
mod reader;
mod rules;
mod script;
mod stored;
mod swap;
mod watch;

pub use lock::RedisLock;
pub use options::{Redis, RedisOptions};
pub use rules::Cas;
