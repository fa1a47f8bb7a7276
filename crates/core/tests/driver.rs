//! What the driver owes the election, the store and its callers, in virtual time.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::{D, FaultyLock, L, P, SECOND, elector, in_virtual_time, led, spawn_local};
use futures_util::{FutureExt, Stream, StreamExt};
use leasehold_core::testing::VirtualClock;
use leasehold_core::{
    BoxFuture, BoxStream, Capabilities, Change, Clock, Elector, Error, ErrorKind, Held, Holder,
    Incarnation, Intent, Leader, LockBackend, Loss, MemoryLock, Nonce, Observed, Observer, Outcome,
    Push, Record, Role, StopReason, Time, Token, Version, Wall,
};
use tokio::sync::mpsc;

const T: Duration = Duration::from_secs(2);
const MS: Duration = Duration::from_millis(1);

/// A lock that does as it is told, and remembers what was asked.
#[derive(Clone, Debug)]
struct Scripted {
    lock: MemoryLock,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Script {
    /// What becomes of the next reads and writes; once it is used up, they work.
    reads: Vec<Fault>,
    writes: Vec<Fault>,
    /// The same of the next questions whether one may take; then `denied` says so.
    asks: Vec<Fault>,
    asked: u32,
    denied: bool,
    push: Push,
    floor: Option<Token>,
    /// A watch ends as soon as it is opened.
    watches_end: bool,
    /// The watches that were opened, with what they are to yield.
    watches: Vec<mpsc::UnboundedSender<Result<Observed, Error>>>,
    /// How much of them was heard.
    heard: u32,
    sent: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Hangs,
    Fails(ErrorKind),
}

impl Fault {
    async fn happen(fault: Option<Self>) -> Result<(), Error> {
        match fault {
            None => Ok(()),
            Some(Self::Hangs) => std::future::pending().await,
            Some(Self::Fails(kind)) => Err(Error::new(kind, "ask the store", "as told")),
        }
    }
}

impl Scripted {
    fn new(push: Push) -> Self {
        let script = Script {
            reads: Vec::new(),
            writes: Vec::new(),
            asks: Vec::new(),
            asked: 0,
            denied: false,
            push,
            floor: None,
            watches_end: false,
            watches: Vec::new(),
            heard: 0,
            sent: Vec::new(),
        };
        Self { lock: MemoryLock::new("scripted"), script: Arc::new(Mutex::new(script)) }
    }

    fn tell(&self, tell: impl FnOnce(&mut Script)) {
        tell(&mut self.script.lock().unwrap());
    }

    fn sent(&self, intent: Intent) -> Vec<Change> {
        let script = self.script.lock().unwrap();
        script.sent.iter().filter(|change| change.intent == intent).cloned().collect()
    }

    fn watches(&self) -> usize {
        self.script.lock().unwrap().watches.len()
    }

    fn pop(&self, faults: impl FnOnce(&mut Script) -> &mut Vec<Fault>) -> Option<Fault> {
        let mut script = self.script.lock().unwrap();
        let faults = faults(&mut script);
        if faults.is_empty() { None } else { Some(faults.remove(0)) }
    }
}

#[async_trait]
impl LockBackend for Scripted {
    fn name(&self) -> &str {
        self.lock.name()
    }

    fn capabilities(&self) -> Capabilities {
        let script = self.script.lock().unwrap();
        let floor_is_history = script.floor.is_some();
        Capabilities { push: script.push, floor_is_history, ..self.lock.capabilities() }
    }

    async fn read(&self) -> Result<Observed, Error> {
        Fault::happen(self.pop(|script| &mut script.reads)).await?;
        let floor = self.script.lock().unwrap().floor;
        let observed = self.lock.read().await?;
        Ok(Observed { token_floor: floor.or(observed.token_floor), ..observed })
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        self.tell(|script| script.sent.push(change.clone()));
        Fault::happen(self.pop(|script| &mut script.writes)).await?;
        self.lock.write(expected, change).await
    }

