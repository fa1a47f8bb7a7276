//! Where one case runs: its lock, its candidates, its time.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use leasehold::testing::VirtualClock;
use leasehold::{
    BootClock, Clock, Intent, Leader, LockBackend, Observer, Record, Time, Timing, TimingSettings,
};

use crate::candidate::{Candidate, Lead, Setup};
use crate::clock::Gate;
use crate::history::{Event, History, What};
use crate::judge::{Property, Span};
use crate::link::{Ledger, Link};
use crate::mortal::Mortal;
use crate::process::Process;
use crate::target::Target;
use crate::verdict::Problem;

/// The lease duration of the fast cases.
pub const LEASE: Duration = Duration::from_secs(3);

/// What a slow host may add to any bound, where time is real.
const SLACK: Duration = Duration::from_millis(600);

/// How often a case looks whether what it waits for has happened.
const LOOK: Duration = Duration::from_millis(10);

/// Where one case runs.
#[derive(Debug)]
pub struct World {
    target: Arc<dyn Target>,
    lock: String,
    clock: Arc<dyn Clock>,
    /// The clock again, where time is simulated.
    simulated: Option<VirtualClock>,
    ledger: Ledger,
    seed: u64,
    exempt: RefCell<Vec<Property>>,
    draws: Cell<u64>,
}

impl World {
    pub(crate) fn new(
        target: Arc<dyn Target>,
        lock: String,
        simulated: Option<VirtualClock>,
        seed: u64,
    ) -> Self {
        let clock: Arc<dyn Clock> = match &simulated {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(BootClock::new()),
        };
        let ledger = Ledger::new(History::new(clock.clone()));
        let (exempt, draws) = (RefCell::default(), Cell::new(0));
        Self { target, lock, clock, simulated, ledger, seed, exempt, draws }
    }

    /// The store under test.
    #[must_use]
    pub fn target(&self) -> &dyn Target {
        self.target.as_ref()
    }

