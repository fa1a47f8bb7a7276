//! What ends a term or a candidacy.

use super::*;

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

#[test]
fn an_acknowledgement_that_shows_something_else_gives_nobody_the_lock() {
    in_virtual_time(async |clock| {
        for shows in [Shows::Before, Shows::Nothing] {
            let lock = Scripted::new(Push::None);
            lock.tell(|script| script.shows = Some(shows));
            let a = elector(&lock, "a", &clock);
            let waiting = campaign(&a);
            clock.advance(10 * L).await;
            assert_eq!(a.status().role, Role::Candidate, "{shows:?}");
            let status = a.status();
            let error = status.store_error.expect("somebody must know").to_string();
            assert!(error.contains("contradicts its own promises"), "{error}");
            let counters = status.counters;
            // One write and one read for each retry period, and a few to begin with.
            let most = 2 * (10 * L.as_millis() / P.as_millis()) + 10;
            let requests = u128::from(counters.reads + counters.writes);
            assert!(requests <= most, "{requests} requests, {shows:?}");
            lock.tell(|script| script.shows = None);
            clock.advance(L).await;
            let held = waiting.now_or_never().expect("leads").unwrap().unwrap();
            assert!(held.token() > 0, "{shows:?}");
            drop(held);
        }
    });
}

#[test]
fn a_state_that_the_capabilities_rule_out_is_an_error_of_the_backend() {
    in_virtual_time(async |clock| {
        for expiry in [Expiry::ByServer, Expiry::Passed, Expiry::Suspended] {
            let lock = Scripted::new(Push::None);
            lock.tell(|script| script.expiry = Some(expiry));
            let told = told_to_run_and_campaign(&lock, &clock).await;
            assert_eq!(told, [ErrorKind::Invalid; 2], "{expiry:?}");
            assert!(lock.sent(Intent::Take).is_empty(), "{expiry:?}");
        }
    });
}
