//! A candidate's own clock, and the gate that stops its process.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leasehold_core::{BoxFuture, Clock, Time, Wall};

/// One part in a million.
const MILLION: u128 = 1_000_000;

/// Whether a candidate's process runs. Clones are one gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Mutex<Door>>);

#[derive(Debug, Default)]
struct Door {
    closed: bool,
    /// Counts who ever waited.
    next: u64,
    /// Whoever waits, by number.
    waiting: BTreeMap<u64, Waker>,
    /// Who may go on, and as the how manieth.
    released: BTreeMap<u64, u64>,
}

impl Gate {
    /// A process that runs.
    #[must_use]
    pub fn open() -> Self {
        Self(Arc::default())
    }

    /// Stops the process, or lets it go on.
    pub fn set(&self, runs: bool) {
        let released = {
            let mut door = self.lock();
            door.closed = !runs;
            let waiting = if runs { std::mem::take(&mut door.waiting) } else { BTreeMap::new() };
            door.released.extend(waiting.keys().copied().zip(0..));
            waiting
        };
        released.into_values().for_each(Waker::wake);
    }

    /// Resolves while the process runs. When it goes on it does one thing after the other, in the
    /// order in which it came to wait: a microsecond of this clock lies between.
    pub fn running(
        &self,
        clock: &Arc<dyn Clock>,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (gate, clock) = (self.clone(), clock.clone());
        async move {
            loop {
                let place = Waiting { gate: gate.clone(), number: None }.await;
                if place == 0 {
                    return;
                }
                clock.sleep_until(clock.now() + Duration::from_micros(place)).await;
                if !gate.lock().closed {
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody before the gate. Resolves with its place among those let through with it.
struct Waiting {
    gate: Gate,
    number: Option<u64>,
}

impl Future for Waiting {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let gate = self.gate.clone();
        let mut door = gate.lock();
        let place = self.number.and_then(|number| door.released.remove(&number));
        if !door.closed {
            return Poll::Ready(place.unwrap_or(0));
        }
        let number = *self.number.get_or_insert_with(|| {
            door.next += 1;
            door.next
        });
        door.waiting.insert(number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut door = self.gate.lock();
            door.waiting.remove(&number);
            door.released.remove(&number);
        }
    }
}

/// A clock that runs at a rate of its own, and whose sleepers wake only while their process runs.
#[derive(Clone)]
pub struct CandidateClock {
    base: Arc<dyn Clock>,
    gate: Gate,
    state: Arc<Mutex<State>>,
}

struct State {
    /// From here on the rate counts: the base's moment, and ours.
    anchor: (Time, Time),
    parts_per_million: u64,
    wall_offset: i64,
}

impl CandidateClock {
    /// A clock over this one, `rate` parts in a million as fast: 1,000,000 is alike.
    #[must_use]
    pub fn new(base: Arc<dyn Clock>, gate: Gate, parts_per_million: u64) -> Self {
        let now = base.now();
        let anchor = (now, now);
        let state = State { anchor, parts_per_million: parts_per_million.max(1), wall_offset: 0 };
        Self { base, gate, state: Arc::new(Mutex::new(state)) }
    }

    /// The moment of the case's clock at which this one shows `at`.
    #[must_use]
    pub fn to_base(&self, at: Time) -> Time {
        if at == Time::NEVER {
            return at;
        }
        let state = self.lock();
        let (base, own) = state.anchor;
        let passed = u128::from(at.0.saturating_sub(own.0)) * MILLION;
        let passed = passed.div_ceil(u128::from(state.parts_per_million));
        Time(base.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }

    /// Steps the wall clock by so many milliseconds from the true one.
    pub fn step_wall(&self, milliseconds: i64) {
        self.lock().wall_offset = milliseconds;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for CandidateClock {
    fn now(&self) -> Time {
        let state = self.lock();
        let (base, own) = state.anchor;
        let passed = u128::from(self.base.now().0.saturating_sub(base.0));
        let passed = passed * u128::from(state.parts_per_million) / MILLION;
        Time(own.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }

    fn wall(&self) -> Wall {
        Wall(self.base.wall().0.saturating_add_signed(self.lock().wall_offset))
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                if clock.now() >= at {
                    return clock.gate.running(&clock.base).await;
                }
                clock.base.sleep_until(clock.to_base(at)).await;
                clock.gate.running(&clock.base).await;
            }
        })
    }
}

impl fmt::Debug for CandidateClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CandidateClock")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use leasehold_core::testing::VirtualClock;

    use super::*;

    #[tokio::test]
    async fn runs_at_its_rate_and_wakes_only_while_its_process_runs() {
        let base = VirtualClock::new();
        let gate = Gate::open();
        let slow = CandidateClock::new(Arc::new(base.clone()), gate.clone(), 500_000);
        let begin = slow.now();
        let at = begin + Duration::from_secs(1);
        assert_eq!(slow.to_base(at), base.now() + Duration::from_secs(2));
        let mut sleep = slow.sleep_until(at);
        base.advance(Duration::from_millis(1999)).await;
        assert!((&mut sleep).now_or_never().is_none());
        gate.set(false);
        base.advance(Duration::from_secs(1)).await;
        assert!((&mut sleep).now_or_never().is_none(), "its process is stopped");
        assert!(slow.now() >= at, "time goes on meanwhile");
        gate.set(true);
        assert!((&mut sleep).now_or_never().is_some());
    }
}
