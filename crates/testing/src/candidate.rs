//! A candidate in this process: an elector of the product over a link, whose terms are noted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_core::{
    Clock, Elector, Error, ErrorKind, Held, LockBackend, Loss, Role, Term, Time, TimingSettings,
    Token,
};
use tokio::task::JoinHandle;

use crate::clock::{CandidateClock, Gate};
use crate::history::{History, What};
use crate::link::{Latency, Ledger, Link, Network};

/// How a candidate differs from the others.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its identity, where that is not its name in the history.
    pub identity: Option<String>,
    /// Its timing.
    pub timing: TimingSettings,
    /// The rate of its clock, in parts of a million.
    pub rate: u64,
    /// How far away the store is.
    pub latency: Latency,
}

/// When the work of a candidate stops, once it should.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// At once.
    AtOnce,
    /// After so long.
    After(Duration),
    /// Only when it is dropped.
    Never,
}

/// A candidate. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Candidate {
    name: Arc<str>,
    elector: Elector,
    link: Link,
    gate: Gate,
    clock: CandidateClock,
    history: History,
    dead: Arc<AtomicBool>,
}

/// A term that a candidate holds.
#[must_use = "dropping it ends the term"]
#[derive(Debug)]
pub struct Lead {
    held: Held,
    name: Arc<str>,
    history: History,
}

impl Candidate {
    /// A candidate over a way of its own to this store.
    ///
    /// # Errors
    /// The timing or a name is refused.
    pub fn new(
        name: &str,
        (store, network): (Arc<dyn LockBackend>, Option<Arc<dyn Network>>),
        base: &Arc<dyn Clock>,
        ledger: &Ledger,
        setup: Setup,
        tune: impl FnOnce(leasehold_core::Builder) -> leasehold_core::Builder,
    ) -> Result<Self, leasehold_core::Error> {
        let name: Arc<str> = name.into();
        let gate = Gate::open();
        let clock = CandidateClock::new(base.clone(), gate.clone(), setup.rate);
        let (node, base, ledger) = (name.clone(), base.clone(), ledger.clone());
        let history = ledger.history.clone();
        let link = Link::over_network(node, base, gate.clone(), ledger, network);
        let link = link.with_latency(setup.latency);
        let identity = setup.identity.unwrap_or_else(|| name.to_string());
        let builder = Elector::builder(link.over(store)).identity(identity).timing(setup.timing);
        let elector = tune(builder.clock(clock.clone())).build()?;
        Ok(Self { name, elector, link, gate, clock, history, dead: Arc::default() })
    }

    /// Its name in the history.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The product's own handle.
    #[must_use]
    pub fn elector(&self) -> &Elector {
        &self.elector
    }

