//! Whether a user's store answers while cases run: what fails on a store that is away says nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::timing::Clock;
use leasehold::{Error, ErrorKind};

use crate::stores::Target;

/// Between two looks, and how long one may take: longer than a store needs that a case floods.
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// A thread that reads a lock again and again. Ends with this value.
#[derive(Debug)]
pub(crate) struct Pulse {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when no look succeeded, by the first that failed.
    away_since: Option<Instant>,
    /// Why the last failed look did.
    why: Option<String>,
}

impl Pulse {
    pub(crate) fn start(
        target: Arc<dyn Target>,
        lock: &'static str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let kept = shared.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Without one nothing can be looked at, and no case runs either.
            let Ok(runtime) = runtime else { return };
            // Opened here: a client's connections live in the runtime that opened them.
            let lock = match runtime.block_on(target.open(lock, &clock)) {
                Ok(lock) => lock,
                Err(error) => return kept.state().note(Instant::now(), Err::<(), _>(error)),
            };
            while !kept.over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let look =
                    runtime.block_on(async { tokio::time::timeout(PATIENCE, lock.read()).await });
                kept.state().note(began, look.unwrap_or_else(|_elapsed| Err(silent())));
                thread::sleep(PAUSE);
            }
        });
        Self { shared }
    }

    /// For how long the store has not answered by now.
    pub(crate) fn away_for(&self) -> Option<Duration> {
        self.shared.state().away_since.map(|since| since.elapsed())
    }

    /// Why a look failed, if one did.
    pub(crate) fn failed(&self) -> Option<String> {
        self.shared.state().why.clone()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note<T>(&mut self, began: Instant, look: Result<T, Error>) {
        match look {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                self.away_since.get_or_insert(began);
                self.why = Some(error.to_string());
            }
            // Any other word is an answer.
            Ok(_) | Err(_) => self.away_since = None,
        }
    }
}

fn silent() -> Error {
    let why = format!("no answer within {PATIENCE:?}");
    Error::new(ErrorKind::Unavailable, "read the lock", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_remembered_after_it_ended() {
        let mut state = State::default();
        let began = Instant::now();
        state.note(began, Ok(()));
        assert!(state.away_since.is_none() && state.why.is_none());
        state.note(began, Err::<(), _>(silent()));
        state.note(Instant::now(), Err::<(), _>(silent()));
        assert_eq!(state.away_since, Some(began));
        state.note(began, Err::<(), _>(Error::new(ErrorKind::Denied, "read", "no")));
        assert_eq!(state.away_since, None, "a refusal is an answer");
        assert!(state.why.is_some());
    }
}
