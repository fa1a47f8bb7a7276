//! The elector: the handle an application holds.

#![expect(clippy::disallowed_methods, reason = "the driver is started here")]

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_core::Stream;
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

use crate::backend::LockBackend;
use crate::clock::{BootClock, Clock};
use crate::driver::{Command, Driver, State, random};
use crate::election::{Candidate, Election, Loss};
use crate::error::{Error, ErrorKind};
use crate::record::{Holder, Incarnation};
use crate::status::{Counters, Status};
use crate::term::{Held, StopReason, Term};
use crate::text::printable;
use crate::timing::{Timing, TimingSettings};

/// The longest identity or advertised address, in bytes.
const MAX_NAME: usize = 253;

/// One candidate for one lock. Clones are handles to the same candidate; the last one dropped ends it.
#[derive(Clone)]
pub struct Elector {
    shared: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    identity: String,
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
    timing: Timing,
    clock: Arc<dyn Clock>,
    drain_timeout: Duration,
    loss_grace: Duration,
    /// Tells a candidate that was asked to end from one whose driver died.
    shut_down: AtomicBool,
}

/// Sets up an [`Elector`].
#[must_use = "call build()"]
#[derive(Debug)]
pub struct Builder {
    lock: Arc<dyn LockBackend>,
    identity: Option<String>,
    advertise: Option<String>,
    timing: TimingSettings,
    clock: Option<Arc<dyn Clock>>,
    drain_timeout: Duration,
    loss_grace: Duration,
    hand_over_jitter: Duration,
    heartbeat: Option<Duration>,
    incarnation: Option<Incarnation>,
    #[cfg(feature = "mutants")]
    mutant: Option<crate::election::Mutant>,
}

/// How [`Elector::run_once`] ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Finished<R> {
    /// The job returned while it led.
    Done(R),
    /// The term was lost first. The job's value, if it returned within its grace.
    Lost(Loss, Option<R>),
    /// A stop was asked for, and came before leadership or the job did not return within the drain timeout.
    Aborted,
}

impl Builder {
    /// The name of this candidate. Default: host name and process id, in a pod its name. Two candidates may share one; only one
    /// of them leads.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Where others reach this candidate when it leads; stored in the record.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// The timing; what is not chosen is derived from the lease duration.
    pub fn timing(mut self, settings: TimingSettings) -> Self {
        self.timing = settings;
        self
    }

    /// The clock. Default: a [`BootClock`] of its own. Many electors in a process should share one.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long work may drain after a requested stop, while the term is kept. Default 30 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How long work may take to stop once another leader is known, within the stop grace. Default none.
    pub fn loss_grace(mut self, grace: Duration) -> Self {
        self.loss_grace = grace;
        self
    }

    /// How long at most to wait before taking a released lock, for fleets of dozens. Default none.
    pub fn hand_over_jitter(mut self, jitter: Duration) -> Self {
        self.hand_over_jitter = jitter;
        self
    }

    /// How long work may go without [`Term::heartbeat`] before its term is taken for lost, counted from the beginning
    /// of the term. Without this a term is renewed for work that hangs. A loss by silence releases nothing, since the
    /// work may still run: the lease runs out.
    pub fn heartbeat_within(mut self, limit: Duration) -> Self {
        self.heartbeat = Some(limit);
        self
    }

