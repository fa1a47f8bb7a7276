//! What the work of a term is given, and what owns the term.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::election::{Leadership, Loss};
use crate::error::{Error, ErrorKind};
use crate::record::Token;
use crate::time::Time;

use super::cell::Cell;
use super::command::Command;

/// A read-only view of one term: its token, and whether it still is believed in. Clones may go
/// anywhere and keep nothing alive.
#[derive(Clone)]
pub struct Term {
    shared: Arc<Shared>,
    signal: watch::Receiver<Signal>,
}

/// The unique owner of a term. Dropping it ends the belief of every [`Term`] at once, without I/O:
/// the lease runs out. To give the lock back, stop the work and [`resign`](Held::resign).
#[must_use = "dropping it ends the term"]
pub struct Held {
    term: Term,
    commands: mpsc::UnboundedSender<Command<Held>>,
    /// Has been handed to the application, so that work may have begun.
    claimed: bool,
    resigned: bool,
}

/// When belief, grace and lease of a term end, counted from when the last acknowledged renewal was
/// sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlines {
    /// Belief ends, and the work is told to stop.
    pub until: Time,
    /// Work that has not stopped is killed.
    pub kill_at: Time,
    /// The lease may pass to another.
    pub dead_by: Time,
}

/// Why the work should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked; the term is kept while the work drains.
    Requested,
    /// The term is over.
    Lost(Loss),
}

#[derive(Debug)]
pub(crate) struct Shared {
    cell: Cell,
    /// When the work last said that it goes on.
    beat: AtomicU64,
    token: Token,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    deadlines: Deadlines,
    draining: bool,
    loss: Option<Loss>,
}

impl Term {
    /// The fencing token. Send it with every write to the resource, and let the resource refuse
    /// smaller ones.
    #[must_use]
    pub fn token(&self) -> Token {
        self.shared.token
    }

    /// Whether this term is believed in right now: `Ok` with the token, or why it is over, and then
    /// for ever.
    ///
    /// No I/O, no lock, right from any thread and without the runtime. Call it before every side
    /// effect. It cannot guard what happens between its return and the effect: only the resource
    /// can, by the token.
    ///
    /// # Errors
    /// The term is over.
    pub fn check(&self) -> Result<Token, Loss> {
        self.until().map(|_| self.shared.token)
    }

    /// Says that the work goes on. Where the elector was built with
    /// [`heartbeat_within`](crate::Builder::heartbeat_within), a work that says so too seldom loses
    /// the term.
    pub fn heartbeat(&self) {
        self.shared.beat.store(self.shared.clock.now().0, Ordering::Release);
    }

    /// How long this term is believed in if no further renewal is acknowledged.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        match self.until() {
            Ok(until) => until.since(self.shared.clock.now()),
            Err(_) => Duration::ZERO,
        }
    }

    /// How long work may take to stop from now on if no further renewal is acknowledged. Zero once
    /// the term is over for another reason than its deadline: another may lead already.
    #[must_use]
    pub fn remaining_grace(&self) -> Duration {
        match self.check() {
            Ok(_) | Err(Loss::Expired | Loss::Silent) => {
                self.deadlines().kill_at.since(self.shared.clock.now())
            }
            Err(_) => Duration::ZERO,
        }
    }

    /// The deadlines that the last acknowledged renewal set.
    #[must_use]
    pub fn deadlines(&self) -> Deadlines {
        self.signal.borrow().deadlines
    }

    /// Resolves once a renewal moved belief beyond `after`, or with `None` once the term is over.
    pub fn extended(
        &self,
        after: Time,
    ) -> impl Future<Output = Option<Deadlines>> + Send + 'static + use<> {
        let mut term = self.clone();
        async move {
            loop {
                let until = term.until().ok()?;
                let deadlines = term.deadlines();
                if deadlines.until > after {
                    return Some(deadlines);
                }
                term.news(until).await;
            }
        }
    }

    /// Resolves once the work should stop.
    pub fn stopped(&self) -> impl Future<Output = StopReason> + Send + 'static + use<> {
        let mut term = self.clone();
        async move {
            loop {
                let until = match term.until() {
                    Ok(until) => until,
                    Err(loss) => return StopReason::Lost(loss),
                };
                if term.signal.borrow().draining {
                    return StopReason::Requested;
                }
                term.news(until).await;
            }
        }
    }

    /// Resolves once the term is over.
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + 'static + use<> {
        let mut term = self.clone();
        async move {
            loop {
                match term.until() {
                    Ok(until) => term.news(until).await,
                    Err(loss) => return loss,
                }
            }
        }
    }

    fn until(&self) -> Result<Time, Loss> {
        self.shared.cell.check(self.shared.clock.now())
    }

    /// Waits for a signal or the deadline. The deadline has a timer of its own: it passes also when
    /// the driver is stalled. It is the word's: the signal of a renewal follows the word, and who
    /// counted from the signal would spin until it came.
    async fn news(&mut self, until: Time) {
        let deadline = self.shared.clock.sleep_until(until);
        tokio::select! {
            // In a fixed order, so that a test can repeat what it found. Either way all is looked
            // at again.
            biased;
            changed = self.signal.changed() => {
                if changed.is_err() && self.check().is_ok() {
                    self.shared.cell.end(Loss::DriverGone);
                }
            }
            () = deadline => {}
        }
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term").field("token", &self.token()).field("check", &self.check()).finish()
    }
}

