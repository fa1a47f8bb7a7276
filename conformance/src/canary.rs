//! How late the host wakes whoever sleeps: what a late verdict is worth.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long it sleeps at a time.
const NAP: Duration = Duration::from_millis(10);

/// Half of the clock margin at a lease of three seconds.
const TOO_SLOW: Duration = Duration::from_millis(125);

/// A thread that sleeps and looks at the time. Ends with this value.
#[derive(Debug)]
pub(crate) struct Canary {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    /// When it woke how much too late; only what is worth a note.
    late: Mutex<Vec<(Instant, Duration)>>,
}

impl Canary {
    pub(crate) fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let kept = shared.clone();
        thread::spawn(move || {
            while !kept.over.load(Ordering::Relaxed) {
                let slept = Instant::now();
                thread::sleep(NAP);
                let late = slept.elapsed().saturating_sub(NAP);
                if late > NAP / 2 {
                    kept.late().push((Instant::now(), late));
                }
            }
        });
        Self { shared }
    }

    /// The worst oversleep since that moment.
    pub(crate) fn worst_since(&self, since: Instant) -> Duration {
        let late = self.shared.late();
        let after = late.iter().filter(|(at, _)| *at >= since);
        after.map(|(_, late)| *late).max().unwrap_or_default()
    }

    /// Whether sleepers woke so late since that moment that a bound missed says nothing.
    pub(crate) fn is_too_slow_since(&self, since: Instant) -> bool {
        self.worst_since(since) > TOO_SLOW
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn late(&self) -> MutexGuard<'_, Vec<(Instant, Duration)>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
