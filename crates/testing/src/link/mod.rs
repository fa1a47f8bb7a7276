//! The way between one candidate and its store, where requests and answers can be lost, late,
//! doubled and held.

#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_core::{Clock, Error, ErrorKind, Intent, LockBackend, Observed, Version};
use tokio::sync::watch;

use crate::clock::Gate;
use crate::history::{History, Stamp, What};

pub use wire::Linked;

/// Which requests a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// Every one.
    All,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
    /// Writes for this.
    Only(Intent),
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives, and no answer comes.
    LoseRequest,
    /// It is carried out, and no answer comes.
    LoseAnswer,
    /// It fails at once, with this kind of error, and is not carried out.
    Refuse(ErrorKind),
    /// It takes so long on its way there.
    DelayRequest(Duration),
    /// Its answer takes so long.
    DelayAnswer(Duration),
    /// It is kept on its way there until the fault is lifted, and then carried out, whoever still
    /// waits.
    HoldRequest,
    /// It is carried out, and its answer kept until the fault is lifted.
    HoldAnswer,
    /// It arrives twice; the second answer is the one that comes back.
    Double,
    /// Of the watch: nothing comes any more, and the connection seems to stand.
    Deafen,
    /// Of the watch: every event comes, then the one before it, then it again.
    Replay,
    /// Of the watch: every event comes so late.
    DelayEvents(Duration),
}

/// What is wrong with the way to the store. It strikes on the network where the way has one, and in
/// this process where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Nothing passes, in either direction.
    Cut,
    /// Requests are lost; what is on its way back arrives.
    RequestsLost,
    /// Requests are carried out, and nothing comes back.
    AnswersLost,
    /// Everything is kept, and arrives when the outage ends, whoever still waits.
    Held,
    /// Requests take so much longer.
    SlowRequests(Duration),
    /// Answers take so much longer.
    SlowAnswers(Duration),
    /// What stands seems to stand, and says nothing more: of a network the connections, else the
    /// watch.
    Silent,
    /// Nobody listens.
    Refused,
    /// The answer to the next write for this is lost.
    AnswerLost(Intent),
    /// A connection ends after so many bytes of answers; without a network answers are lost.
    AnswersCut(u64),
}

/// One candidate's way to its store. Clones are the same way.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    node: Arc<str>,
    clock: Arc<dyn Clock>,
    gate: Gate,
    ledger: Ledger,
    rules: Mutex<Vec<Rule>>,
    network: Option<Arc<dyn Network>>,
    latency: Latency,
}

/// How long things are on their way when nothing is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// A request.
    pub request: Duration,
    /// An answer.
    pub answer: Duration,
    /// An event of the watch.
    pub event: Duration,
}

struct Rule {
    id: u64,
    requests: Requests,
    fault: Fault,
    /// How many more it strikes; `None` is all.
    left: Option<u32>,
    lifted: watch::Sender<bool>,
}

/// A network that a way goes over, and that can fail by itself.
pub trait Network: fmt::Debug + Send + Sync {
    /// Puts the outage on until what is returned is dropped; `None` if a network knows no such
    /// thing.
    fn strike(&self, outage: Outage) -> Option<Box<dyn Send + Sync>>;

    /// How many bytes arrived that had been held.
    fn late(&self) -> u64;
}

/// What all links of a lock share: the history, and which record each version is.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What happens.
    pub history: History,
    stamps: Arc<Mutex<HashMap<Version, Stamp>>>,
    next: Arc<AtomicU64>,
}

/// A fault that is on. Dropping it lifts the fault.
#[must_use = "dropping it lifts the fault at once"]
pub struct Guard {
    link: Link,
    ids: Vec<u64>,
    /// Lifted with it.
    on_network: Option<Box<dyn Send + Sync>>,
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new(history: History) -> Self {
        Self { history, stamps: Arc::default(), next: Arc::default() }
    }

