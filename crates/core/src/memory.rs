//! A lock in memory: the reference for every other backend, and for tests and demonstrations.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::backend::{
    BoxStream, Capabilities, Change, Contents, Expiry, Intent, LockBackend, Observed, Outcome,
    Push, Version,
};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::record::{Holder, Record, Token};
use crate::time::Time;
use crate::timing::TimingSettings;

/// How many states a watch can resume over; one that lags more gets the present one.
const LOG: usize = 8;

/// One lock in this process. Clones share it. Lost with the process, and with it every token.
#[derive(Clone, Debug)]
pub struct MemoryLock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    /// The store's own clock, where it judges expiry.
    clock: Option<Arc<dyn Clock>>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts every state this lock was ever in.
    sequence: u64,
    contents: Option<Record>,
    /// When the store frees the lock by itself.
    expires: Option<Time>,
    /// The highest token ever stored.
    floor: Token,
    log: VecDeque<(u64, Observed)>,
    /// Writing is not permitted.
    denied: bool,
}

impl MemoryLock {
    /// A lock whose candidates count the lease themselves, as on Kubernetes, a file or an object store.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::with(name.into(), None)
    }

    /// A lock that frees itself when its lease is over by `clock`, as on etcd.
    #[must_use]
    pub fn with_server_expiry(name: impl Into<String>, clock: impl Clock) -> Self {
        Self::with(name.into(), Some(Arc::new(clock)))
    }

    /// Whether the lock may be taken from now on, for tests: if not, every write and the question whether one
    /// [may take](LockBackend::may_take) are answered with `Denied`.
    pub fn permit(&self, may_take: bool) {
        self.inner.lock().denied = !may_take;
    }

    /// Deletes the record, as an administrator might.
    pub fn delete(&self) {
        let mut state = self.inner.lock();
        self.inner.store(&mut state, None);
    }

    fn with(name: String, clock: Option<Arc<dyn Clock>>) -> Self {
        let (changed, _) = watch::channel(0);
        let inner = Inner { name, clock, state: Mutex::default(), changed };
        Self { inner: Arc::new(inner) }
    }
}

#[async_trait]
impl LockBackend for MemoryLock {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            push: Push::Resumable,
            floor_is_history: false,
            forgets: false,
            min_lease_duration: Duration::ZERO,
            lease_duration_step: Duration::from_nanos(1),
            default_timing: TimingSettings::default(),
        }
    }

    async fn read(&self) -> Result<Observed, Error> {
        let mut state = self.inner.lock();
        self.inner.expire(&mut state);
        Ok(self.inner.observed(&state))
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let mut state = self.inner.lock();
        state.permitted("write the lock")?;
        self.inner.expire(&mut state);
        if *expected != self.inner.observed(&state).version {
            return Ok(Outcome::Conflict);
        }
        match (&self.inner.clock, change.intent) {
            (None, _) => self.inner.store(&mut state, Some(change.record.clone())),
            (Some(clock), intent) => {
                self.inner.serve(&mut state, intent, &change.record, clock.now())
            }
        }
        Ok(Outcome::Written(self.inner.observed(&state)))
    }

    async fn may_take(&self, _: &Holder) -> Result<(), Error> {
        self.inner.lock().permitted("take the lock")
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let position = after.version.cargo::<u64>().copied().unwrap_or_default();
        let reader =
            Reader { inner: self.inner.clone(), changed: self.inner.changed.subscribe(), position };
        Box::pin(futures_util::stream::unfold(reader, |mut reader| async move {
            let observed = reader.next().await?;
            Some((Ok(observed), reader))
        }))
    }
}

