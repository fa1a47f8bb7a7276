//! The word's atomics, each operation between two points where another thread may come first.
//! Outside of an exploration they are the machine's own.

use std::sync::atomic;

pub(crate) use std::sync::atomic::Ordering;

use super::point;

#[derive(Debug)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        between(|| self.0.load(order))
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        between(|| self.0.compare_exchange(current, new, success, failure))
    }

    /// Never fails without a reason: an exploration must be repeatable.
    pub(crate) fn compare_exchange_weak(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.compare_exchange(current, new, success, failure)
    }
}

fn between<R>(operation: impl FnOnce() -> R) -> R {
    point();
    let result = operation();
    point();
    result
}