    /// A number that no request and no fault has yet.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn stamps(&self) -> MutexGuard<'_, HashMap<Version, Stamp>> {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, observed: &Observed) {
        if let Some(record) = observed.record() {
            let holder = record.holder.as_ref().and_then(|holder| holder.incarnation);
            let stamp = Stamp { holder, token: record.token };
            self.stamps().insert(observed.version.clone(), stamp);
        }
    }
}

impl Link {
    /// A way of this node, stamped by this clock, for as long as its gate is open.
    #[must_use]
    pub fn new(node: Arc<str>, clock: Arc<dyn Clock>, gate: Gate, ledger: Ledger) -> Self {
        Self::over_network(node, clock, gate, ledger, None)
    }

    /// A way of its own, whose history nobody keeps: for tests that only want its faults.
    #[must_use]
    pub fn alone(name: &str, clock: impl Clock) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let ledger = Ledger::new(History::new(clock.clone()));
        Self::new(name.into(), clock, Gate::open(), ledger)
    }

    /// The same, over a network that can fail by itself.
    #[must_use]
    pub fn over_network(
        node: Arc<str>,
        clock: Arc<dyn Clock>,
        gate: Gate,
        ledger: Ledger,
        network: Option<Arc<dyn Network>>,
    ) -> Self {
        let (rules, latency) = (Mutex::default(), Latency::default());
        Self(Arc::new(Inner { node, clock, gate, ledger, rules, network, latency }))
    }

    /// The same way, on which everything takes so long. To be told before anything uses it.
    #[must_use]
    pub fn with_latency(self, latency: Latency) -> Self {
        let Inner { node, clock, gate, ledger, network, .. } = &*self.0;
        Self(Arc::new(Inner {
            node: node.clone(),
            clock: clock.clone(),
            gate: gate.clone(),
            ledger: ledger.clone(),
            rules: Mutex::default(),
            network: network.clone(),
            latency,
        }))
    }

    async fn travel(&self, duration: Duration) {
        if !duration.is_zero() {
            self.0.clock.sleep_until(self.0.clock.now() + duration).await;
        }
    }

    /// The network that this way goes over, where it is one that can fail.
    #[must_use]
    pub fn network(&self) -> Option<&dyn Network> {
        self.0.network.as_deref()
    }

    /// Puts the outage on until the guard goes.
    pub fn strike(&self, outage: Outage) -> Guard {
        if let Some(on_network) = self.network().and_then(|network| network.strike(outage)) {
            let id = self.0.ledger.number();
            self.note(What::Fault { id, what: format!("{outage:?} (network)"), on: true });
            let on_network = Some(on_network);
            return Guard { link: self.clone(), ids: vec![id], on_network };
        }
        let all = |fault| (Requests::All, fault);
        match outage {
            Outage::Cut => self.cut(),
            Outage::RequestsLost => self.fault(Requests::All, Fault::LoseRequest),
            Outage::AnswersLost | Outage::AnswersCut(_) => {
                self.fault(Requests::Writes, Fault::LoseAnswer)
            }
            Outage::Held => {
                let held = (Requests::Writes, Fault::HoldRequest);
                self.faults(&[held, all(Fault::Deafen)], None)
            }
            Outage::SlowRequests(delay) => self.fault(Requests::All, Fault::DelayRequest(delay)),
            Outage::SlowAnswers(delay) => self.fault(Requests::All, Fault::DelayAnswer(delay)),
            Outage::Silent => self.fault(Requests::All, Fault::Deafen),
            Outage::Refused => self.fault(Requests::All, Fault::Refuse(ErrorKind::Unavailable)),
            Outage::AnswerLost(intent) => {
                self.fault_next(1, Requests::Only(intent), Fault::LoseAnswer)
            }
        }
    }

    /// The store, over this way.
    pub fn over(&self, store: Arc<dyn LockBackend>) -> Arc<dyn LockBackend> {
        Arc::new(Linked::new(store, self.clone()))
    }

    /// Puts a fault on these requests until the guard goes.
    pub fn fault(&self, requests: Requests, fault: Fault) -> Guard {
        self.faults(&[(requests, fault)], None)
    }

    /// Puts a fault on the next `times` of these requests.
    pub fn fault_next(&self, times: u32, requests: Requests, fault: Fault) -> Guard {
        self.faults(&[(requests, fault)], Some(times))
    }

    /// Cuts the way in both directions.
    pub fn cut(&self) -> Guard {
        let silent = [(Requests::All, Fault::LoseRequest), (Requests::All, Fault::LoseAnswer)];
        self.faults(&[silent[0], silent[1], (Requests::All, Fault::Deafen)], None)
    }

    fn faults(&self, faults: &[(Requests, Fault)], left: Option<u32>) -> Guard {
        let mut ids = Vec::new();
        for &(requests, fault) in faults {
            let id = self.0.ledger.number();
            self.note(What::Fault { id, what: format!("{fault:?} ({requests:?})"), on: true });
            let lifted = watch::Sender::new(false);
            self.rules().push(Rule { id, requests, fault, left, lifted });
            ids.push(id);
        }
        Guard { link: self.clone(), ids, on_network: None }
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: What) {
        self.0.ledger.history.note(&self.0.node, what);
    }

    /// What strikes this request.
    fn strikes(&self, intent: Option<Intent>) -> Strikes {
        let mut strikes = Vec::new();
        for rule in self.rules().iter_mut() {
            if rule.requests.include(intent) && rule.left != Some(0) {
                rule.left = rule.left.map(|left| left - 1);
                strikes.push((rule.fault, rule.lifted.subscribe()));
            }
        }
        Strikes { faults: strikes, clock: self.0.clock.clone() }
    }

    fn is_on(&self, is: impl Fn(Fault) -> bool) -> Option<Fault> {
        self.rules().iter().map(|rule| rule.fault).find(|fault| is(*fault))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.0.node).finish()
    }
}