    async fn may_take(&self, _: &Holder) -> Result<(), Error> {
        self.tell(|script| script.asked += 1);
        Fault::happen(self.pop(|script| &mut script.asks)).await?;
        match self.script.lock().unwrap().denied {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Denied, "take the lock", "as told")),
        }
    }

    fn watch(&self, _: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let (send, receive) = mpsc::unbounded_channel();
        let mut script = self.script.lock().unwrap();
        script.watches.push(send);
        if script.watches_end {
            return futures_util::stream::empty().boxed();
        }
        let script = self.script.clone();
        futures_util::stream::unfold((receive, script), |(mut receive, script)| async move {
            let observed = receive.recv().await?;
            script.lock().unwrap().heard += 1;
            Some((observed, (receive, script)))
        })
        .boxed()
    }
}

type Campaign = tokio::task::JoinHandle<Result<Held, Error>>;

fn campaign(elector: &Elector) -> Campaign {
    let elector = elector.clone();
    spawn_local(async move { elector.campaign().await })
}

/// Writes this record's holder, one token on, over what is stored.
async fn overwrite(lock: &MemoryLock, holder: impl FnOnce(Option<Holder>) -> Option<Holder>) {
    let observed = lock.read().await.unwrap();
    let mut record = observed.record().unwrap().clone();
    record.token += 1;
    record.nonce = Nonce(record.nonce.0 ^ 1);
    record.holder = holder(record.holder);
    lock.write(&observed.version, &Change { intent: Intent::Take, record }).await.unwrap();
}

/// Somebody else holds the lock, and shows no other sign of life.
async fn hold(lock: &MemoryLock) {
    let holder =
        Holder { identity: "other".into(), incarnation: Some(Incarnation(7)), advertise: None };
    let record = Record {
        holder: Some(holder),
        token: 5,
        lease_duration: L,
        nonce: Nonce(7),
        acquired: Wall(0),
        renewed: Wall(0),
        extra: serde_json::Map::new(),
    };
    let change = Change { intent: Intent::Take, record };
    lock.write(&Version::absent(), &change).await.unwrap();
}

#[test]
fn a_request_that_hangs_is_given_up_after_the_request_timeout() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        lock.tell(|script| script.reads.extend([Fault::Hangs; 2]));
        let a = elector(&lock, "a", &clock);
        let campaign = campaign(&a);
        clock.advance(T - MS).await;
        assert_eq!(a.status().store_error.map(|error| error.kind()), None);
        clock.advance(2 * MS).await;
        assert_eq!(a.status().store_error.unwrap().kind(), ErrorKind::Unavailable);
        clock.advance(T + P).await;
        let held = campaign.now_or_never().expect("leads").unwrap().unwrap();
        // A renewal that hangs costs a timeout and not the term.
        lock.tell(|script| script.writes.push(Fault::Hangs));
        clock.advance(D + SECOND).await;
        assert_eq!(held.check(), Ok(held.token()));
    });
}

/// Happens once.
type Once = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A clock on which something happens right after the driver has read it.
#[derive(Clone)]
struct Racing {
    clock: VirtualClock,
    next: Once,
}

impl std::fmt::Debug for Racing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Racing")
    }
}

impl Clock for Racing {
    fn now(&self) -> Time {
        let now = self.clock.now();
        let next = self.next.lock().unwrap().take();
        if let Some(next) = next {
            next();
        }
        now
    }

    fn wall(&self) -> Wall {
        self.clock.wall()
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(at)
    }
}

/// Does something as a renewal is answered.
#[derive(Clone)]
struct AtRenewal {
    lock: Scripted,
    then: Once,
}

impl std::fmt::Debug for AtRenewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtRenewal")
    }
}

