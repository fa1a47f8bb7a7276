//! Other systems than Linux: a clock that counts suspend, and an alarm that waits in slices. What
//! threads wait on there does not count suspend: after a resume, a wait for a deadline that has
//! passed would go on for as long as before. So the clock is looked at again after every slice.

#![expect(clippy::disallowed_methods, reason = "this is the clock")]

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Time;

/// How late an alarm may be after a resume: less than the smallest clock margin, which covers what
/// a timer oversleeps.
const SLICE: Duration = Duration::from_millis(100);

/// Darwin's `CLOCK_MONOTONIC` "will continue to increment while the system is asleep" (its manual
/// page clock_gettime(3)); `Instant` reads `CLOCK_UPTIME_RAW`, which does not.
#[cfg(target_vendor = "apple")]
pub(super) fn now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).expect("this clock starts at zero");
    let nanos = u64::try_from(now.tv_nsec).expect("nanoseconds are positive");
    Time(seconds * 1_000_000_000 + nanos)
}

/// On Windows `Instant` reads `QueryPerformanceCounter`, whose count includes "the time when the
/// machine was in a sleep state such as standby, hibernate, or connected standby" (Microsoft,
/// "Acquiring high-resolution time stamps"). What it reads on other systems is not known to, and
/// [`Alarm::new`] fails there.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn now() -> Time {
    use std::sync::LazyLock;
    use std::time::Instant;

    /// An `Instant` shows no number: time is counted from the first look.
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let first = *FIRST;
    Time(1) + first.elapsed()
}

/// Whether the clock is known to count suspend.
const COUNTS_SUSPEND: bool = cfg!(any(target_vendor = "apple", windows));

pub(super) struct Alarm {
    at: Mutex<Time>,
    set: Condvar,
    now: fn() -> Time,
}

impl Alarm {
    /// # Errors
    /// `Unsupported`: this system has no clock that is known to count suspend.
    pub(super) fn new() -> io::Result<Self> {
        if COUNTS_SUSPEND {
            return Ok(Self::on(now));
        }
        let why = "no clock of this system is known to count the time that a machine is suspended; \
            give the elector or observer a clock of your own";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    fn on(now: fn() -> Time) -> Self {
        Self { at: Mutex::new(Time::NEVER), set: Condvar::new(), now }
    }

    /// Rings at `at`, and no longer at the moment it was set to before.
    pub(super) fn arm(&self, at: Time) {
        *self.at() = at;
        self.set.notify_one();
    }

    /// Returns when it rings.
    pub(super) fn wait(&self) {
        let mut at = self.at();
        loop {
            let left = at.since((self.now)());
            if left.is_zero() {
                *at = Time::NEVER;
                return;
            }
            at = if *at == Time::NEVER {
                self.set.wait(at).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.set.wait_timeout(at, left.min(SLICE));
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn at(&self) -> MutexGuard<'_, Time> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Instant;

    use super::*;

    /// Waits in another thread, and says when it rang.
    fn rings(alarm: &Arc<Alarm>) -> Receiver<()> {
        let (rang, ringing) = channel();
        let alarm = alarm.clone();
        std::thread::Builder::new()
            .spawn(move || {
                alarm.wait();
                let _ = rang.send(());
            })
            .unwrap();
        ringing
    }

    #[test]
    fn rings_at_its_moment_and_not_before() {
        let alarm = Arc::new(Alarm::on(now));
        let ringing = rings(&alarm);
        let at = now() + Duration::from_millis(250);
        alarm.arm(at);
        ringing.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(now() >= at);
    }

    #[test]
    fn the_last_setting_counts() {
        let alarm = Arc::new(Alarm::on(now));
        let ringing = rings(&alarm);
        alarm.arm(now() + Duration::from_secs(3600));
        std::thread::yield_now();
        alarm.arm(Time(1));
        ringing.recv_timeout(Duration::from_secs(30)).unwrap();
    }

    #[test]
    fn a_moment_that_passed_while_the_machine_slept_is_noticed_within_a_slice() {
        static CLOCK: AtomicU64 = AtomicU64::new(1_000_000_000);
        let alarm = Arc::new(Alarm::on(|| Time(CLOCK.load(Ordering::Acquire))));
        let ringing = rings(&alarm);
        alarm.arm(Time(1_000_000_000) + Duration::from_secs(3600));
        assert!(ringing.recv_timeout(2 * SLICE).is_err(), "an hour is left");
        // The clock went on, and what the thread waits on did not.
        let resumed = Instant::now();
        CLOCK.fetch_add(3_600_000_000_000, Ordering::Release);
        ringing.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(resumed.elapsed() < Duration::from_secs(30));
    }
}
