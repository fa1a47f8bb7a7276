//! A candidate's own clock: an offset, a rate, and what it missed.

use leasehold_core::Time;

use crate::case::{MS, Nanos};

const UNIT: u64 = 1_000_000;

/// Maps real time to what a candidate's clock shows.
#[derive(Clone, Debug)]
pub(crate) struct LocalClock {
    offset: u64,
    rate: u64,
}

impl LocalClock {
    /// A clock that shows `offset_ms` at the start and runs at `rate` millionths of real time.
    #[must_use]
    pub(crate) fn new(offset_ms: u64, rate: u64) -> Self {
        Self { offset: offset_ms * MS, rate }
    }

    /// What the clock shows.
    #[must_use]
    pub(crate) fn show(&self, real: Nanos) -> Time {
        Time(self.offset + real * self.rate / UNIT)
    }

    /// The first real moment at which the clock shows `time` or more.
    #[must_use]
    pub(crate) fn when(&self, time: Time) -> Nanos {
        let local = time.0.saturating_sub(self.offset);
        if local > u64::MAX / (2 * UNIT) {
            return Nanos::MAX;
        }
        (local * UNIT).div_ceil(self.rate)
    }

    /// The clock stood still for this long (a clock that does not count suspend).
    pub(crate) fn miss(&mut self, real: Nanos) {
        self.offset -= real * self.rate / UNIT;
    }
}