#[async_trait]
impl LockBackend for AtRenewal {
    fn name(&self) -> &str {
        self.lock.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.lock.capabilities()
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.lock.read().await
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let outcome = self.lock.write(expected, change).await;
        let then = self.then.lock().unwrap().take();
        if let Some(then) = then {
            then();
        }
        outcome
    }
}

#[test]
fn a_term_that_a_check_saw_expire_is_over_for_the_election_too() {
    in_virtual_time(async |clock| {
        let scripted = Scripted::new(Push::None);
        let lock = AtRenewal { lock: scripted.clone(), then: Arc::default() };
        let racing = Racing { clock: clock.clone(), next: Arc::default() };
        let a = elector(&lock, "a", &racing);
        let held = led(&a, &clock).await;
        let term = held.term();
        // As the acknowledgement is taken in, before its deadline, the machine sleeps past the old deadline
        // (and not past the new one), and somebody checks.
        let (checked, inner) = (term.clone(), clock.clone());
        *lock.then.lock().unwrap() = Some(Box::new(move || {
            *racing.next.lock().unwrap() = Some(Box::new(move || {
                inner.suspend(D - SECOND);
                assert_eq!(checked.check(), Err(Loss::Expired));
            }));
        }));
        clock.advance(P).await;
        assert_eq!(term.check(), Err(Loss::Expired));
        assert_eq!(a.status().role, Role::Observer, "nobody waits for another term");
        let renewals = scripted.sent(Intent::Renew).len();
        clock.advance(L).await;
        assert_eq!(scripted.sent(Intent::Renew).len(), renewals, "the term is renewed no more");
    });
}

async fn told_to_run_and_campaign(lock: &Scripted, clock: &VirtualClock) -> [ErrorKind; 2] {
    let a = elector(lock, "a", clock);
    let run = spawn_local({
        let a = a.clone();
        async move {
            a.run(async |term| {
                term.stopped().await;
            })
            .await
        }
    });
    let waiting = campaign(&a);
    clock.advance(2 * P).await;
    let ran = run.now_or_never().expect("run ends").unwrap().unwrap_err().kind();
    let campaigned = waiting.now_or_never().expect("the campaign ends").unwrap().unwrap_err();
    [ran, campaigned.kind()]
}

#[test]
fn a_failure_ends_run_and_every_campaign() {
    in_virtual_time(async |clock| {
        for kind in [ErrorKind::Denied, ErrorKind::Invalid] {
            let lock = Scripted::new(Push::None);
            lock.tell(|script| script.reads.extend([Fault::Fails(kind); 3]));
            assert_eq!(told_to_run_and_campaign(&lock, &clock).await, [kind; 2]);
        }
    });
    in_virtual_time(async |clock| {
        let a = Elector::builder(Arc::new(common::Unreadable)).clock(clock.clone()).build();
        let a = a.unwrap();
        let waiting = campaign(&a);
        let run = spawn_local(async move { a.run(async |_| {}).await });
        clock.advance(SECOND).await;
        let error = run.now_or_never().expect("run ends").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("garbage"), "{error}");
        let error = waiting.now_or_never().expect("the campaign ends").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    });
}

#[test]
fn a_rewound_store_ends_the_term_and_run() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        lock.tell(|script| script.floor = Some(100));
        let a = elector(&lock, "a", &clock);
        let run = spawn_local(async move {
            a.run(async |term| {
                term.lost().await;
            })
            .await
        });
        clock.advance(SECOND).await;
        assert_eq!(lock.sent(Intent::Take)[0].record.token, 101);
        lock.tell(|script| {
            script.floor = Some(50);
            script.writes.push(Fault::Fails(ErrorKind::Unavailable));
        });
        clock.advance(2 * P).await;
        let error = run.now_or_never().expect("run ends").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rewound);
    });
}

/// A follower of a leader that renews, on a lock whose watch says only what it is told.
async fn following(lock: &Scripted, clock: &VirtualClock) -> Observer {
    let a = elector(&lock.lock, "a", clock);
    std::mem::forget(led(&a, clock).await);
    let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
    clock.advance(SECOND).await;
    observer
}

