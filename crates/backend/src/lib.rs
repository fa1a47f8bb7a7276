//! The parts that the stores of Leasehold share, for authors of a store. The contract itself is
//! [`LockBackend`](leasehold_core::LockBackend); nothing here decides about leadership.
//!
//! - [`Failure`]: a kind, a text and a cure, and what a connection's error says.
//! - [`TokenFloor`], [`random`], [`random_nonce`].
//! - [`Diagnose`], [`Finding`] and [`race`]: the examination of a store before anything relies on it.

mod failure;
mod finding;
mod floor;
mod memory;
mod race;
mod random;

pub use failure::{Failure, TlsTrouble, chain, said_once};
pub use finding::{Diagnose, Finding, Level};
pub use floor::TokenFloor;
pub use race::{Race, race};
pub use random::{random, random_nonce};
