//! The worst cases and the cost that a timing promises, beside what a leader and a follower show in
//! virtual time.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::{in_virtual_time, spawn_local};
use futures_util::StreamExt;
use leasehold_core::testing::VirtualClock;
use leasehold_core::{
    BoxStream, Capabilities, Change, Clock, Elector, Error, LockBackend, MemoryLock, Observed,
    Outcome, Push, StoreTraits, Time, Timing, TimingSettings, Version,
};

const SPAN: Duration = Duration::from_secs(600);

/// A moment of the schedule, so that a crash strikes at every phase of a renewal.
const STEP: Duration = Duration::from_millis(223);

/// Counts requests, and may be dead or deaf.
#[derive(Clone, Debug)]
struct Counted {
    lock: MemoryLock,
    push: bool,
    dead: Arc<AtomicBool>,
    deaf: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
}

impl Counted {
    fn over(lock: &MemoryLock, push: bool) -> Self {
        let lock = lock.clone();
        let (dead, deaf) = (Arc::default(), Arc::default());
        Self { lock, push, dead, deaf, reads: Arc::default(), writes: Arc::default() }
    }

    async fn counted(&self, count: &AtomicU64) {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl LockBackend for Counted {
    fn name(&self) -> &str {
        self.lock.name()
    }

    fn capabilities(&self) -> Capabilities {
        let push = if self.push { Push::Resumable } else { Push::None };
        Capabilities { push, ..self.lock.capabilities() }
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.counted(&self.reads).await;
        self.lock.read().await
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        self.counted(&self.writes).await;
        self.lock.write(expected, change).await
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let deaf = self.deaf.clone();
        let heard =
            move |_: &Result<Observed, Error>| std::future::ready(!deaf.load(Ordering::SeqCst));
        Box::pin(self.lock.watch(after).filter(heard))
    }
}

fn memory(store: StoreTraits, clock: &VirtualClock) -> MemoryLock {
    match store.by_server {
        true => MemoryLock::with_server_expiry("m", clock.clone()),
        false => MemoryLock::new("m"),
    }
}

fn candidate(lock: &Counted, name: &str, timing: TimingSettings, clock: &VirtualClock) -> Elector {
    let builder = Elector::builder(Arc::new(lock.clone())).identity(name).timing(timing);
    builder.clock(clock.clone()).build().unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Release,
    Crash,
    CrashWithDeadWatch,
}

/// How long nobody led after the leader ended so, `phase` after it began to lead.
async fn leaderless(
    clock: &VirtualClock,
    store: StoreTraits,
    end: End,
    phase: Duration,
) -> Duration {
    let (memory, timing) = (memory(store, clock), TimingSettings::default());
    let (first, second) = (Counted::over(&memory, store.push), Counted::over(&memory, store.push));
    let leader = candidate(&first, "a", timing, clock);
    let held = common::led(&leader, clock).await;
    let follower = candidate(&second, "b", timing, clock);
    let (waiting, stamps) = (follower.clone(), clock.clone());
    let next = spawn_local(async move {
        let held = waiting.campaign().await.unwrap();
        (stamps.now(), held)
    });
    clock.advance(Duration::from_secs(31) + phase).await;
    let ended: Time = match end {
        End::Release => {
            let now = clock.now();
            assert!(held.resign().await.unwrap());
            now
        }
        End::Crash | End::CrashWithDeadWatch => {
            if end == End::CrashWithDeadWatch {
                second.deaf.store(true, Ordering::SeqCst);
                // What it does not hear before the crash, which strikes at every phase of its
                // silence.
                clock.advance(Timing::default().retry_period() * 2 + phase).await;
            }
            first.dead.store(true, Ordering::SeqCst);
            std::mem::forget((held, leader));
            clock.now()
        }
    };
    clock.advance(Duration::from_secs(35)).await;
    assert!(next.is_finished(), "{store:?} {end:?} {phase:?}: nobody leads");
    let (began, _held) = next.await.unwrap();
    began.since(ended)
}

#[test]
fn nobody_is_without_a_leader_for_longer_than_promised_and_some_for_nearly_as_long() {
    in_virtual_time(async |clock| {
        for (push, by_server) in [(true, false), (false, false), (true, true)] {
            let store = StoreTraits { push, by_server };
            let promised = Timing::default().leaderless(store);
            let mut cases = vec![(End::Release, promised.clean_stop), (End::Crash, promised.crash)];
            let deaf = promised.crash_with_dead_watch;
            cases.extend(deaf.map(|most| (End::CrashWithDeadWatch, most)));
            for (end, most) in cases {
                let mut longest = Duration::ZERO;
                // A whole renewal period, or a whole silence between two reads of who hears
                // nothing.
                let phases = if end == End::CrashWithDeadWatch { 24 } else { 10 };
                for phase in 0..phases {
                    let lasted = leaderless(&clock, store, end, STEP * phase).await;
                    assert!(lasted <= most, "{store:?} {end:?}: {lasted:?} of {most:?}");
                    longest = longest.max(lasted);
                }
                println!("{store:?} {end:?}: {longest:?} of {most:?}");
                // Else the promise would be no bound that anybody meets. Here no request is slow,
                // for which it has a request timeout to spare.
                assert!(10 * longest >= 8 * most, "{store:?} {end:?}: {longest:?} of {most:?}");
            }
        }
    });
}

#[test]
fn a_span_costs_the_requests_that_are_promised() {
    in_virtual_time(async |clock| {
        let slow = TimingSettings {
            retry_period: Some(Duration::from_secs(6)),
            request_timeout: Some(Duration::from_secs(1)),
            ..TimingSettings::default()
        };
        for timing in [TimingSettings::default(), slow] {
            for (push, by_server) in [(true, false), (false, false), (true, true)] {
                let store = StoreTraits { push, by_server };
                let memory = memory(store, &clock);
                let (first, second) = (Counted::over(&memory, push), Counted::over(&memory, push));
                let leader = candidate(&first, "a", timing, &clock);
                let held = common::led(&leader, &clock).await;
                let follower = candidate(&second, "b", timing, &clock);
                let waiting = follower.clone();
                let next = spawn_local(async move { waiting.campaign().await });
                clock.advance(Duration::from_secs(10)).await;
                first.writes.store(0, Ordering::SeqCst);
                second.reads.store(0, Ordering::SeqCst);
                clock.advance(SPAN).await;
                let promised = timing.build().unwrap().requests(store, SPAN);
                let (writes, reads) =
                    (first.writes.load(Ordering::SeqCst), second.reads.load(Ordering::SeqCst));
                assert!(
                    promised.writes.abs_diff(writes) <= 1,
                    "{store:?}: {writes} of {promised:?}"
                );
                assert!(promised.reads.abs_diff(reads) <= 1, "{store:?}: {reads} of {promised:?}");
                assert!(held.check().is_ok());
                next.abort();
            }
        }
    });
}