#[test]
fn a_read_that_shows_what_the_watch_missed_opens_it_anew() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        let _observer = following(&lock, &clock).await;
        assert_eq!(lock.watches(), 1);
        // The leader has renewed meanwhile and the watch is silent.
        clock.advance(P).await;
        assert_eq!(lock.watches(), 2);
    });
}

#[test]
fn a_watch_that_ended_is_opened_again_and_heard() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        hold(&lock.lock).await;
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(SECOND).await;
        assert_eq!(lock.watches(), 1);
        lock.tell(|script| script.watches.clear());
        clock.advance(P + SECOND).await;
        assert_eq!(lock.watches(), 1, "again");
        overwrite(&lock.lock, |_| None).await;
        let observed = lock.lock.read().await.unwrap();
        let before = observer.status().counters.reads;
        assert_ne!(observer.status().leader, Leader::Nobody);
        lock.tell(|script| script.watches[0].send(Ok(observed)).unwrap());
        clock.advance(MS).await;
        assert_eq!(observer.status().leader, Leader::Nobody);
        assert_eq!(observer.status().counters.reads, before, "no read was needed");
    });
}

/// A peer that sends without end occupies no core, and after a silence news is heard at once.
#[test]
fn a_watch_without_end_is_heard_at_a_pace_and_after_a_silence_at_once() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        hold(&lock.lock).await;
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(SECOND).await;
        let observed = lock.lock.read().await.unwrap();
        lock.tell(|script| {
            for _ in 0..5_000 {
                script.watches[0].send(Ok(observed.clone())).unwrap();
            }
        });
        clock.advance(SECOND).await;
        let heard = lock.script.lock().unwrap().heard;
        assert!((1_000..2_000).contains(&heard), "{heard}");
        clock.advance(5 * SECOND).await;
        assert_eq!(lock.script.lock().unwrap().heard, 5_000);
        overwrite(&lock.lock, |_| None).await;
        let observed = lock.lock.read().await.unwrap();
        lock.tell(|script| script.watches[0].send(Ok(observed)).unwrap());
        clock.advance(MS).await;
        assert_eq!(observer.status().leader, Leader::Nobody);
    });
}

#[test]
fn a_follower_whose_watch_fails_polls() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        lock.tell(|script| script.watches_end = true);
        let observer = following(&lock, &clock).await;
        let before = observer.status().counters.reads;
        clock.advance(30 * P).await;
        let reads = observer.status().counters.reads - before;
        assert!((28..=32).contains(&reads), "{reads} in 30 retry periods");
    });
}

#[test]
fn a_copy_of_this_process_makes_it_go_on_under_a_new_incarnation() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        let before = a.incarnation();
        let mut changes = Box::pin(a.changes());
        overwrite(&lock.lock, |copy| copy).await;
        clock.advance(P + SECOND).await;
        assert_eq!(held.check(), Err(Loss::Superseded));
        assert_ne!(a.incarnation(), before);
        let told = changes.next().now_or_never().expect("told").unwrap();
        assert_eq!(told.incarnation, a.incarnation());
        drop(held);
        // The copy never renews; its lease is waited out.
        let next = campaign(&a);
        clock.advance(L + SECOND).await;
        let next = next.now_or_never().expect("leads").unwrap().unwrap();
        let take = lock.sent(Intent::Take).pop().unwrap();
        assert_eq!(take.record.holder.unwrap().incarnation, Some(a.incarnation()));
        assert_eq!(take.record.token, next.token());
    });
}

