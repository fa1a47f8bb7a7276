//! The machine's boot clock: what it reads, and one thread that wakes whoever sleeps on it.
//!
//! - `timerfd.rs`: the clock and the alarm of Linux.
//! - `slices.rs`: those of other systems, whose alarms do not count suspend.

#![expect(clippy::disallowed_methods, reason = "this is the clock")]

#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
#[cfg_attr(any(target_os = "linux", target_os = "android"), expect(dead_code, reason = "tested"))]
mod slices;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod timerfd;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use crate::clock::{BoxFuture, Clock};
use crate::error::{Error, ErrorKind};
use crate::time::{Time, Wall};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use slices::{Alarm, now};
#[cfg(any(target_os = "linux", target_os = "android"))]
use timerfd::{Alarm, now};

/// The machine's boot clock, which counts suspend.
///
/// | System | Clock | A deadline that passed during a suspend fires |
/// |---|---|---|
/// | Linux | `CLOCK_BOOTTIME` | at resume |
/// | macOS | `CLOCK_MONOTONIC`, which goes on while the system sleeps | within 0.1 s of resume |
/// | Windows | `QueryPerformanceCounter`, which counts standby | within 0.1 s of resume |
/// | others | none that is known to count suspend: [`started`](Self::started) fails | |
///
/// Sleeps are kept by one thread, started at the first sleep. Clones share the thread: a process
/// with many electors gives all of them clones of one clock.
#[derive(Clone, Default)]
pub struct BootClock {
    sleepers: Arc<Sleepers>,
}

#[derive(Default)]
struct Sleepers {
    timer: Mutex<Option<Arc<Timer>>>,
}

impl BootClock {
    /// A clock with a thread of its own, not yet started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A clock whose timer and thread have been started, so that a lack of either shows before
    /// anything relies on it.
    ///
    /// # Errors
    /// `Unavailable`: there is no descriptor, thread or memory left. `Invalid`: this system has no
    /// such clock or timer. Give [`Builder::clock`](crate::Builder::clock) one of your own there.
    pub fn started() -> Result<Self, Error> {
        let clock = Self::new();
        clock
            .sleepers
            .timer()
            .map_err(|error| Error::new(kind_of(&error), "start a clock", error))?;
        Ok(clock)
    }
}

impl fmt::Debug for BootClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootClock")
    }
}

impl Clock for BootClock {
    fn now(&self) -> Time {
        now()
    }

    fn wall(&self) -> Wall {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Wall(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        Box::pin(Sleep { clock: self.clone(), at, key: None })
    }
}

impl Sleepers {
    /// # Errors
    /// No descriptor or no thread is to be had just now.
    fn timer(&self) -> io::Result<Arc<Timer>> {
        let mut timer = lock(&self.timer);
        if let Some(timer) = &*timer {
            return Ok(timer.clone());
        }
        Ok(timer.insert(Timer::start()?).clone())
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        if let Some(timer) = lock(&self.timer).take() {
            let mut pending = lock(&timer.pending);
            pending.closed = true;
            timer.alarm.arm(Time(1));
        }
    }
}

struct Timer {
    alarm: Alarm,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    wakers: BTreeMap<(Time, u64), Waker>,
    next: u64,
    closed: bool,
}

impl Timer {
    fn start() -> io::Result<Arc<Self>> {
        let timer = Arc::new(Self { alarm: Alarm::new()?, pending: Mutex::default() });
        let kept = timer.clone();
        std::thread::Builder::new()
            .name("leasehold-clock".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || kept.run())
            .map_err(|error| during("start a thread", &error))?;
        Ok(timer)
    }

    fn run(&self) {
        loop {
            self.alarm.wait();
            let mut pending = lock(&self.pending);
            if pending.closed {
                return;
            }
            let later = pending.wakers.split_off(&(now() + Duration::from_nanos(1), 0));
            let due = std::mem::replace(&mut pending.wakers, later);
            if let Some((&(at, _), _)) = pending.wakers.first_key_value() {
                self.alarm.arm(at);
            }
            drop(pending);
            due.into_values().for_each(Waker::wake);
        }
    }
}

/// One sleep. Its entry in the timer goes with it.
struct Sleep {
    clock: BootClock,
    at: Time,
    key: Option<(Arc<Timer>, u64)>,
}

impl Sleep {
    fn forget(&mut self) {
        if let Some((timer, id)) = self.key.take() {
            lock(&timer.pending).wakers.remove(&(self.at, id));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if now() >= self.at {
            return Poll::Ready(());
        }
        if self.at == Time::NEVER {
            return Poll::Pending;
        }
        self.forget();
        let Ok(timer) = self.clock.sleepers.timer() else {
            nap(context.waker().clone());
            return Poll::Pending;
        };
        let mut pending = lock(&timer.pending);
        let id = pending.next;
        pending.next += 1;
        pending.wakers.insert((self.at, id), context.waker().clone());
        let first = pending.wakers.first_key_value().map(|(&(at, _), _)| at);
        if first == Some(self.at) {
            timer.alarm.arm(self.at);
        }
        drop(pending);
        self.key = Some((timer, id));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Without a timer: looks again soon, so that a process short of descriptors is late and not dead.
fn nap(waker: Waker) {
    let again = waker.clone();
    let napping = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        again.wake();
    });
    if napping.is_err() {
        waker.wake();
    }
}

fn during(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// What is not there will not come by waiting; what ran out may.
fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::Unsupported
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::InvalidInput => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeps_resolve_in_order_and_not_early() {
        let clock = BootClock::new();
        let start = clock.now();
        let (late, early) = (start + Duration::from_millis(40), start + Duration::from_millis(20));
        let slept_late = tokio::spawn(clock.sleep_until(late));
        let dropped = clock.sleep_until(start + Duration::from_millis(5));
        clock.sleep_until(early).await;
        assert!(clock.now() >= early);
        assert!(!slept_late.is_finished() || clock.now() >= late);
        slept_late.await.unwrap();
        assert!(clock.now() >= late);
        drop(dropped);
    }

    fn poll_once(sleep: &mut BoxFuture<'static, ()>) {
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
    }

    fn started(clock: &BootClock) -> Arc<Timer> {
        lock(&clock.sleepers.timer).clone().expect("a sleep was begun")
    }

    #[test]
    fn a_sleep_that_is_forgotten_leaves_nothing() {
        let clock = BootClock::new();
        let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(60));
        poll_once(&mut sleep);
        poll_once(&mut sleep);
        let timer = started(&clock);
        assert_eq!(lock(&timer.pending).wakers.len(), 1);
        drop(sleep);
        assert_eq!(lock(&timer.pending).wakers.len(), 0);
    }

    #[test]
    fn the_thread_ends_with_the_last_clone() {
        let clock = BootClock::new();
        let sleep = &mut clock.sleep_until(clock.now() + Duration::from_secs(60));
        poll_once(sleep);
        let timer = Arc::downgrade(&started(&clock));
        let kept = clock.clone();
        drop(clock);
        assert!(!lock(&timer.upgrade().unwrap().pending).closed, "a clone is left");
        drop((kept, std::mem::replace(sleep, Box::pin(std::future::ready(())))));
        // The thread keeps the timer for as long as it runs.
        for _ in 0..500 {
            if timer.strong_count() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it runs on");
    }
}