    /// The incarnation, for simulations that must repeat themselves. Two electors of one incarnation take each
    /// other's records for their own: never in a product.
    #[doc(hidden)]
    pub fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// A deliberate defect, for tests that must find it.
    #[cfg(feature = "mutants")]
    pub fn mutant(mut self, mutant: crate::election::Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// Starts the candidate. It does not contend before it is asked to.
    ///
    /// # Errors
    /// `Invalid`: the timing breaks a rule or is too short for the store, a name is empty, too long or holds
    /// control characters, or there is no tokio runtime; or this system lacks what the default clock needs.
    /// `Unavailable`: there is no thread or descriptor left for the default clock.
    pub fn build(self) -> Result<Elector, Error> {
        let invalid = |why: String| Error::new(ErrorKind::Invalid, "build the elector", why);
        let identity = self.identity.unwrap_or_else(default_identity);
        check_name("identity", &identity).map_err(invalid)?;
        if let Some(advertise) = &self.advertise {
            check_name("advertised address", advertise).map_err(invalid)?;
        }
        let timing = self.timing.fit(&self.lock.capabilities()).map_err(invalid)?;
        let (jitter, lease) = (self.hand_over_jitter, timing.lease_duration());
        if jitter > lease {
            return Err(invalid(format!(
                "hand-over jitter {jitter:?} is above the lease duration {lease:?}"
            )));
        }
        if self.heartbeat.is_some_and(|limit| limit.is_zero()) {
            return Err(invalid("a heartbeat within no time is impossible".to_owned()));
        }
        let candidate = Candidate {
            identity: identity.clone(),
            advertise: self.advertise,
            incarnation: self.incarnation.unwrap_or_else(|| Incarnation(random())),
            timing,
            hand_over_jitter: self.hand_over_jitter,
        };
        let clock = match self.clock {
            Some(clock) => clock,
            None => Arc::new(BootClock::started()?),
        };
        let election = Election::new(candidate, &self.lock.capabilities());
        #[cfg(feature = "mutants")]
        let election = election.with_mutant(self.mutant);
        let (commands, status) =
            start(self.lock, clock.clone(), (timing, self.heartbeat), election)?;
        let (drain_timeout, loss_grace) = (self.drain_timeout, self.loss_grace);
        let shut_down = AtomicBool::new(false);
        let handle = Handle {
            identity,
            commands,
            status,
            timing,
            clock,
            drain_timeout,
            loss_grace,
            shut_down,
        };
        Ok(Elector { shared: Arc::new(handle) })
    }
}

impl Elector {
    /// A candidate for `lock`.
    pub fn builder(lock: Arc<dyn LockBackend>) -> Builder {
        Builder {
            lock,
            identity: None,
            advertise: None,
            timing: TimingSettings::default(),
            clock: None,
            drain_timeout: Duration::from_secs(30),
            loss_grace: Duration::ZERO,
            hand_over_jitter: Duration::ZERO,
            heartbeat: None,
            incarnation: None,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// Runs `work` during every term of this candidate, until [`shutdown`](Self::shutdown).
    ///
    /// When the work should stop, [`Term::stopped`] resolves. After a requested stop the term is kept while the
    /// work drains, then released. After a loss the work's future is dropped when its grace is over, at once if
    /// another leader is known. Work that returns releases the lock and contends again after a cool-down.
    /// The future is dropped before a release is sent; tasks it has spawned are not: end them yourself.
    ///
    /// A panic in the work reaches the caller, and nothing is released: the lease runs out.
    ///
    /// The work is polled in the caller's task and may borrow from it. To give `run` itself to `tokio::spawn`, let
    /// the closure own what it changes (an `Arc`, a channel): a borrowing async closure is not `Send` enough.
    ///
    /// # Errors
    /// `Corrupt`, `Rewound` and `Replaced`; `Denied` and `Invalid` before the first successful read; `Denied` if the
    /// store says that this candidate may not take the lock, and nothing ever showed that it may; and `Stopped` if the
    /// driver or its runtime is gone without a shutdown. Everything else is a state: see [`status`](Self::status).
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
            // Contending before the work is declared stopped lets a lost term that is still ours be taken anew.
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
            Err(_) if self.is_shut_down() => return Ok(Finished::Aborted),
            Err(error) => return Err(error),
        };
        let term = held.term();
        let end = self.supervise(&term, job(term.clone())).await;
        self.conclude(held, &end).await;
        Ok(match end {
            End::Returned(value) => Finished::Done(value),
            End::Lost(loss, value) => Finished::Lost(loss, value),
            End::DrainTimedOut => Finished::Aborted,
        })
    }

    /// Contends until this candidate leads. Campaigns on one elector queue: the next term begins only when the
    /// [`Held`] of the last one, even of a lost one, was resigned or dropped, so that no two works run here. Dropping the future is safe: a lock
    /// that was just taken is given back.
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

