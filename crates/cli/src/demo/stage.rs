//! Three candidates, their ways to the store, and two resources that whoever leads writes to.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leasehold::backend::{Contents, LockBackend};
use leasehold::status::printable;
use leasehold::status::{Leader, Status};
use leasehold::timing::{Clock, Timing};
use leasehold::{Builder, Error, ErrorKind, Fence, Term, TimingSettings};
use leasehold_testing::candidate::{Candidate, Setup};
use leasehold_testing::history::{History, What};
use leasehold_testing::judge::{Rules, Violation, judge};
use leasehold_testing::link::{Guard, Latency, Ledger};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How long a write to a resource is on its way, and how long its sender pauses then.
const WRITE: Duration = Duration::from_millis(200);

/// What real stamps are worth.
const MARGINAL: Duration = Duration::from_millis(2);

/// What a busy host adds to a request.
const SLACK: Duration = Duration::from_secs(2);

/// The candidates.
pub(super) const NAMES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The resource that takes all it is given, and the one that compares tokens.
pub(super) const UNFENCED: &str = "unfenced";
pub(super) const FENCED: &str = "fenced";

/// What can be done to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Its process ends without a farewell.
    Kill,
    /// Its process stands still, or goes on.
    Freeze,
    /// It is cut off from the store, or no longer.
    Cut,
    /// It is asked to give the lock back.
    Resign,
    /// A new process takes the place of a dead one.
    Revive,
}

/// What a candidate's process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    Frozen,
    CutOff,
    Dead,
}

/// How a candidate gets its store, and how it is built.
pub(super) struct Cast<'a> {
    pub(super) open: Box<dyn Fn() -> Result<Arc<dyn LockBackend>, Error> + 'a>,
    pub(super) settings: TimingSettings,
    /// How far away the store is, for each.
    pub(super) latency: Box<dyn Fn(usize) -> Latency + 'a>,
    pub(super) tune: Box<dyn Fn(Builder) -> Builder + 'a>,
    /// Whether a candidate's tasks are its own, so that all of it is gone when it is killed. In
    /// virtual time they share one thread.
    pub(super) apart: bool,
}

pub(super) struct Stage<'a> {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timing: Timing,
    cast: Cast<'a>,
    ledger: Ledger,
    nodes: Vec<Node>,
    resources: Rc<Resources>,
}

/// A story in which nobody can lead says nothing.
pub(super) async fn readable(lock: &dyn LockBackend) -> Result<(), Error> {
    match lock.read().await?.contents {
        Contents::Unreadable(what) => {
            let why = format!("what is stored is unreadable: {}", printable(&what).at_most(1_000));
            Err(Error::new(ErrorKind::Corrupt, "read the lock", why))
        }
        Contents::Absent | Contents::Record(_) => Ok(()),
    }
}

/// Whether waiting cannot help.
fn is_final(error: &Error) -> bool {
    use ErrorKind::{Corrupt, Denied, Invalid, Replaced, Rewound};
    matches!(error.kind(), Corrupt | Denied | Invalid | Replaced | Rewound)
}

struct Node {
    name: &'static str,
    candidate: Candidate,
    /// Its tasks, if they are its own.
    own: Option<Own>,
    health: Health,
    cut: Option<Guard>,
    /// A write of it is on its way.
    writes: Rc<Cell<bool>>,
}

/// What was written.
struct Resources {
    history: History,
    fence: RefCell<Fence>,
}

impl<'a> Stage<'a> {
    /// Everybody contends.
    pub(super) fn open(clock: Arc<dyn Clock>, cast: Cast<'a>) -> Result<Self, Error> {
        let ledger = Ledger::new(History::new(clock.clone()));
        let fence = RefCell::new(Fence::new(0));
        let resources = Rc::new(Resources { history: ledger.history.clone(), fence });
        let timing = Timing::default();
        let mut stage = Self { clock, timing, cast, ledger, nodes: Vec::new(), resources };
        for (at, name) in NAMES.iter().enumerate() {
            let node = stage.node(at, name)?;
            stage.nodes.push(node);
        }
        stage.timing = stage.nodes[0].candidate.elector().timing();
        Ok(stage)
    }

    fn node(&self, at: usize, name: &'static str) -> Result<Node, Error> {
        let failed = |error| Error::new(ErrorKind::Unavailable, "start a thread", error);
        let own = self.cast.apart.then(Own::start).transpose().map_err(failed)?;
        let entered = own.as_ref().map(|own| own.handle.enter());
        let setup = Setup {
            identity: None,
            timing: self.cast.settings,
            rate: 1_000_000,
            latency: (self.cast.latency)(at),
        };
        let store = ((self.cast.open)()?, None);
        let tune = |builder| (self.cast.tune)(builder);
        let candidate = Candidate::new(name, store, &self.clock, &self.ledger, setup, tune)?;
        drop(entered);
        let writes = Rc::new(Cell::new(false));
        let node = Node { name, candidate, own, health: Health::Well, cut: None, writes };
        node.contend(self.resources.clone());
        Ok(node)
    }

    pub(super) fn history(&self) -> &History {
        &self.ledger.history
    }

    pub(super) fn health(&self, at: usize) -> Health {
        self.nodes[at].health
    }