#[test]
fn step_down_drains_releases_and_contends_again() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let a = elector(&lock, "a", &clock);
        let stops = Rc::new(RefCell::new(Vec::new()));
        let _run = spawn_local({
            let (a, stops) = (a.clone(), stops.clone());
            async move {
                a.run(async |term| {
                    let reason = term.stopped().await;
                    stops.borrow_mut().push((term.check(), reason));
                })
                .await
            }
        });
        clock.advance(SECOND).await;
        a.step_down();
        clock.advance(MS).await;
        assert_eq!(*stops.borrow(), [(Ok(1), StopReason::Requested)]);
        assert_eq!(lock.sent(Intent::Release).len(), 1);
        clock.advance(P + SECOND).await;
        assert_eq!(a.status().role, Role::Leader(2));
    });
}

#[test]
fn the_last_handle_dropped_ends_the_driver() {
    in_virtual_time(async |clock| {
        let lock = Arc::new(MemoryLock::new("m"));
        let a = Elector::builder(lock.clone()).clock(clock.clone()).build().unwrap();
        let held = led(&a, &clock).await;
        drop(a);
        clock.advance(2 * L).await;
        assert_eq!(held.check(), Ok(held.token()), "the owner of a term is a handle");
        let resigned = spawn_local(held.resign());
        clock.advance(MS).await;
        assert_eq!(resigned.now_or_never().expect("resigned").unwrap().ok(), Some(true));
        clock.advance(MS).await;
        assert_eq!(Arc::strong_count(&lock), 1, "the driver has let go of the lock");
    });
}

#[test]
fn the_last_handle_dropped_with_its_take_in_flight_gives_the_lock_back() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        lock.hold_answers(Some(Intent::Take));
        let campaign = campaign(&elector(&lock, "a", &clock));
        clock.advance(SECOND).await;
        campaign.abort();
        clock.advance(MS).await;
        assert!(lock.holder().await.is_some(), "taken, and not told");
        lock.hold_answers(None);
        clock.advance(SECOND).await;
        assert_eq!(lock.holder().await, None);
    });
}

#[test]
fn shutdown_fails_the_campaigns_that_wait_at_once() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        let waiting = campaign(&a);
        clock.advance(SECOND).await;
        a.shutdown();
        clock.advance(MS).await;
        let error = waiting.now_or_never().expect("told").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        let stopped = held.stopped().now_or_never().expect("told");
        assert_eq!(stopped, StopReason::Requested);
        assert_eq!(held.check(), Ok(held.token()), "the work still drains");
        let late = campaign(&a);
        clock.advance(MS).await;
        let error = late.now_or_never().expect("told").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped);
    });
}

#[test]
fn a_take_that_is_sent_again_keeps_its_bytes() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let first = elector(&lock, "first", &clock);
        led(&first, &clock).await.resign().await.unwrap();
        lock.tell(|script| {
            script.sent.clear();
            script.writes.push(Fault::Hangs);
        });
        let b = elector(&lock, "b", &clock);
        let waiting = campaign(&b);
        let sent = clock.wall();
        clock.advance(T + 2 * P).await;
        assert!(waiting.is_finished());
        let [lost, again] = &lock.sent(Intent::Take)[..] else { panic!("two") };
        assert_eq!(lost.record.renewed, sent);
        assert_eq!(lost, again);
        assert!(clock.wall() > sent);
    });
}

#[test]
fn wall_times_are_stamped_as_a_request_is_sent() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let began = Wall(1_800_000_000_000);
        clock.step_wall(began);
        let a = elector(&lock, "a", &clock);
        let _held = led(&a, &clock).await;
        let take = &lock.sent(Intent::Take)[0].record;
        assert_eq!((take.acquired, take.renewed), (began, began));
        clock.advance(2 * P).await;
        let renewals = lock.sent(Intent::Renew);
        let p = u64::try_from(P.as_millis()).unwrap();
        for (renewal, number) in renewals.iter().zip(1..) {
            assert_eq!(renewal.record.acquired, began);
            assert_eq!(renewal.record.renewed, Wall(began.0 + number * p));
        }
        assert_eq!(renewals.len(), 2);
    });
}

