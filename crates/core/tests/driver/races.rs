//! Something happens at just that moment.

use super::*;

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
        // As the acknowledgement is taken in, before its deadline, the machine sleeps past the old
        // deadline (and not past the new one), and somebody checks.
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
