//! Redis and Valkey: one server, replicas, Sentinels and a cluster.

#[cfg(feature = "servers")]
pub mod fixture;
#[cfg(feature = "servers")]
mod target;
#[cfg(feature = "servers")]
mod wire;

use super::{Started, Store};

#[cfg(feature = "servers")]
pub use fixture::{Form, Options, Program, Redis};
#[cfg(feature = "servers")]
pub use target::RedisTarget;

macro_rules! stores {
    ($($backend:literal from $expected:literal without $leaves_out:ident,
        $program:ident $form:ident $least:literal)*) => {
        pub(super) const STORES: &[Store] = &[$(Store {
            backend: $backend,
            names: &[$backend],
            by_default: false,
            expected: include_str!($expected),
            leaves_out: Some($leaves_out),
            start: {
                #[cfg(feature = "servers")]
                fn start() -> Started {
                    let (backend, least) = ($backend, $least);
                    let (program, form) = (Program::$program, Form::$form);
                    let kind = target::Kind { backend, program, form, least };
                    super::started(RedisTarget::start(kind), "cannot start servers")
                }
                #[cfg(not(feature = "servers"))]
                fn start() -> Started {
                    Err("this build starts no servers".to_owned())
                }
                start
            },
        }),*];
    };
}

/// The cases that say nothing of some of them; the files of what is expected say why. First those
/// that say nothing of any.
macro_rules! left_out {
    ($($more:literal)*) => {
        &[
            "RN6", "WA3", "SV7", "SV9", "OV2", "UP2", "UP3", "UP4", "UP5", "UP6", "SC3", $($more),*
        ]
    };
}

/// One server.
const ONE: &[&str] = left_out!("NP6" "NP7" "SV4" "SV5");

/// One server, on which each lock has a user of its own.
const LEAST: &[&str] = left_out!("NP6" "NP7" "SV4" "SV5" "SC1");

/// Servers behind one address.
const MOVED: &[&str] = left_out!("NP6" "NP7" "SV4");

/// Servers that Sentinels name.
const NAMED: &[&str] = left_out!("LA4");

/// Those of a cluster, of which some that only vote have a slot and no replicas.
const SLOTS: &[&str] = left_out!("LA4" "SC1");

stores! {
    "valkey" from "expected-valkey.toml" without ONE, Valkey One false
    "redis" from "expected.toml" without ONE, Redis One false
    "redis-replicated" from "expected-replicated.toml" without MOVED, Valkey Replicated false
    "redis-sentinel" from "expected-sentinel.toml" without NAMED, Valkey Sentinel false
    "redis-cluster" from "expected-cluster.toml" without SLOTS, Valkey Cluster false
    "redis-least" from "expected-least.toml" without LEAST, Redis One true
}