#[test]
fn a_store_that_answers_again_is_said_to() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        lock.tell(|script| script.writes.push(Fault::Fails(ErrorKind::Unavailable)));
        clock.advance(SECOND).await;
        assert_eq!(a.status().store_error.unwrap().kind(), ErrorKind::Unavailable);
        clock.advance(2 * P).await;
        assert!(a.status().store_error.is_none());
        assert_eq!(held.check(), Ok(held.token()));
    });
}

fn drain<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> usize {
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).take(100).count()
}

#[test]
fn renewals_are_no_change() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(SECOND).await;
        let (mut own, mut seen) = (Box::pin(a.changes()), Box::pin(observer.changes()));
        assert_eq!((drain(&mut own), drain(&mut seen)), (1, 1), "the present status");
        let Leader::Held(before) = observer.status().leader else { panic!() };
        for _ in 0..10 {
            clock.advance(P).await;
            assert_eq!((drain(&mut own), drain(&mut seen)), (0, 0));
        }
        let Leader::Held(now) = observer.status().leader else { panic!() };
        assert!(now.renewed > before.renewed, "and yet it is up to date");
        held.resign().await.unwrap();
        clock.advance(MS).await;
        assert!(drain(&mut own) > 0 && drain(&mut seen) > 0);
    });
}

#[test]
fn a_shutdown_waits_for_a_take_that_may_be_stored_and_not_for_ever() {
    in_virtual_time(async |clock| {
        let lock = Arc::new(Scripted::new(Push::None));
        let first = elector(&*lock, "first", &clock);
        led(&first, &clock).await.resign().await.unwrap();
        let b = Elector::builder(lock.clone()).clock(clock.clone()).build().unwrap();
        lock.tell(|script| script.writes.push(Fault::Hangs));
        let waiting = campaign(&b);
        clock.advance(MS).await;
        lock.tell(|script| script.reads.extend([Fault::Fails(ErrorKind::Unavailable); 99]));
        b.shutdown();
        clock.advance(3 * T - MS).await;
        assert!(waiting.is_finished());
        assert_eq!(Arc::strong_count(&lock), 2, "it looks whether the Take is stored");
        clock.advance(2 * MS).await;
        assert_eq!(Arc::strong_count(&lock), 1);
    });
}

/// Another holds the lock; this candidate may read it and not take it.
fn forbidden() -> MemoryLock {
    let lock = MemoryLock::new("forbidden");
    futures_util::FutureExt::now_or_never(hold(&lock)).expect("memory answers at once");
    lock.permit(false);
    lock
}

#[test]
fn a_candidate_that_can_never_take_is_told_at_once_even_while_another_leads() {
    in_virtual_time(async |clock| {
        let lock = forbidden();
        let a = elector(&lock, "a", &clock);
        let run = spawn_local({
            let a = a.clone();
            async move { a.run(async |_| {}).await }
        });
        let waiting = campaign(&a);
        clock.advance(MS).await;
        let error = run.now_or_never().expect("run ends").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("a test has forbidden it"), "{error}");
        let error = waiting.now_or_never().expect("told").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(!a.status().may_lead());
        assert_eq!(a.status().role, Role::Observer);
        // Who campaigns anew is told anew, and by then it may be permitted.
        let again = campaign(&a);
        clock.advance(MS).await;
        assert!(again.now_or_never().expect("told").unwrap().is_err());
        lock.permit(true);
        let again = campaign(&a);
        clock.advance(L + SECOND).await;
        assert!(again.now_or_never().expect("leads").unwrap().is_ok());
        assert!(a.status().may_lead());
    });
}

