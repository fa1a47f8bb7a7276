//! Redis and Valkey: one server, replicas, Sentinels and a cluster.

#[cfg(feature = "servers")]
pub mod fixture;

#[cfg(feature = "servers")]
pub use fixture::{Form, Options, Program, Redis};