    /// Stands back: asks the work of the present term to stop, and contends no more until [`resume`](Self::resume).
    /// Campaigns wait meanwhile.
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

    fn tell(&self, command: Command) {
        // A driver that has ended needs no telling.
        let _ = self.shared.commands.send(command);
    }

    fn enqueue(&self) -> Campaign {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Campaign(reply));
        Campaign { answer, nudge: Nudge(self.shared.commands.clone()) }
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

/// Who leads, with permission to read only. Never contends.
#[derive(Clone, Debug)]
pub struct Observer {
    /// Keeps the driver alive.
    _commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
    clock: Arc<dyn Clock>,
}

impl Observer {
    /// Observes `lock`, with the store's own timing.
    ///
    /// # Errors
    /// `Invalid` if there is no tokio runtime, or this system lacks what the clock needs; `Unavailable` if there is no
    /// thread or descriptor left for the clock.
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
        let candidate = Candidate {
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

/// A place in the queue. Tells the driver when it is given up; the fields are dropped in this order.
struct Campaign {
    answer: oneshot::Receiver<Result<Held, Error>>,
    nudge: Nudge,
}

struct Nudge(mpsc::UnboundedSender<Command>);

impl Campaign {
    async fn claimed(self) -> Result<Held, Error> {
        let Self { answer, nudge } = self;
        let gone = |_closed| {
            let why = "the elector has ended; if nobody shut it down, its runtime did, or it panicked (see the log)";
            Error::new(ErrorKind::Stopped, "campaign", why)
        };
        // Declared after the nudge, so that it is dropped before it.
        let _nudge = nudge;
        let answer = answer;
        answer.await.map_err(gone)?.map(Held::claim)
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        let _ = self.0.send(Command::Abandoned);
    }
}

fn start(
    lock: Arc<dyn LockBackend>,
    clock: Arc<dyn Clock>,
    (timing, heartbeat): (Timing, Option<Duration>),
    election: Election,
) -> Result<(mpsc::UnboundedSender<Command>, watch::Receiver<Status>), Error> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
        Error::new(ErrorKind::Invalid, "start the driver outside a tokio runtime", error)
    })?;
    let (commands, receiver) = mpsc::unbounded_channel();
    let first = Status::of(&election, clock.now(), None, Counters::default());
    let (status, statuses) = watch::channel(first);
    let driver = Driver {
        lock,
        clock,
        timing,
        heartbeat,
        election,
        commands: receiver,
        handle: commands.downgrade(),
        status,
        state: State::default(),
    };
    runtime.spawn(guarded(driver));
    Ok((commands, statuses))
}

/// Drives until it ends. A panic, of a backend or of ours, is a bug: it ends the term, and is said once more here, since
/// nobody awaits this task.
async fn guarded(driver: Driver) {
    let lock = driver.lock.name().to_owned();
    let Err(panic) = AssertUnwindSafe(driver.run()).catch_unwind().await else { return };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    error!(
        lock,
        "a bug: the task that renews the lock panicked, and its term is over: {}",
        printable(text)
    );
}

fn changes(mut status: watch::Receiver<Status>) -> impl Stream<Item = Status> + Send + 'static {
    status.mark_changed();
    futures_util::stream::unfold(status, |mut status| async move {
        status.changed().await.ok()?;
        let now = status.borrow_and_update().clone();
        Some((now, status))
    })
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(format!(
            "the {what} {name:?} must have 1 to {MAX_NAME} bytes and no control characters"
        ));
    }
    Ok(())
}

impl Holder {
    /// A candidate of this process that nobody named: the default identity of an [`Elector`], and an incarnation of its own.
    #[must_use]
    pub fn of_this_process() -> Self {
        let incarnation = Some(Incarnation(crate::driver::random()));
        Self { identity: default_identity(), incarnation, advertise: None }
    }
}

/// A pod's host is named as the pod, which is what its owner knows it by; elsewhere processes share a host.
fn default_identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().filter(|c| !c.is_control()).take(200).collect();
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    match std::env::var_os("KUBERNETES_SERVICE_HOST") {
        Some(_) => host,
        None => format!("{host}-{}", std::process::id()),
    }
}