#[test]
fn a_right_that_is_taken_away_later_is_a_state() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let leader = elector(&lock, "leader", &clock);
        let _held = led(&leader, &clock).await;
        let other = Scripted { lock: lock.clone(), ..Scripted::new(Push::None) };
        let a = elector(&other, "a", &clock);
        let waiting = campaign(&a);
        clock.advance(SECOND).await;
        assert!(a.status().may_lead());
        let mut changes = Box::pin(a.changes());
        drain(&mut changes);
        other.tell(|script| script.denied = true);
        clock.advance(Duration::from_secs(59)).await;
        assert!(!a.status().may_lead(), "asked once a minute");
        assert_eq!(a.status().standby_error.unwrap().kind(), ErrorKind::Denied);
        assert_eq!(drain(&mut changes), 1, "it is news");
        assert!(!waiting.is_finished(), "it goes on");
        assert_eq!(other.script.lock().unwrap().asked, 2, "no busy traffic");
        other.tell(|script| script.denied = false);
        clock.advance(Duration::from_secs(61)).await;
        assert!(a.status().may_lead());
        drop(leader);
        waiting.abort();
    });
}

#[test]
fn whether_one_may_take_is_asked_again_after_a_denied_write_and_never_by_a_leader_or_an_observer() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(2 * 60 * SECOND).await;
        assert_eq!(lock.script.lock().unwrap().asked, 0);
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        let asked = lock.script.lock().unwrap().asked;
        assert!(asked <= 1, "{asked}");
        clock.advance(10 * 60 * SECOND).await;
        assert_eq!(lock.script.lock().unwrap().asked, asked);
        held.resign().await.unwrap();
        // Nobody leads; every write is denied from now on, and so says the store.
        lock.tell(|script| {
            script.denied = true;
            script.writes.extend([Fault::Fails(ErrorKind::Denied); 20]);
        });
        let waiting = campaign(&a);
        clock.advance(20 * SECOND).await;
        assert!(!a.status().may_lead());
        assert!(!waiting.is_finished(), "it led before: it is a state");
        let asked = lock.script.lock().unwrap().asked;
        assert!((1..=7).contains(&asked), "{asked} times");
        lock.tell(|script| {
            script.denied = false;
            script.writes.clear();
        });
        clock.advance(5 * SECOND).await;
        assert!(waiting.is_finished() && a.status().may_lead(), "an accepted write shows it");
        drop(observer);
    });
}

/// What the store cannot say, or does not say in time, keeps nobody from leading.
#[test]
fn an_unknown_permission_delays_nobody() {
    in_virtual_time(async |clock| {
        for ask in [Fault::Hangs, Fault::Fails(ErrorKind::Unavailable)] {
            let lock = Scripted::new(Push::None);
            lock.tell(|script| script.asks.extend([ask; 9]));
            let a = elector(&lock, "a", &clock);
            let held = led(&a, &clock).await;
            assert!(a.status().may_lead());
            held.resign().await.unwrap();
        }
        // A standby asks again after a lease; a shutdown waits for no answer.
        let lock = Scripted::new(Push::None);
        hold(&lock.lock).await;
        lock.tell(|script| script.asks.extend([Fault::Hangs; 9]));
        let a = elector(&lock, "a", &clock);
        let waiting = campaign(&a);
        clock.advance(L - SECOND).await;
        assert_eq!(lock.script.lock().unwrap().asked, 1);
        assert_eq!(a.status().store_error.map(|error| error.kind()), None, "reads are answered");
        a.shutdown();
        clock.advance(MS).await;
        assert!(waiting.is_finished());
        assert_eq!(Arc::strong_count(&lock.script), 1, "the driver has ended");
    });
}

/// The leader's store was replaced by another at the same address.
#[test]
fn another_store_ends_the_term_at_once_and_run_with_it() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let a = elector(&lock, "a", &clock);
        let losses = Rc::new(RefCell::new(Vec::new()));
        let run = spawn_local({
            let (a, losses) = (a.clone(), losses.clone());
            async move {
                a.run(async |term| {
                    let loss = term.lost().await;
                    losses.borrow_mut().push(loss);
                })
                .await
            }
        });
        clock.advance(SECOND).await;
        lock.tell(|script| script.writes.push(Fault::Fails(ErrorKind::Replaced)));
        lock.tell(|script| script.reads.extend([Fault::Fails(ErrorKind::Replaced); 9]));
        clock.advance(P).await;
        assert_eq!(*losses.borrow(), [Loss::Replaced]);
        let error = run.now_or_never().expect("run ends").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Replaced);
    });
}

