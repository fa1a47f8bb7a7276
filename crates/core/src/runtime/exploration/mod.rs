//! The handle of a term on several threads: checks, waits, renewals, drops and resignations in
//! every order that a scheduler can make of them. The word and the clock are where threads may
//! overtake each other; the channels between are tokio's own, each of whose operations is one step.
//!
//! Broken twins of the handle stand in its place in some cases, and their fault must be found
//! (`finds`).

pub(super) mod atomic;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::clock::{BoxFuture, Clock};
use crate::runtime::testing::VirtualClock;
use crate::time::{Time, Wall};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

thread_local! {
    static EXPLORING: Cell<bool> = const { Cell::new(false) };
}

/// Another thread of an exploration may come first here.
pub(crate) fn point() {
    if EXPLORING.get() {
        shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// A clock that threads may overtake each other at. It moves only when told.
#[derive(Clone, Debug, Default)]
pub(crate) struct PointedClock(VirtualClock);

impl PointedClock {
    pub(crate) fn pass(&self, duration: Duration) {
        point();
        self.0.suspend(duration);
        point();
    }
}

impl Clock for PointedClock {
    fn now(&self) -> Time {
        point();
        self.0.now()
    }

    fn wall(&self) -> Wall {
        self.0.wall()
    }

    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()> {
        point();
        self.0.sleep_until(at)
    }
}

/// Threads to run in many orders.
pub(crate) trait Case: Fn() + Clone + Send + Sync + 'static {}

impl<C: Fn() + Clone + Send + Sync + 'static> Case for C {}

/// Every order of steps, one after the other.
///
/// # Panics
/// The case does, in some order, or there are more than `most` orders.
pub(crate) fn explore_all(most: usize, case: impl Case) {
    let orders = run(DfsScheduler::new(Some(most), false), case);
    println!("{orders} orders");
    assert!(orders < most, "more than {most} orders: not all were tried");
}

/// Many orders, drawn from fixed seeds: at random, and such that few changes of thread bring about.
///
/// # Panics
/// The case does, in some order.
pub(crate) fn explore(orders: usize, case: impl Case) {
    run(RandomScheduler::new_from_seed(1, orders), case.clone());
    run(PctScheduler::new_from_seed(2, 3, orders), case);
}

/// Some order of steps must make this case fail, and say so.
///
/// # Panics
/// None does, or it fails of something else.
pub(crate) fn finds(complaint: &str, case: impl Case) {
    let outcome = catch_unwind(AssertUnwindSafe(|| explore(10_000, case)));
    let panic = outcome.expect_err("the fault was not found");
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(text.contains(complaint), "it fails of something else: {text}");
}

fn run(scheduler: impl Scheduler + 'static, case: impl Case) -> usize {
    struct Explores;
    impl Drop for Explores {
        fn drop(&mut self) {
            EXPLORING.set(false);
        }
    }
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(100_000);
    config.silence_warnings = true;
    let _explores = Explores;
    EXPLORING.set(true);
    Runner::new(scheduler, config).run(case)
}
