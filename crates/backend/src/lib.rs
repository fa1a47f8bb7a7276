//! The parts that the stores of Leasehold share, for authors of a store. The contract itself is
//! [`LockBackend`](leasehold_core::LockBackend); nothing here decides about leadership.
//!
//! - [`Failure`]: a kind, a text and a cure; [`chain`], [`said_once`] and [`TlsTrouble`] for the
//!   errors of client libraries.
//! - [`Login`] and, with the feature `tls`, [`tls::TlsMaterial`]: credentials, from a program or
//!   from the parameters of a lock URL.
//! - [`check_endpoint`]: whether a text is the place of a server.
//! - [`Aside`]: a thread for files that may hang.
//! - [`watching`]: the skeleton of a watch.
//! - [`TokenFloor`], [`random`], [`random_nonce`].
//! - [`Diagnose`], [`Finding`], [`race()`] and [`doctor`]: the examination of a store before
//!   anything relies on it.
//!
//! A backend is laid out as those of this project are: `options` (how the store is reached),
//! `reader` (what a lock shows), `lock` (the writes) and `watch` above it, `failure` (what an error
//! of the client library means), `doctor`.

mod aside;
pub mod doctor;
mod endpoint;
mod failure;
mod finding;
mod floor;
mod login;
mod memory;
mod race;
mod random;
#[cfg(feature = "tls")]
pub mod tls;
pub mod watching;

pub use aside::Aside;
pub use endpoint::check_endpoint;
pub use failure::{Failure, TlsTrouble, chain, said_once};
pub use finding::{Diagnose, Finding, Level};
pub use floor::TokenFloor;
pub use login::{Login, LoginParts};
pub use race::{Race, race};
pub use random::{random, random_nonce};
