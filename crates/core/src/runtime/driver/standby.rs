//! Whether this candidate could take the lock at all, asked without writing: a standby that can
//! never lead says so at once, not when it is needed.
//!
//! The question is no operation of the election: it goes beside one, delays none, and decides
//! nothing but whether somebody who can never lead goes on waiting.

use std::time::Duration;

use tracing::{info, warn};

use crate::backend::Outcome;
use crate::clock::BoxFuture;
use crate::error::{Error, ErrorKind};
use crate::time::Time;

use super::Driver;
use super::requests::timed_out;

/// How often a standby asks again, unless its lease is longer.
const AGAIN: Duration = Duration::from_secs(60);

/// What is known of it.
pub(super) struct Standby {
    asking: Option<BoxFuture<'static, Result<(), Error>>>,
    /// When it was asked last, and when it is asked next.
    asked_at: Time,
    ask_at: Time,
    /// The store said that a take is permitted, or accepted a write.
    shown: bool,
    /// The store says that a take is not permitted.
    denied: Option<Error>,
}

impl Default for Standby {
    fn default() -> Self {
        Self { asking: None, asked_at: Time(0), ask_at: Time(0), shown: false, denied: None }
    }
}

impl Standby {
    /// Why this candidate could not take the lock now, as far as is known.
    pub(super) fn denied(&self) -> Option<&Error> {
        self.denied.as_ref()
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> Result<(), Error> {
        match &mut self.asking {
            Some(asking) => asking.await,
            None => std::future::pending().await,
        }
    }
}

impl Driver {
    /// Asks if it is time to.
    pub(super) fn ask(&mut self, now: Time) {
        if !self.is_standby(now) {
            self.state.standby.asking = None;
            return;
        }
        let timeout = self.timing.request_timeout();
        let standby = &mut self.state.standby;
        if standby.asking.is_some() || now < standby.ask_at {
            return;
        }
        standby.asked_at = now;
        standby.ask_at = now + AGAIN.max(self.timing.lease_duration());
        let (lock, timeout) = (self.lock.clone(), self.clock.sleep_until(now + timeout));
        let candidate = self.election.candidate().clone();
        standby.asking = Some(Box::pin(async move {
            tokio::select! {
                biased;
                answer = lock.may_take(&candidate) => answer,
                () = timeout => Err(timed_out("ask whether this candidate may take the lock")),
            }
        }));
    }

    /// When to ask next, if it is not being asked.
    pub(super) fn asks_at(&self, now: Time) -> Option<Time> {
        let standby = &self.state.standby;
        (standby.asking.is_none() && self.is_standby(now)).then_some(standby.ask_at)
    }

    /// It contends, and does not lead: who leads proves it by every renewal.
    fn is_standby(&self, now: Time) -> bool {
        self.election.standing() && !self.state.closing && self.election.leadership(now).is_none()
    }

    pub(super) fn permitted(&mut self, answer: Result<(), Error>) {
        self.state.standby.asking = None;
        match answer {
            Ok(()) => self.note_permission(),
            Err(error) if error.kind() == ErrorKind::Denied => self.note_denial(error),
            // It is not known: what was known stays, and it is asked again before long.
            Err(_) => {
                let standby = &mut self.state.standby;
                let soon = standby.asked_at + self.timing.lease_duration();
                standby.ask_at = standby.ask_at.min(soon);
            }
        }
    }

    /// A write was answered: what was accepted is permitted, and what was denied is asked about.
    pub(super) fn note_write(&mut self, answer: &Result<Outcome, Error>) {
        match answer {
            Ok(Outcome::Written(_)) => self.note_permission(),
            Err(error) if error.kind() == ErrorKind::Denied => {
                let standby = &mut self.state.standby;
                let soon = standby.asked_at + self.timing.silence();
                standby.ask_at = standby.ask_at.min(soon);
            }
            Ok(Outcome::Conflict) | Err(_) => {}
        }
    }

    fn note_permission(&mut self) {
        self.state.standby.shown = true;
        if self.state.standby.denied.take().is_some() {
            let lock = self.lock.name();
            info!(event = "standby-permitted", lock, "this candidate may take the lock again");
        }
    }

    /// Ends the candidacy if nothing ever showed that it could succeed; else it is a state.
    fn note_denial(&mut self, error: Error) {
        let standby = &mut self.state.standby;
        if !standby.shown {
            // Whoever campaigns anew is told anew.
            standby.ask_at = Time(0);
            for campaign in self.state.waiting.drain(..) {
                let _ = campaign.send(Err(error.clone()));
            }
        } else if standby.denied.is_none() {
            warn!(
                event = "standby-denied", lock = self.lock.name(), %error,
                "this candidate could not take the lock now; going on, and asking again"
            );
        }
        self.state.standby.denied = Some(error);
    }
}