#[test]
fn a_watch_that_tells_of_another_store_makes_a_leader_read_at_once_and_ends_nothing() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        clock.advance(MS).await;
        for (says, ends) in [(None, false), (Some(ErrorKind::Replaced), true)] {
            let reads = a.status().counters.reads;
            lock.tell(|script| {
                script.reads.extend(says.map(Fault::Fails));
                let watch = script.watches.pop().unwrap();
                let error = Error::new(ErrorKind::Replaced, "watch the lock", "another cluster");
                watch.send(Err(error)).unwrap();
            });
            clock.advance(MS).await;
            assert_eq!(a.status().counters.reads, reads + 1, "at once");
            assert_eq!(held.check().err(), ends.then_some(Loss::Replaced));
            clock.advance(P).await;
        }
    });
}

/// A backend with a bug.
#[derive(Clone, Debug)]
struct Panics {
    lock: MemoryLock,
    at: Arc<Mutex<Option<&'static str>>>,
}

impl Panics {
    fn here(&self, at: &str) {
        let panics = *self.at.lock().unwrap() == Some(at);
        assert!(!panics, "a backend's bug in {at}");
    }
}

#[async_trait]
impl LockBackend for Panics {
    fn name(&self) -> &str {
        self.lock.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.lock.capabilities()
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.here("read");
        self.lock.read().await
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        self.here("write");
        self.lock.write(expected, change).await
    }

    async fn may_take(&self, _: &Holder) -> Result<(), Error> {
        self.here("may_take");
        Ok(())
    }

    fn watch(&self, _: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        self.here("watch");
        let this = self.clone();
        futures_util::stream::poll_fn(move |_| {
            this.here("event");
            std::task::Poll::Pending
        })
        .boxed()
    }
}

#[test]
fn a_panic_of_a_backend_ends_the_term_and_run_reports_it() {
    for at in ["write", "event"] {
        in_virtual_time(async |clock| {
            let lock = Panics { lock: MemoryLock::new("m"), at: Arc::default() };
            let a = elector(&lock, "a", &clock);
            let losses = Rc::new(RefCell::new(Vec::new()));
            let run = spawn_local({
                let (a, losses) = (a.clone(), losses.clone());
                async move {
                    a.run(async |term| {
                        let loss = term.lost().await;
                        losses.borrow_mut().push((loss, term.check()));
                    })
                    .await
                }
            });
            clock.advance(SECOND).await;
            assert!(matches!(a.status().role, Role::Leader(_)));
            *lock.at.lock().unwrap() = Some(at);
            clock.advance(P).await;
            let gone = Loss::DriverGone;
            assert_eq!(*losses.borrow(), [(gone, Err(gone))], "{at}");
            let error = run.now_or_never().expect("run ends").unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stopped);
            assert!(error.to_string().contains("panicked"), "{error}");
            assert_eq!((a.status().role, a.status().leader), (Role::Observer, Leader::Unknown));
        });
    }
    for at in ["read", "watch", "may_take"] {
        in_virtual_time(async |clock| {
            let lock = Panics { lock: MemoryLock::new("m"), at: Arc::default() };
            hold(&lock.lock).await;
            *lock.at.lock().unwrap() = Some(at);
            let a = elector(&lock, "a", &clock);
            let run = spawn_local(async move { a.run(async |_| {}).await });
            clock.advance(SECOND).await;
            let error = run.now_or_never().expect("run ends").unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stopped, "{at}");
        });
    }
}