    /// The same, for a thread of its own.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Target> {
        self.target.clone()
    }

    /// The name of the case's lock.
    #[must_use]
    pub fn lock(&self) -> &str {
        &self.lock
    }

    /// What happened so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.ledger.history
    }

    /// The clock that stamps every event.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The timing of candidates that choose none.
    #[must_use]
    pub fn timing(&self) -> Timing {
        settings().build().expect("a lease of three seconds is valid alone")
    }

    /// A candidate for the case's lock.
    ///
    /// # Errors
    /// The store or the timing is refused.
    pub async fn candidate(&self, name: &str) -> Result<Candidate, Problem> {
        self.candidate_with(name, setup()).await
    }

    /// A candidate for the case's lock that differs from the others.
    ///
    /// # Errors
    /// The store or the timing is refused.
    pub async fn candidate_with(&self, name: &str, setup: Setup) -> Result<Candidate, Problem> {
        self.candidate_for(&self.lock, name, setup).await
    }

    /// A candidate for another lock.
    ///
    /// # Errors
    /// The store or the timing is refused.
    pub async fn candidate_for(
        &self,
        lock: &str,
        name: &str,
        setup: Setup,
    ) -> Result<Candidate, Problem> {
        Ok(self.build(lock, name, setup).await?)
    }

    /// The same, for a case about what is refused.
    ///
    /// # Errors
    /// The store or the timing is refused.
    pub async fn build(
        &self,
        lock: &str,
        name: &str,
        setup: Setup,
    ) -> Result<Candidate, leasehold::Error> {
        let store = self.target.open(lock, &self.clock).await?;
        let tune = |builder| self.target.tune(builder);
        Candidate::new(name, store, &self.clock, &self.ledger, setup, tune)
    }

    /// A candidate that contends at once and can be killed and stopped: a process where the store can be reached
    /// from one, and else in this one.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn mortal(&self, name: &str, identity: &str) -> Result<Mortal, Problem> {
        let url = self.target.url(&self.lock).filter(|_| !self.target.virtual_time());
        match url {
            Some(url) => {
                Process::start(name, identity, &url, LEASE, self.history()).map(Mortal::Process)
            }
            None => {
                let identity = Some(identity.to_owned());
                let candidate = self.candidate_with(name, Setup { identity, ..setup() }).await?;
                candidate.run();
                Ok(Mortal::Here(candidate))
            }
        }
    }

    /// Who believes now, by the history.
    #[must_use]
    pub fn leader(&self) -> Option<Span> {
        self.history().leader(self.now())
    }

    /// The moment of the latest event of that kind.
    #[must_use]
    pub fn last(&self, is: impl Fn(&Event) -> bool) -> Option<Time> {
        self.history().last(is).map(|event| event.at)
    }

    /// From here on somebody else does something that may end a term.
    pub fn disturb(&self, what: &str) {
        let (id, what) = (self.ledger.number(), what.to_owned());
        self.history().note(&"outside".into(), What::Fault { id, what, on: true });
    }

    /// Waits until this node leads.
    ///
    /// # Errors
    /// It does not within this bound and what the host may add.
    pub async fn until_leads(&self, node: &str, limit: Duration) -> Result<Span, Problem> {
        let what = format!("{node} leads");
        let mut found = None;
        let leads = || {
            found = self.leader().filter(|span| &*span.node == node);
            found.is_some()
        };
        self.until(&what, limit, leads).await?;
        found.ok_or(Problem::Late(what))
    }

    /// Waits until some node leads whose name begins so.
    ///
    /// # Errors
    /// None does within this bound and what the host may add.
    pub async fn until_some_leads(&self, prefix: &str, limit: Duration) -> Result<Span, Problem> {
        let what = format!("one of {prefix}… leads");
        let mut found = None;
        let leads = || {
            found = self.leader().filter(|span| span.node.starts_with(prefix));
            found.is_some()
        };
        self.until(&what, limit, leads).await?;
        found.ok_or(Problem::Late(what))
    }

    /// Several candidates, named `prefix1` and so on.
    ///
    /// # Errors
    /// The store or the timing is refused.
    pub async fn candidates(&self, prefix: &str, count: usize) -> Result<Vec<Candidate>, Problem> {
        let mut candidates = Vec::new();
        for number in 1..=count {
            candidates.push(self.candidate(&format!("{prefix}{number}")).await?);
        }
        Ok(candidates)
    }

    /// The store itself, without candidate.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn store(&self) -> Result<Arc<dyn LockBackend>, Problem> {
        Ok(self.target.open(&self.lock, &self.clock).await?)
    }

    /// The store over a link of its own, whose requests are noted under that name.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn linked(&self, name: &str) -> Result<(Link, Arc<dyn LockBackend>), Problem> {
        let link = Link::new(name.into(), self.clock.clone(), Gate::open(), self.ledger.clone());
        let store = link.over(self.store().await?);
        Ok((link, store))
    }

    /// Somebody who looks on, over a link of its own; what it is told is noted under that name.
    ///
    /// # Errors
    /// It cannot be built.
    pub async fn observer(&self, name: &str) -> Result<(Link, Observer), Problem> {
        let (link, store) = self.linked(name).await?;
        let clock = crate::clock::CandidateClock::new(self.clock.clone(), Gate::open(), 1_000_000);
        let observer = Observer::with_clock(store, clock)?;
        let changes = observer.changes();
        let (history, name): (History, Arc<str>) = (self.history().clone(), name.into());
        tokio::task::spawn_local(async move {
            let mut changes = std::pin::pin!(changes);
            while let Some(status) = futures_util::StreamExt::next(&mut changes).await {
                match status.leader {
                    Leader::Unknown => {}
                    Leader::Nobody => history.note(&name, What::Told { leader: None }),
                    Leader::Held(leading) => {
                        let leader = Some((leading.identity, leading.token));
                        history.note(&name, What::Told { leader });
                    }
                }
            }
        });
        Ok((link, observer))
    }

    /// Lets time pass.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep_until(self.clock.now() + duration).await;
    }

    /// Lets time pass until that moment.
    pub async fn sleep_until(&self, at: Time) {
        self.clock.sleep_until(at).await;
    }

    /// Lets time pass while nothing of this thread runs, as a busy work that never yields does.
    pub fn block(&self, duration: Duration) {
        self.disturb("the runtime's thread is blocked");
        match &self.simulated {
            Some(clock) => clock.suspend(duration),
            None => std::thread::sleep(duration),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// What the future gives, if it does within this bound and what the host may add.
    ///
    /// # Errors
    /// It does not.
    pub async fn within<T>(
        &self,
        what: &str,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        tokio::select! {
            biased;
            value = future => Ok(value),
            () = self.sleep(limit + self.slack()) => Err(late(what, limit)),
        }
    }

    /// Waits until the condition holds, within this bound and what the host may add.
    ///
    /// # Errors
    /// It does not.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut holds: impl FnMut() -> bool,
    ) -> Result<(), Problem> {
        let end = self.now() + limit + self.slack();
        while !holds() {
            if self.now() > end {
                return Err(late(what, limit));
            }
            self.sleep(LOOK).await;
        }
        Ok(())
    }

    /// A term of this candidate on a free lock.
    ///
    /// # Errors
    /// It does not get one at once.
    pub async fn led(&self, candidate: &Candidate) -> Result<Lead, Problem> {
        let what = format!("{} leads", candidate.name());
        self.within(&what, Duration::from_secs(1), candidate.campaign()).await?
    }

    /// The longest time from a crash until another leads, beside what the host may add.
    #[must_use]
    pub fn failover(&self) -> Duration {
        let step = Duration::from_millis(500);
        let granularity = if self.target.by_server() { step } else { Duration::ZERO };
        self.timing().bounds().crash + granularity
    }

    /// What a slow host may add to a bound.
    #[must_use]
    pub fn slack(&self) -> Duration {
        if self.target.virtual_time() { 2 * LOOK } else { SLACK }
    }

    /// Many where time is virtual, few where it is real.
    #[must_use]
    pub fn rounds(&self, many: usize, few: usize) -> usize {
        if self.target.virtual_time() { many } else { few }
    }

    /// What the case is about must have happened.
    ///
    /// # Errors
    /// It did not: the case says nothing.
    pub fn happened(&self, what: &str, count: usize) -> Result<(), Problem> {
        if count > 0 { Ok(()) } else { Err(Problem::Vacuous(format!("there was no {what}"))) }
    }

    /// How many events are of that kind.
    #[must_use]
    pub fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.history().count(is)
    }

    /// How many writes of that kind the store applied for this node.
    #[must_use]
    pub fn applied(&self, node: &str, wanted: Intent) -> usize {
        self.count(|event| {
            matches!(event.what, What::Applied { intent, .. } if intent == wanted)
                && &*event.node == node
        })
    }

    /// How many requests this node sent.
    #[must_use]
    pub fn sent(&self, node: &str) -> usize {
        self.count(|event| matches!(event.what, What::Sent { .. }) && &*event.node == node)
    }

    /// The case shows this to be violated: the judge lets it pass.
    pub fn exempt(&self, property: Property) {
        self.exempt.borrow_mut().push(property);
    }

    pub(crate) fn exempted(&self) -> Vec<Property> {
        self.exempt.borrow().clone()
    }

    /// A number below `bound`, the same for the same seed at the same place of the case.
    #[must_use]
    pub fn draw(&self, bound: u64) -> u64 {
        let count = self.draws.get();
        self.draws.set(count + 1);
        mix(self.seed ^ mix(count)) % bound.max(1)
    }

    /// Reads the present record.
    ///
    /// # Errors
    /// The store fails.
    pub async fn record(&self) -> Result<Option<Record>, Problem> {
        Ok(self.store().await?.read().await?.record().cloned())
    }
}

/// Splits a seed into numbers that look random (`SplitMix64`).
fn mix(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn late(what: &str, limit: Duration) -> Problem {
    Problem::Late(format!("not within {limit:?}: {what}"))
}

/// The timing of the fast cases.
#[must_use]
pub fn settings() -> TimingSettings {
    TimingSettings::lease_duration(LEASE)
}

/// A candidate like the others.
#[must_use]
pub fn setup() -> Setup {
    Setup { identity: None, timing: settings(), rate: 1_000_000 }
}
