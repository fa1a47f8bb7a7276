//! The handle of a program that looks on.

use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::{mpsc, watch};

use crate::backend::LockBackend;
use crate::clock::Clock;
use crate::election::{CandidateConfig, Election};
use crate::error::{Error, ErrorKind};
use crate::record::Incarnation;
use crate::timing::TimingSettings;

use super::boot_clock::BootClock;
use super::command::Command;
use super::driver::start;
use super::random::random;
use super::status::{Status, changes};
use super::term::Held;

/// Who leads, with permission to read only. Never contends.
#[derive(Clone, Debug)]
pub struct Observer {
    /// Keeps the driver alive.
    _commands: mpsc::UnboundedSender<Command<Held>>,
    status: watch::Receiver<Status>,
    clock: Arc<dyn Clock>,
}

impl Observer {
    /// Observes `lock`, with the store's own timing.
    ///
    /// # Errors
    /// `Invalid` if there is no tokio runtime, or this system lacks what the clock needs;
    /// `Unavailable` if there is no thread or descriptor left for the clock.
    pub fn new(lock: Arc<dyn LockBackend>) -> Result<Self, Error> {
        Self::with_clock(lock, BootClock::started()?)
    }

    /// Observes `lock` on this clock.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_clock(lock: Arc<dyn LockBackend>, clock: impl Clock) -> Result<Self, Error> {
        let invalid = |why: String| Error::new(ErrorKind::Invalid, "build the observer", why);
        let timing = TimingSettings::default().fit(&lock.capabilities()).map_err(invalid)?;
        let candidate = CandidateConfig {
            identity: String::new(),
            advertise: None,
            incarnation: Incarnation(random()),
            timing,
            hand_over_jitter: Duration::ZERO,
        };
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let election = Election::new(candidate, &lock.capabilities());
        let (commands, status) = start(lock, clock.clone(), (timing, None), election)?;
        Ok(Self { _commands: commands, status, clock })
    }

    /// What is known now.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = self.status.borrow().clone();
        status.still_true(self.clock.now())
    }

    /// The present status and every change of leader or store health.
    pub fn changes(&self) -> impl Stream<Item = Status> + Send + 'static + use<> {
        changes(self.status.clone())
    }
}
