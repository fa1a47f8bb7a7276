//! The elector: the handle an application holds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::election::Loss;
use crate::error::Error;
use crate::record::Incarnation;
use crate::timing::Timing;

use super::campaign::Campaign;
use super::command::Command;
use super::status::{Status, changes};
use super::term::{Held, StopReason, Term};

/// One candidate for one lock. Clones are handles to the same candidate; the last one dropped ends
/// it.
#[derive(Clone)]
pub struct Elector {
    pub(super) shared: Arc<Handle>,
}

#[derive(Debug)]
pub(super) struct Handle {
    pub(super) identity: String,
    pub(super) commands: mpsc::UnboundedSender<Command<Held>>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) timing: Timing,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) drain_timeout: Duration,
    pub(super) loss_grace: Duration,
    /// Tells a candidate that was asked to end from one whose driver died.
    pub(super) shut_down: AtomicBool,
}

/// The end of [`Elector::run_once`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the job may not have run, or may still run"]
#[non_exhaustive]
pub enum Finished<R> {
    /// The job returned while this candidate led, and the lock was given back.
    Done(R),
    /// The term was lost before the job returned: another candidate may have started the job. The
    /// value, if the job returned within its grace; otherwise its future was dropped.
    Lost(Loss, Option<R>),
    /// [`shutdown`](Elector::shutdown) came before this candidate led: the job did not run.
    NeverLed,
    /// The job ran and did not return within the drain timeout after it was asked to stop. Its
    /// future was dropped, but tasks that it spawned may still run, so nothing was released: the
    /// lease runs out.
    Unfinished,
}

impl Elector {
    /// Runs `work` during every term of this candidate, until [`shutdown`](Self::shutdown).
    ///
    /// When the work should stop, [`Term::stopped`] resolves. After a requested stop the term is
    /// kept while the work drains, then released. After a loss the work's future is dropped when
    /// its grace is over, at once if another leader is known. Work that returns releases the lock
    /// and contends again after a cool-down. The future is dropped before a release is sent; tasks
    /// it has spawned are not: end them yourself.
    ///
    /// A panic in the work reaches the caller, and nothing is released: the lease runs out.
    ///
    /// The lease is renewed by a task on the runtime in which the elector was built. Work that
    /// blocks that runtime's threads stops the renewals, and the term is lost at its deadline: give
    /// such work to `spawn_blocking`.
    ///
    /// The work is polled in the caller's task and may borrow from it. To give `run` itself to
    /// `tokio::spawn`, let the closure own what it changes (an `Arc`, a channel): a borrowing async
    /// closure is not `Send` enough.
    ///
    /// # Errors
    /// `Corrupt`, `Rewound` and `Replaced`; `Denied` and `Invalid` before the first successful
    /// read; `Denied` if the store says that this candidate may not take the lock, and nothing ever
    /// showed that it may; and `Stopped` if the driver or its runtime is gone without a shutdown.
    /// Everything else is a state: see [`status`](Self::status).
    pub async fn run(&self, mut work: impl AsyncFnMut(Term)) -> Result<(), Error> {
        let mut next = self.enqueue();
        loop {
            let held = match next.claimed().await {
                Ok(held) => held,
                Err(_) if self.is_shut_down() => return Ok(()),
                Err(error) => return Err(error),
            };
            let term = held.term();
            let end = self.supervise(&term, work(term.clone())).await;
            // Contending before the work is declared stopped lets a lost term that is still ours be
            // taken anew.
            next = self.enqueue();
            self.conclude(held, &end).await;
        }
    }

