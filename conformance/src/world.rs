//! Where one case runs: its lock, its candidates, its time.

mod bounds;
mod parts;
mod ready;
mod waiting;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use leasehold::backend::{Capabilities, Intent, LockBackend, Record};
use leasehold::status::Leader;
use leasehold::testing::VirtualClock;
use leasehold::timing::{BootClock, Clock, Time, Timing};
use leasehold::{Observer, TimingSettings};

use crate::candidate::{Candidate, Setup};
use crate::clock::Gate;
use crate::history::{Event, History, What};
use crate::judge::{Exemption, Property, Span};
use crate::link::{Latency, Ledger, Link, Network};
use crate::mortal::Mortal;
use crate::process::Process;
use crate::stores::Target;
use crate::verdict::Problem;
pub use bounds::AT_ONCE;
use ready::Ready;

/// A lock that no case uses, to ask for the store's capabilities.
const PROBE: &str = "capabilities";

/// The lease duration of the fast cases.
pub const LEASE: Duration = Duration::from_secs(3);

/// Where one case runs.
#[derive(Debug)]
pub struct World {
    target: Arc<dyn Target>,
    capabilities: Capabilities,
    lock: String,
    clock: Arc<dyn Clock>,
    /// The clock again, where time is simulated.
    simulated: Option<VirtualClock>,
    ledger: Ledger,
    seed: u64,
    /// The slow tier is run too.
    slow: bool,
    exempt: RefCell<Vec<Exemption>>,
    notes: RefCell<Vec<String>>,
    networked: Cell<bool>,
    /// The longest request timeout of any candidate.
    timeout: Cell<Duration>,
    draws: Cell<u64>,
    ready: Ready,
}

impl World {
    /// # Errors
    /// A lock cannot be opened.
    pub(crate) async fn new(
        target: Arc<dyn Target>,
        lock: String,
        simulated: Option<VirtualClock>,
        seed: u64,
        slow: bool,
    ) -> Result<Self, leasehold::Error> {
        let clock: Arc<dyn Clock> = match &simulated {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(BootClock::new()),
        };
        let capabilities = target.open(PROBE, &clock).await?.capabilities();
        let ledger = Ledger::new(History::new(clock.clone()));
        let (exempt, notes) = (RefCell::default(), RefCell::default());
        let (networked, draws) = (Cell::new(false), Cell::new(0));
        let timeout = settings().build().expect("as in timing()").request_timeout();
        let timeout = Cell::new(timeout);
        Ok(Self {
            target,
            capabilities,
            lock,
            clock,
            simulated,
            ledger,
            seed,
            slow,
            exempt,
            notes,
            networked,
            timeout,
            draws,
            ready: Ready::default(),
        })
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
        self.make_ready(lock).await;
        let (store, network) = self.open_apart(lock).await?;
        self.candidate_over(store, network, name, setup)
    }

    /// From here on every candidate gets a network of its own, where the target has one: the case
    /// is about networks.
    pub fn over_network(&self) {
        self.networked.set(true);
    }

    /// A candidate for a lock of this URL.
    ///
    /// # Errors
    /// The URL, the store or the timing is refused.
    pub async fn candidate_at(
        &self,
        url: &str,
        name: &str,
        setup: Setup,
    ) -> Result<Candidate, Problem> {
        Ok(self.candidate_over(leasehold::connect(url).await?, None, name, setup)?)
    }

    /// A candidate over a store that is open already.
    ///
    /// # Errors
    /// The timing is refused.
    pub fn candidate_of(
        &self,
        store: Arc<dyn LockBackend>,
        name: &str,
        setup: Setup,
    ) -> Result<Candidate, Problem> {
        Ok(self.candidate_over(store, None, name, setup)?)
    }

    fn candidate_over(
        &self,
        store: Arc<dyn LockBackend>,
        network: Option<Network>,
        name: &str,
        setup: Setup,
    ) -> Result<Candidate, leasehold::Error> {
        let tune = |builder| self.target.tune(builder);
        let network = network.map(|network| Arc::new(network) as Arc<_>);
        let parts = (store, network);
        let candidate = Candidate::new(name, parts, &self.clock, &self.ledger, setup, tune)?;
        let timeout = candidate.elector().timing().request_timeout();
        self.timeout.set(self.timeout.get().max(timeout));
        Ok(candidate)
    }

    /// Adds a line to what the report says of this case.
    pub fn say(&self, text: impl Into<String>) {
        self.notes.borrow_mut().push(text.into());
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    /// A candidate that contends at once and can be killed and stopped: a process where the store
    /// can be reached from one, and else in this one.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn mortal(&self, name: &str, identity: &str) -> Result<Mortal, Problem> {
        let url = self.target.url(&self.lock).filter(|_| !self.target.virtual_time());
        self.make_ready(&self.lock).await;
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
        self.disturb_at("outside", what);
    }

    /// The same, for the nodes named `lock/…`.
    pub fn disturb_lock(&self, lock: &str, what: &str) {
        self.disturb_at(&format!("{lock}/outside"), what);
    }

    fn disturb_at(&self, node: &str, what: &str) {
        let (id, what) = (self.ledger.number(), what.to_owned());
        self.history().note(&node.into(), What::Fault { id, what, on: true });
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
        self.observer_of(name, self.store().await?)
    }

    /// The same, of this store.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn observer_of(
        &self,
        name: &str,
        store: Arc<dyn LockBackend>,
    ) -> Result<(Link, Observer), Problem> {
        let link = Link::new(name.into(), self.clock.clone(), Gate::open(), self.ledger.clone());
        let store = link.over(store);
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

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Many where time is virtual, few where it is real.
    #[must_use]
    pub fn rounds(&self, many: usize, few: usize) -> usize {
        if self.target.virtual_time() { many } else { few }
    }

    /// Many where the slow tier is run, few where this case was only named.
    #[must_use]
    pub fn turns(&self, many: usize, few: usize) -> usize {
        if self.slow { many } else { few }
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
        self.exempt.borrow_mut().push(Exemption { property, lock: None, at_most: None });
    }

    /// The same, for the nodes named `lock/…` only, and for no longer than this at a time.
    pub fn exempt_on(&self, lock: &'static str, property: Property, at_most: Duration) {
        let (lock, at_most) = (Some(lock), Some(at_most));
        self.exempt.borrow_mut().push(Exemption { property, lock, at_most });
    }

    /// The longest that any candidate lets a request take.
    pub(crate) fn longest_timeout(&self) -> Duration {
        self.timeout.get()
    }

    pub(crate) fn exempted(&self) -> Vec<Exemption> {
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

/// The timing of the fast cases.
#[must_use]
pub fn settings() -> TimingSettings {
    TimingSettings::lease_duration(LEASE)
}

/// A candidate like the others.
#[must_use]
pub fn setup() -> Setup {
    Setup { identity: None, timing: settings(), rate: 1_000_000, latency: Latency::default() }
}
