//! The atomics that a term's word is made of. Tests that explore interleavings put their own in
//! this place.

#[cfg(test)]
pub(crate) use super::exploration::atomic::{AtomicU64, Ordering};
#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