impl Guard {
    /// Lifts the fault now.
    pub fn lift(self) {
        drop(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let link = &self.link;
        if self.on_network.take().is_some() {
            for &id in &self.ids {
                link.note(What::Fault { id, what: "network".to_owned(), on: false });
            }
        }
        let gone: Vec<Rule> = {
            let mut rules = link.rules();
            let (gone, kept) = rules.drain(..).partition(|rule| self.ids.contains(&rule.id));
            *rules = kept;
            gone
        };
        for rule in gone {
            rule.lifted.send_replace(true);
            link.note(What::Fault { id: rule.id, what: format!("{:?}", rule.fault), on: false });
        }
    }
}

impl Requests {
    fn include(self, intent: Option<Intent>) -> bool {
        match self {
            Self::All => true,
            Self::Reads => intent.is_none(),
            Self::Writes => intent.is_some(),
            Self::Only(only) => intent == Some(only),
        }
    }
}

/// What strikes one request.
struct Strikes {
    faults: Vec<(Fault, watch::Receiver<bool>)>,
    clock: Arc<dyn Clock>,
}

impl Strikes {
    fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(known, _)| *known == fault)
    }

    fn is_none(&self) -> bool {
        self.faults.is_empty()
    }

    /// The way there.
    ///
    /// # Errors
    /// The request is refused.
    async fn there(&mut self) -> Result<(), Error> {
        for (fault, lifted) in &mut self.faults {
            match fault {
                Fault::Refuse(kind) => {
                    let why = "it was told to refuse";
                    return Err(Error::new(*kind, "reach the store", why));
                }
                Fault::DelayRequest(delay) => {
                    self.clock.sleep_until(self.clock.now() + *delay).await
                }
                // Its guard is gone: it is lifted.
                Fault::HoldRequest => drop(lifted.wait_for(|lifted| *lifted).await),
                _ => {}
            }
        }
        Ok(())
    }

    /// The way back.
    async fn back(&mut self) {
        for (fault, lifted) in &mut self.faults {
            match fault {
                Fault::DelayAnswer(delay) => {
                    self.clock.sleep_until(self.clock.now() + *delay).await
                }
                Fault::HoldAnswer => drop(lifted.wait_for(|lifted| *lifted).await),
                _ => {}
            }
        }
    }
}