impl State {
    fn permitted(&self, operation: &'static str) -> Result<(), Error> {
        if self.denied {
            let why = "a test has forbidden it; permit it again";
            return Err(Error::new(ErrorKind::Denied, operation, why));
        }
        Ok(())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observed(&self, state: &State) -> Observed {
        // "Absent" names no version: it is the same before and after a whole term. A record never is.
        let version = match &state.contents {
            None => Version::absent(),
            Some(_) => Version::number(state.sequence),
        };
        Observed {
            version: version.with_cargo(state.sequence),
            contents: state.contents.clone().map_or(Contents::Absent, Contents::Record),
            expiry: if self.clock.is_some() { Expiry::ByServer } else { Expiry::ByObserver },
            token_floor: Some(state.floor),
        }
    }

    fn store(&self, state: &mut State, record: Option<Record>) {
        state.floor = state.floor.max(record.as_ref().map_or(0, |record| record.token));
        state.contents = record;
        state.sequence += 1;
        let observed = self.observed(state);
        if state.log.len() == LOG {
            state.log.pop_front();
        }
        state.log.push_back((state.sequence, observed));
        self.changed.send_replace(state.sequence);
    }

    /// A store with a clock of its own has no unheld record: it mints the token, a renewal stores nothing,
    /// and a release deletes.
    fn serve(&self, state: &mut State, intent: Intent, record: &Record, now: Time) {
        match intent {
            Intent::Release => {
                state.expires = None;
                self.store(state, None);
            }
            Intent::Renew => state.expires = Some(now + record.lease_duration),
            Intent::Adopt | Intent::Take => {
                state.expires = Some(now + record.lease_duration);
                let token = state.floor.max(state.sequence) + 1;
                self.store(state, Some(Record { token, ..record.clone() }));
            }
        }
    }

    fn expire(&self, state: &mut State) {
        let Some(clock) = &self.clock else { return };
        if state.expires.is_some_and(|at| clock.now() >= at) {
            state.expires = None;
            self.store(state, None);
        }
    }
}

struct Reader {
    inner: Arc<Inner>,
    changed: watch::Receiver<u64>,
    position: u64,
}

impl Reader {
    async fn next(&mut self) -> Option<Observed> {
        loop {
            self.changed.mark_unchanged();
            let expires = {
                let mut state = self.inner.lock();
                self.inner.expire(&mut state);
                let newer = state.log.iter().find(|(sequence, _)| *sequence > self.position);
                if let Some((sequence, observed)) = newer {
                    self.position = *sequence;
                    return Some(observed.clone());
                }
                state.expires
            };
            let expiry = match (&self.inner.clock, expires) {
                (Some(clock), Some(at)) => clock.sleep_until(at),
                _ => Box::pin(std::future::pending()),
            };
            tokio::select! {
                biased;
                changed = self.changed.changed() => changed.ok()?,
                () = expiry => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};
    use serde_json::Map;

    use super::*;
    use crate::record::Nonce;
    use crate::time::Wall;

    fn record(token: Token) -> Record {
        Record {
            holder: None,
            token,
            lease_duration: Duration::from_secs(15),
            nonce: Nonce(u128::from(token)),
            acquired: Wall(0),
            renewed: Wall(0),
            extra: Map::new(),
        }
    }

    async fn store(lock: &MemoryLock, token: Token) -> Observed {
        let expected = lock.read().await.unwrap().version;
        let change = Change { intent: Intent::Take, record: record(token) };
        match lock.write(&expected, &change).await.unwrap() {
            Outcome::Written(observed) => observed,
            Outcome::Conflict => panic!("nobody else writes"),
        }
    }

    #[tokio::test]
    async fn a_watch_resumes_after_what_was_seen_and_skips_nothing() {
        let lock = MemoryLock::new("m");
        let first = store(&lock, 1).await;
        for token in 2..=4 {
            store(&lock, token).await;
        }
        lock.delete();
        let mut watch = lock.watch(&first);
        let mut next =
            || watch.next().now_or_never().flatten().map(|seen| seen.unwrap().record().cloned());
        for token in 2..=4 {
            assert_eq!(next().flatten(), Some(record(token)));
        }
        assert_eq!(next(), Some(None), "deleted");
        assert_eq!(next(), None, "nothing more yet");
        store(&lock, 5).await;
        assert_eq!(next().flatten(), Some(record(5)));
    }
}
