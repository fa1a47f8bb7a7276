//! The word that `check()` reads: a deadline, or why the term is over. Atomics only, and they are
//! named through `super::atomic`, so that `tests/interleavings.rs` can explore every interleaving
//! of this very file.

use crate::election::Loss;
use crate::time::Time;

use super::atomic::{AtomicU64, Ordering};

/// Words below this are losses; no deadline lies within the first nanoseconds after boot.
const LOSSES: u64 = 8;

/// The belief of one term, shared by its owner, its readers and the driver. Once it is over, it
/// stays over.
#[derive(Debug)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) fn new(until: Time) -> Self {
        Self(AtomicU64::new(until.0.max(LOSSES)))
    }

    /// Until when the term is believed in, as seen at `now`. A check that sees the deadline poisons
    /// the word, so that an acknowledgement on its way cannot bring the term back for anybody.
    pub(crate) fn check(&self, now: Time) -> Result<Time, Loss> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            match decode(word) {
                Err(loss) => return Err(loss),
                Ok(until) if now < until => return Ok(until),
                Ok(_) => {}
            }
            // If this fails, an extension or an end came first, and is looked at instead.
            match self.swap(word, Loss::Expired) {
                Ok(()) => return Err(Loss::Expired),
                Err(actual) => word = actual,
            }
        }
    }

    /// Moves the deadline on, unless the term is over; then says why it is.
    pub(crate) fn extend(&self, until: Time) -> Result<(), Loss> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let current = decode(word)?;
            if current >= until {
                return Ok(());
            }
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self.0.compare_exchange_weak(word, until.0, success, failure) {
                Ok(_) => return Ok(()),
                Err(actual) => word = actual,
            }
        }
    }

    /// Ends the term, unless it is over already. Returns why it is over.
    pub(crate) fn end(&self, loss: Loss) -> Loss {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if let Err(earlier) = decode(word) {
                return earlier;
            }
            match self.swap(word, loss) {
                Ok(()) => return loss,
                Err(actual) => word = actual,
            }
        }
    }

    fn swap(&self, word: u64, loss: Loss) -> Result<(), u64> {
        self.0.compare_exchange(word, encode(loss), Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }
}

fn encode(loss: Loss) -> u64 {
    match loss {
        Loss::Expired => 0,
        Loss::Superseded => 1,
        Loss::Resigned => 2,
        Loss::Dropped => 3,
        Loss::DriverGone => 4,
        Loss::Silent => 5,
        Loss::Replaced => 6,
    }
}

fn decode(word: u64) -> Result<Time, Loss> {
    match word {
        0 => Err(Loss::Expired),
        1 => Err(Loss::Superseded),
        2 => Err(Loss::Resigned),
        3 => Err(Loss::Dropped),
        5 => Err(Loss::Silent),
        6 => Err(Loss::Replaced),
        word if word < LOSSES => Err(Loss::DriverGone),
        deadline => Ok(Time(deadline)),
    }
}