    /// Its way to the store.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &CandidateClock {
        &self.clock
    }

    /// Contends until it leads.
    ///
    /// # Errors
    /// The elector ended.
    pub async fn campaign(&self) -> Result<Lead, Error> {
        let held = self.elector.campaign().await?;
        self.follow(held.term());
        Ok(Lead { held, name: self.name.clone(), history: self.history.clone() })
    }

    /// Contends in a task of its own.
    #[must_use]
    pub fn stand(&self) -> JoinHandle<Result<Lead, Error>> {
        let candidate = self.clone();
        tokio::task::spawn_local(async move { candidate.campaign().await })
    }

    /// Contends, works and contends again until it is shut down.
    pub fn run(&self) -> JoinHandle<Result<(), ErrorKind>> {
        self.run_until(Stop::AtOnce)
    }

    /// The same, with work that takes its time to stop.
    pub fn run_until(&self, stop: Stop) -> JoinHandle<Result<(), ErrorKind>> {
        let clock = self.clock.clone();
        self.run_with(async move |term| {
            term.stopped().await;
            match stop {
                Stop::AtOnce => {}
                Stop::After(drain) => clock.sleep_until(clock.now() + drain).await,
                Stop::Never => std::future::pending().await,
            }
        })
    }

    /// The same, with this work.
    pub fn run_with(
        &self,
        work: impl AsyncFn(Term) + 'static,
    ) -> JoinHandle<Result<(), ErrorKind>> {
        let candidate = self.clone();
        tokio::task::spawn_local(async move {
            let run = candidate.elector.run(async |term: Term| {
                candidate.follow(term.clone());
                let noted = Work::begin(&candidate, term.clone());
                work(term.clone()).await;
                drop(noted);
                // Its term is given back.
                if term.check().is_ok() {
                    candidate.history.note(&candidate.name, What::Resigned { token: term.token() });
                }
            });
            run.await.map_err(|error| error.kind())
        })
    }

    /// The token under which it believes now that it leads.
    #[must_use]
    pub fn leads(&self) -> Option<Token> {
        match self.elector.status().role {
            Role::Leader(token) | Role::Draining(token) => Some(token),
            _ => None,
        }
    }

    /// Stops its process, as SIGSTOP does.
    pub fn freeze(&self) {
        self.history.note(&self.name, What::Stopped(true));
        self.gate.set(false);
    }

    /// Lets its process go on.
    pub fn thaw(&self) {
        self.history.note(&self.name, What::Stopped(false));
        self.gate.set(true);
    }

    /// Ends its process, as SIGKILL does: nothing of it runs any more.
    pub fn kill(&self) {
        self.history.note(&self.name, What::Died);
        self.dead.store(true, Ordering::Relaxed);
        self.gate.set(false);
        // Its handles must not be dropped: a dead process sends no farewell.
        std::mem::forget(self.elector.clone());
    }

    /// Notes what becomes of a term.
    fn follow(&self, term: Term) {
        let (name, history, clock) = (self.name.clone(), self.history.clone(), self.clock.clone());
        let (token, dead) = (term.token(), self.dead.clone());
        let mut until = term.deadlines().until;
        history.note(&name, What::Up { token, until: clock.to_base(until) });
        tokio::task::spawn_local(async move {
            while let Some(deadlines) = term.extended(until).await {
                // What had reached a process when it was killed, it never knew.
                if dead.load(Ordering::Relaxed) {
                    return;
                }
                until = deadlines.until;
                history.note(&name, What::Extended { token, until: clock.to_base(until) });
            }
            let why: Loss = term.lost().await;
            history.note(&name, What::Down { token, why: format!("{why:?}") });
        });
    }
}

impl Lead {
    /// Its token.
    #[must_use]
    pub fn token(&self) -> Token {
        self.held.token()
    }

    /// The product's view of the term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.held.term()
    }

    /// Asks `check()`, and notes the answer.
    #[must_use]
    pub fn check(&self) -> bool {
        let leads = self.held.check().is_ok();
        self.history.note(&self.name, What::Checked { token: self.token(), leads });
        leads
    }

    /// Gives it back; whether that was confirmed.
    ///
    /// # Errors
    /// The elector is gone.
    pub async fn resign(self) -> Result<bool, Error> {
        self.history.note(&self.name, What::Resigned { token: self.token() });
        self.held.resign().await
    }

    /// Resolves with the reason once the term is over.
    pub async fn lost(&self) -> Loss {
        self.held.lost().await
    }
}

/// The work of a term; noted as stopped when it is dropped.
struct Work {
    name: Arc<str>,
    history: History,
    clock: CandidateClock,
    term: Term,
}

impl Work {
    fn begin(candidate: &Candidate, term: Term) -> Self {
        let token = term.token();
        candidate.history.note(&candidate.name, What::WorkStarted { token });
        let (name, history) = (candidate.name.clone(), candidate.history.clone());
        Self { name, history, clock: candidate.clock.clone(), term }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let dead_by: Time = self.clock.to_base(self.term.deadlines().dead_by);
        let token = self.term.token();
        self.history.note(&self.name, What::WorkStopped { token, dead_by });
    }
}
