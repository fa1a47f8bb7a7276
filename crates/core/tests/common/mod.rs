//! A lock between an elector and a [`MemoryLock`] that misbehaves when told to.
#![allow(clippy::unwrap_used, reason = "only tests use this")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use leasehold_core::testing::VirtualClock;
pub(crate) use leasehold_core::testing::in_virtual_time;
use leasehold_core::{
    BoxStream, Capabilities, Change, Clock, Contents, Elector, Error, ErrorKind, Expiry, Held,
    Holder, Incarnation, Intent, LockBackend, MemoryLock, Nonce, Observed, Outcome, Push, Version,
};
use tokio::sync::watch;

/// The default timing.
pub(crate) const L: Duration = Duration::from_secs(15);
pub(crate) const D: Duration = Duration::from_secs(10);
pub(crate) const P: Duration = Duration::from_secs(2);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn elector(
    lock: &(impl LockBackend + Clone),
    name: &str,
    clock: &(impl Clock + Clone),
) -> Elector {
    Elector::builder(Arc::new(lock.clone())).identity(name).clock(clock.clone()).build().unwrap()
}

/// A term of this elector, which gets it within a second.
pub(crate) async fn led(elector: &Elector, clock: &VirtualClock) -> Held {
    let elector = elector.clone();
    let campaign = spawn_local(async move { elector.campaign().await.unwrap() });
    clock.advance(SECOND).await;
    campaign.now_or_never().expect("leads").unwrap()
}

#[derive(Clone, Debug)]
pub(crate) struct FaultyLock {
    lock: MemoryLock,
    refusing: Arc<AtomicBool>,
    panicking: Arc<AtomicBool>,
    holding: Arc<watch::Sender<Option<Intent>>>,
}

pub(crate) fn spawn_local<T: 'static>(
    future: impl Future<Output = T> + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_local(future)
}

impl FaultyLock {
    pub(crate) fn new() -> Self {
        let holding = Arc::new(watch::channel(None).0);
        Self {
            lock: MemoryLock::new("faulty"),
            refusing: Arc::default(),
            panicking: Arc::default(),
            holding,
        }
    }

    /// The same lock without the faults.
    pub(crate) fn clean(&self) -> MemoryLock {
        self.lock.clone()
    }

    /// Refuse every request, as a store that is down does.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Panic at the next request.
    pub(crate) fn panic(&self) {
        self.panicking.store(true, Ordering::SeqCst);
    }

    /// Apply writes of this intent, and hold their answers back until told otherwise.
    pub(crate) fn hold_answers(&self, hold: Option<Intent>) {
        self.holding.send_replace(hold);
    }

    pub(crate) async fn holder(&self) -> Option<Holder> {
        self.lock.read().await.unwrap().record().and_then(|record| record.holder.clone())
    }

    /// Somebody else writes itself in with a greater token.
    pub(crate) async fn usurp(&self) {
        let observed = self.lock.read().await.unwrap();
        let mut record = observed.record().unwrap().clone();
        record.token += 1;
        record.nonce = Nonce(1);
        record.holder = Some(Holder {
            identity: "usurper".into(),
            incarnation: Some(Incarnation(77)),
            advertise: None,
        });
        let change = Change { intent: Intent::Take, record };
        self.lock.write(&observed.version, &change).await.unwrap();
    }

    pub(crate) async fn release_usurped(&self) {
        let observed = self.lock.read().await.unwrap();
        let mut record = observed.record().unwrap().clone();
        record.nonce = Nonce(2);
        record.holder = None;
        let change = Change { intent: Intent::Release, record };
        self.lock.write(&observed.version, &change).await.unwrap();
    }

    fn check(&self) -> Result<(), Error> {
        assert!(!self.panicking.load(Ordering::SeqCst), "a backend's own bug");
        if self.refusing.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "reach the store", "it is down"));
        }
        Ok(())
    }
}

#[async_trait]
impl LockBackend for FaultyLock {
    fn name(&self) -> &str {
        self.lock.name()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { push: Push::None, ..self.lock.capabilities() }
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.check()?;
        self.lock.read().await
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        self.check()?;
        let outcome = self.lock.write(expected, change).await;
        let mut holding = self.holding.subscribe();
        holding.wait_for(|held| *held != Some(change.intent)).await.unwrap();
        outcome
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        self.lock.watch(after)
    }
}

/// What is stored is nobody's record.
#[derive(Debug)]
pub(crate) struct Unreadable;

#[async_trait]
impl LockBackend for Unreadable {
    fn name(&self) -> &str {
        "unreadable"
    }

    fn capabilities(&self) -> Capabilities {
        MemoryLock::new("m").capabilities()
    }

    async fn read(&self) -> Result<Observed, Error> {
        let contents = Contents::Unreadable("garbage".to_owned());
        let (version, expiry) = (Version::number(1), Expiry::ByObserver);
        Ok(Observed { version, contents, expiry, token_floor: None })
    }

    async fn write(&self, _: &Version, _: &Change) -> Result<Outcome, Error> {
        panic!("never overwritten")
    }
}
