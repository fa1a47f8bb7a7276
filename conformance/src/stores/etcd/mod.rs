//! etcd: clusters of one and of three members.

#[cfg(feature = "servers")]
pub mod fixture;
#[cfg(feature = "servers")]
mod target;
#[cfg(feature = "servers")]
mod wire;

use super::{Started, Store};

#[cfg(feature = "servers")]
pub use fixture::{Etcd, Options, Tls};
#[cfg(feature = "servers")]
pub use target::EtcdTarget;

/// The cases that say nothing of it; `expected.toml` says why.
const LEAVES_OUT: &[&str] = &["EX4", "RN5", "RN6", "SV5", "SV7", "OV2", "UP2", "UP3", "UP4", "UP6"];

pub(super) const STORES: &[Store] = &[
    Store {
        backend: "etcd",
        names: &["etcd"],
        by_default: false,
        expected: include_str!("expected.toml"),
        leaves_out: Some(LEAVES_OUT),
        start,
    },
    // The same store, used by whoever may do no more than a candidate must.
    Store {
        backend: "etcd-least",
        names: &["etcd-least"],
        by_default: false,
        expected: include_str!("expected.toml"),
        leaves_out: Some(LEAVES_OUT),
        start: start_least,
    },
];

#[cfg(feature = "servers")]
fn start() -> Started {
    super::started(EtcdTarget::start(), "cannot start etcd")
}

#[cfg(feature = "servers")]
fn start_least() -> Started {
    super::started(EtcdTarget::start_least(), "cannot start etcd")
}

#[cfg(not(feature = "servers"))]
fn start() -> Started {
    Err("this build starts no servers".to_owned())
}

#[cfg(not(feature = "servers"))]
use start as start_least;