impl Held {
    /// Gives the lock back. Call it when the work has stopped: others may lead as soon as it is
    /// sent.
    ///
    /// Belief ends at once. `Ok(true)`: the store confirmed, the lock is free. `Ok(false)`: not
    /// confirmed within two request timeouts, or the term was over before; the lease runs out.
    ///
    /// # Errors
    /// `Stopped` if the runtime that drove the elector is gone; the lease runs out.
    pub async fn resign(mut self) -> Result<bool, Error> {
        self.resigned = true;
        self.term.shared.cell.end(Loss::Resigned);
        let (reply, answer) = oneshot::channel();
        let drained = Command::Drained { token: self.term.token(), reply: Some(reply) };
        let stopped = |what: &str| Error::new(ErrorKind::Stopped, "resign", what.to_owned());
        self.commands.send(drained).map_err(|_closed| stopped("the elector has ended"))?;
        answer.await.map_err(|_closed| stopped("the elector has ended"))
    }

    /// The read-only view of this term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term.clone()
    }

    pub(crate) fn claim(mut self) -> Self {
        self.claimed = true;
        self
    }

    /// The work has stopped, but the term was over before: no release of a running term is meant.
    pub(crate) fn finish(mut self) {
        self.resigned = true;
        let drained = Command::Drained { token: self.term.token(), reply: None };
        // A driver that is gone renews nothing either.
        let _ = self.commands.send(drained);
    }
}

impl Deref for Held {
    type Target = Term;

    fn deref(&self) -> &Term {
        &self.term
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.term).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.resigned {
            return;
        }
        self.term.shared.cell.end(Loss::Dropped);
        let token = self.term.token();
        let command = if self.claimed {
            Command::Dropped { token }
        } else {
            // Nobody ever saw this term, so no work of it runs.
            Command::Drained { token, reply: None }
        };
        let _ = self.commands.send(command);
    }
}

/// The driver's side of a term. Its end ends the term.
#[derive(Debug)]
pub(crate) struct Live {
    shared: Arc<Shared>,
    signal: watch::Sender<Signal>,
}

impl Live {
    pub(crate) fn begin(
        leadership: &Leadership,
        clock: Arc<dyn Clock>,
        commands: mpsc::UnboundedSender<Command<Held>>,
    ) -> (Self, Held) {
        let cell = Cell::new(leadership.until);
        let beat = AtomicU64::new(clock.now().0);
        let shared = Arc::new(Shared { cell, beat, token: leadership.token, clock });
        let first = Signal {
            deadlines: Deadlines::of(leadership),
            draining: leadership.draining,
            loss: None,
        };
        let (signal, receiver) = watch::channel(first);
        let term = Term { shared: shared.clone(), signal: receiver };
        (Self { shared, signal }, Held { term, commands, claimed: false, resigned: false })
    }

    pub(crate) fn token(&self) -> Token {
        self.shared.token
    }

    /// When the work last said that it goes on.
    pub(crate) fn last_beat(&self) -> Time {
        Time(self.shared.beat.load(Ordering::Acquire))
    }

    /// Passes on what the election believes now.
    ///
    /// # Errors
    /// The term is over for its readers; says why.
    pub(crate) fn update(&self, leadership: &Leadership) -> Result<(), Loss> {
        self.shared.cell.extend(leadership.until)?;
        self.signal.send_if_modified(|signal| {
            let (deadlines, draining) = (Deadlines::of(leadership), leadership.draining);
            let changed = signal.deadlines != deadlines || signal.draining != draining;
            *signal = Signal { deadlines, draining, ..*signal };
            changed
        });
        Ok(())
    }

    /// Ends the term for its readers. Returns why it is over.
    pub(crate) fn end(&self, loss: Loss) -> Loss {
        let loss = self.shared.cell.end(loss);
        self.signal.send_modify(|signal| signal.loss = Some(loss));
        loss
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.signal.borrow().loss.is_none() {
            self.end(Loss::DriverGone);
        }
    }
}

impl Deadlines {
    fn of(leadership: &Leadership) -> Self {
        let Leadership { until, kill_at, dead_by, .. } = *leadership;
        Self { until, kill_at, dead_by }
    }
}

#[cfg(test)]
mod tests;
