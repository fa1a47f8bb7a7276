//! For tests of time-dependent code: a clock that stands still until it is told to move.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::clock::{BoxFuture, Clock};
use crate::time::{Time, Wall};

/// A clock for tests. Clones share the time. On a current-thread runtime
/// [`advance`](Self::advance) lets everything that is due run, in order, without real waiting.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    now: Time,
    wall: Wall,
    sleepers: BTreeMap<(Time, u64), Waker>,
    next: u64,
}

impl Default for State {
    fn default() -> Self {
        let now = Time(1_000_000_000_000);
        Self { now, wall: Wall(1_700_000_000_000), sleepers: BTreeMap::new(), next: 0 }
    }
}

impl VirtualClock {
    /// A clock that stands still.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves time on by `duration`, stopping at every sleeper's moment to let tasks run.
    pub async fn advance(&self, duration: Duration) {
        let end = self.now() + duration;
        loop {
            settle().await;
            let mut state = self.lock();
            match state.sleepers.first_key_value() {
                Some((&(at, _), _)) if at <= end => state.move_to(at),
                _ => {
                    state.move_to(end);
                    break;
                }
            }
        }
        settle().await;
    }

    /// Jumps ahead without letting anything run in between, as a suspended machine or a stopped
    /// process does.
    pub fn suspend(&self, duration: Duration) {
        let mut state = self.lock();
        let end = state.now + duration;
        state.move_to(end);
    }

    /// Steps the wall clock, forwards or backwards. Nothing but what people read may change.
    pub fn step_wall(&self, wall: Wall) {
        self.lock().wall = wall;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn move_to(&mut self, at: Time) {
        let passed = at.since(self.now).as_millis();
        self.wall.0 = self.wall.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        self.now = self.now.max(at);
        let later = self.sleepers.split_off(&(self.now + Duration::from_nanos(1), 0));
        for waker in std::mem::replace(&mut self.sleepers, later).into_values() {
            waker.wake();
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Time {
        self.lock().now
    }

    fn wall(&self) -> Wall {
        self.lock().wall
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let mut key = None;
        Box::pin(poll_fn(move |context| {
            let mut state = clock.lock();
            if let Some(key) = key.take() {
                state.sleepers.remove(&key);
            }
            if state.now >= at {
                return Poll::Ready(());
            }
            let id = state.next;
            state.next += 1;
            state.sleepers.insert((at, id), context.waker().clone());
            key = Some((at, id));
            Poll::Pending
        }))
    }
}

/// Runs a test on one thread, in a time that moves only when [`advance`](VirtualClock::advance)
/// says so.
pub fn in_virtual_time<T>(test: impl AsyncFnOnce(VirtualClock) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime without drivers needs nothing");
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(test(VirtualClock::new())))
}

/// Lets every task that can run do so. On a current-thread runtime a yield runs all that are ready.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