    /// Runs `job` during one term and gives the lock back.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_once<R>(
        &self,
        job: impl AsyncFnOnce(Term) -> R,
    ) -> Result<Finished<R>, Error> {
        let held = match self.campaign().await {
            Ok(held) => held,
            Err(_) if self.is_shut_down() => return Ok(Finished::NeverLed),
            Err(error) => return Err(error),
        };
        let term = held.term();
        let end = self.supervise(&term, job(term.clone())).await;
        self.conclude(held, &end).await;
        Ok(match end {
            End::Returned(value) => Finished::Done(value),
            End::Lost(loss, value) => Finished::Lost(loss, value),
            End::DrainTimedOut => Finished::Unfinished,
        })
    }

    /// Contends until this candidate leads. Campaigns on one elector queue: the next term begins
    /// only when the [`Held`] of the last one, even of a lost one, was resigned or dropped, so that
    /// no two works run here. Dropping the future is safe: a lock that was just taken is given
    /// back.
    ///
    /// # Errors
    /// As [`run`](Self::run), and `Stopped` after a shutdown.
    pub async fn campaign(&self) -> Result<Held, Error> {
        self.enqueue().claimed().await
    }

    /// What is known now.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = self.shared.status.borrow().clone();
        status.still_true(self.shared.clock.now())
    }

    /// The present status and every change of role, leader or store health; renewals are no change.
    /// Intermediate states may be skipped.
    pub fn changes(&self) -> impl Stream<Item = Status> + Send + 'static + use<> {
        changes(self.shared.status.clone())
    }

    /// Asks the work of the present term to stop, and contends again after a cool-down.
    pub fn step_down(&self) {
        self.tell(Command::Stop);
    }

    /// Stands back: asks the work of the present term to stop, and contends no more until
    /// [`resume`](Self::resume). Campaigns wait meanwhile.
    pub fn pause(&self) {
        self.tell(Command::Pause(true));
    }

    /// Contends again after a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.tell(Command::Pause(false));
    }

    /// Asks the work to stop, releases once it has, and ends this candidate.
    pub fn shutdown(&self) {
        self.shared.shut_down.store(true, Ordering::Release);
        self.tell(Command::Shutdown);
    }

    /// The name of this candidate: the chosen one, or the default.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.shared.identity
    }

    /// The incarnation in use.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.shared.status.borrow().incarnation
    }

    /// The timing in force.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.shared.timing
    }

    fn is_shut_down(&self) -> bool {
        self.shared.shut_down.load(Ordering::Acquire)
    }

    fn tell(&self, command: Command<Held>) {
        // A driver that has ended needs no telling.
        let _ = self.shared.commands.send(command);
    }

    fn enqueue(&self) -> Campaign {
        Campaign::enqueue(&self.shared.commands)
    }

    async fn supervise<R>(&self, term: &Term, work: impl Future<Output = R>) -> End<R> {
        let mut work = std::pin::pin!(work);
        let reason = tokio::select! {
            // As everywhere here: in a fixed order, so that virtual time repeats.
            biased;
            value = &mut work => return End::of(term, value),
            reason = term.stopped() => reason,
        };
        if reason == StopReason::Requested {
            let timeout = self.shared.clock.now() + self.shared.drain_timeout;
            tokio::select! {
                biased;
                value = &mut work => return End::of(term, value),
                _ = term.lost() => {}
                () = self.shared.clock.sleep_until(timeout) => return End::DrainTimedOut,
            }
        }
        let loss = term.lost().await;
        let kill_at = match loss {
            Loss::Expired | Loss::Silent => term.deadlines().kill_at,
            _ => term.deadlines().kill_at.min(self.shared.clock.now() + self.shared.loss_grace),
        };
        tokio::select! {
            biased;
            value = &mut work => End::Lost(loss, Some(value)),
            () = self.shared.clock.sleep_until(kill_at) => End::Lost(loss, None),
        }
    }

    /// The work's future is gone. Releases what is to be released.
    async fn conclude<R>(&self, held: Held, end: &End<R>) {
        match end {
            // An unconfirmed release, or a driver that is gone, leaves the lease to run out.
            End::Returned(_) => drop(held.resign().await),
            End::Lost(..) => held.finish(),
            // Tasks of the work may still run: nothing is released.
            End::DrainTimedOut => drop(held),
        }
    }
}

impl fmt::Debug for Elector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elector").field("status", &self.status()).finish()
    }
}

/// How the work of a term ended.
enum End<R> {
    Returned(R),
    Lost(Loss, Option<R>),
    DrainTimedOut,
}

impl<R> End<R> {
    fn of(term: &Term, value: R) -> Self {
        match term.check() {
            Ok(_) => Self::Returned(value),
            Err(loss) => Self::Lost(loss, Some(value)),
        }
    }
}