    /// What this candidate knows and believes; `None` if it is not there.
    pub(super) fn status(&self, at: usize) -> Option<Status> {
        let node = &self.nodes[at];
        (node.health != Health::Dead).then(|| node.candidate.elector().status())
    }

    /// Why the store refuses what this candidate asks.
    pub(super) fn refusal(&self, at: usize) -> Option<Error> {
        self.status(at)?.store_error.filter(is_final)
    }

    /// Why nobody will ever lead: the store refuses what they ask, and none of them led or knows a
    /// leader.
    pub(super) fn hopeless(&self) -> Option<Error> {
        let alive: Vec<Status> = (0..NAMES.len()).filter_map(|at| self.status(at)).collect();
        let is_led =
            |status: &Status| status.counters.terms > 0 || matches!(status.leader, Leader::Held(_));
        if alive.iter().any(is_led) {
            return None;
        }
        // They differ in nothing that a store could refuse one for.
        alive.into_iter().find_map(|status| status.store_error.filter(is_final))
    }

    /// Who believes that it leads.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |node: &Node| node.health != Health::Dead && node.candidate.leads().is_some();
        self.nodes.iter().position(leads)
    }

    /// Whether a write of it is on its way, so that a freeze would strike between its check and its
    /// effect.
    pub(super) fn writes(&self, at: usize) -> bool {
        self.nodes[at].writes.get()
    }

    /// Does it. Whether it made sense.
    pub(super) fn act(&mut self, at: usize, act: Act) -> Result<bool, Error> {
        let node = &mut self.nodes[at];
        match (act, node.health) {
            (Act::Revive, Health::Dead) => {
                let name = node.name;
                self.nodes[at] = self.node(at, name)?;
                return Ok(true);
            }
            (Act::Revive, _) | (_, Health::Dead) => return Ok(false),
            (Act::Kill, _) => node.kill(),
            (Act::Freeze, Health::Frozen) => {
                node.candidate.thaw();
                node.health = if node.cut.is_some() { Health::CutOff } else { Health::Well };
            }
            (Act::Freeze, _) => {
                node.candidate.freeze();
                node.health = Health::Frozen;
            }
            (Act::Cut, _) => {
                let cut = node.cut.take().is_none().then(|| node.candidate.link().cut());
                let now = if cut.is_some() { Health::CutOff } else { Health::Well };
                node.cut = cut;
                if node.health != Health::Frozen {
                    node.health = now;
                }
            }
            (Act::Resign, _) if node.candidate.leads().is_none() => return Ok(false),
            (Act::Resign, _) => node.candidate.elector().step_down(),
        }
        Ok(true)
    }

    /// Everybody is asked to go.
    pub(super) fn close(&self) {
        for node in &self.nodes {
            if node.health != Health::Dead {
                node.candidate.elector().shutdown();
            }
        }
    }

    /// What of all that happened must not have. Where time is real, stamps are a little late and
    /// requests much.
    pub(super) fn violations(&self, real: bool) -> Vec<Violation> {
        let (marginal, slack) = if real { (MARGINAL, SLACK) } else { Default::default() };
        let request_limit = 3 * self.timing.request_timeout() + slack;
        let rules = Rules { marginal, request_limit, exempt: Vec::new() };
        judge(&self.history().events(), &rules)
    }
}

/// A thread for the tasks of one candidate; they end with this value.
struct Own {
    handle: Handle,
    /// Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Own {
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().spawn(move || {
            // It is never sent, only dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _stop: stop })
    }
}

impl Node {
    fn contend(&self, resources: Rc<Resources>) {
        let (candidate, writes) = (self.candidate.clone(), self.writes.clone());
        // It ends with its candidate.
        drop(self.candidate.run_with(async move |term| {
            work(&candidate, &term, &resources, &writes).await;
        }));
    }

    fn kill(&mut self) {
        self.candidate.kill();
        self.cut = None;
        self.health = Health::Dead;
        // Nothing of it is left, and its store learns that as from a process.
        self.own = None;
    }
}

/// Writes to both resources again and again. Its check is right, and its write is on its way when
/// its process stops: no program can help that, only the resource can.
async fn work(
    candidate: &Candidate,
    term: &Term,
    resources: &Rc<Resources>,
    writes: &Rc<Cell<bool>>,
) {
    let clock = candidate.clock().clone();
    while let Ok(token) = term.check() {
        let arrival = clock.sleep_until(clock.now() + WRITE);
        let (resources, on_its_way) = (resources.clone(), writes.clone());
        on_its_way.set(true);
        let write = tokio::task::spawn_local(async move {
            arrival.await;
            on_its_way.set(false);
            resources.write(token);
        });
        // It is part of the work until it arrived, unless the work is cut short.
        let _ = write.await;
        tokio::select! {
            biased;
            _ = term.stopped() => return,
            () = clock.sleep_until(clock.now() + WRITE) => {}
        }
    }
}

impl Resources {
    fn write(&self, token: u64) {
        let accepted = self.fence.borrow_mut().admit(token).is_ok();
        let effect = |fenced, accepted| What::Effect { token, fenced, accepted };
        self.history.note(&UNFENCED.into(), effect(false, true));
        self.history.note(&FENCED.into(), effect(true, accepted));
    }
}
