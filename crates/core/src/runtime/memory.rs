//! A lock in memory: the reference for every other backend, and for tests and demonstrations.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::backend::{
    BoxStream, Capabilities, Change, Contents, Expiry, Intent, LeaseClock, LockBackend, Observed,
    Outcome, Push, Version,
};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::record::{Holder, Record, Token};
use crate::time::Time;

/// How many states a watch can resume over; one that lags more gets the present one.
const LOG: usize = 8;

/// How many states a store that forgets remembers, to go back to.
const PAST: usize = 64;

/// One lock in this process. Clones share it. Lost with the process, and with it every token.
///
/// In every mode that a store can have, so that whatever is built on a lock can be tried in each:
///
/// ```
/// use leasehold_core::{MemoryLock, Push};
///
/// // As a file: changes are pushed, candidates count the lease.
/// let file = MemoryLock::new("jobs");
/// // As an object store: a change is only seen by reading.
/// let object = MemoryLock::builder("jobs").push(Push::None).build();
/// // As a store that replicates asynchronously: it may go back to an older state.
/// let replicated = MemoryLock::builder("jobs").push(Push::Hint).forgets().build();
/// replicated.go_back(1);
/// ```
#[derive(Clone, Debug)]
pub struct MemoryLock {
    inner: Arc<Inner>,
}

/// The mode of a [`MemoryLock`].
#[derive(Debug)]
#[must_use]
pub struct MemoryBuilder {
    name: String,
    push: Push,
    clock: Option<Arc<dyn Clock>>,
    forgets: bool,
}

#[derive(Debug)]
struct Inner {
    name: String,
    push: Push,
    /// The store's own clock, where it judges expiry.
    clock: Option<Arc<dyn Clock>>,
    forgets: bool,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts every state this lock was ever in, also one that came back.
    sequence: u64,
    contents: Option<Stored>,
    /// Counts the times the store went back.
    reign: u64,
    /// When the store frees the lock by itself.
    expires: Option<Time>,
    /// The highest token ever stored.
    floor: Token,
    log: VecDeque<Past>,
    /// Writing is not permitted.
    denied: bool,
}

#[derive(Clone, Debug)]
struct Stored {
    record: Record,
    /// The version: comes back with the record.
    number: u64,
    /// The reign in which it was written.
    reign: u64,
}

#[derive(Debug)]
struct Past {
    sequence: u64,
    contents: Option<Stored>,
    observed: Observed,
}

impl MemoryBuilder {
    /// The way in which changes are pushed; [`Push::Resumable`] if not chosen.
    pub fn push(self, push: Push) -> Self {
        Self { push, ..self }
    }

    /// The lock frees itself when its lease is over by `clock`, as on etcd.
    pub fn server_expiry(self, clock: impl Clock) -> Self {
        Self { clock: Some(Arc::new(clock)), ..self }
    }

    /// The store can [go back](MemoryLock::go_back) to an older state, as a store that replicates
    /// asynchronously does. Whatever it holds after that, and an absent lock always, is
    /// [`Expiry::Suspended`].
    pub fn forgets(self) -> Self {
        Self { forgets: true, ..self }
    }

    /// The lock.
    #[must_use]
    pub fn build(self) -> MemoryLock {
        let (changed, _) = watch::channel(0);
        let Self { name, push, clock, forgets } = self;
        let inner = Inner { name, push, clock, forgets, state: Mutex::default(), changed };
        MemoryLock { inner: Arc::new(inner) }
    }
}

impl MemoryLock {
    /// A lock whose candidates count the lease themselves, as on Kubernetes, a file or an object
    /// store.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::builder(name).build()
    }

    /// A lock in a mode of its own.
    pub fn builder(name: impl Into<String>) -> MemoryBuilder {
        let name = name.into();
        MemoryBuilder { name, push: Push::Resumable, clock: None, forgets: false }
    }

    /// A lock that frees itself when its lease is over by `clock`, as on etcd.
    #[must_use]
    pub fn with_server_expiry(name: impl Into<String>, clock: impl Clock) -> Self {
        Self::builder(name).server_expiry(clock).build()
    }

    /// Whether the lock may be taken from now on, for tests: if not, every write and the question
    /// whether one [may take](LockBackend::may_take) are answered with `Denied`.
    pub fn permit(&self, may_take: bool) {
        self.inner.lock().denied = !may_take;
    }

    /// Deletes the record, as an administrator might.
    pub fn delete(&self) {
        let mut state = self.inner.lock();
        self.inner.store(&mut state, None);
    }

    /// Restarts the store with the state that it had `changes` changes ago (at most 63), as happens
    /// when a replica that lags is promoted. A new reign begins, also with 0.
    ///
    /// # Panics
    /// The lock was built without [`forgets`](MemoryBuilder::forgets).
    pub fn go_back(&self, changes: usize) {
        assert!(self.inner.forgets, "this lock was built as one that does not forget");
        let mut state = self.inner.lock();
        let older = state.log.iter().rev().nth(changes).map(|past| past.contents.clone());
        let contents = if changes == 0 { state.contents.clone() } else { older.flatten() };
        state.reign += 1;
        self.inner.change(&mut state, contents);
    }
}

#[async_trait]
impl LockBackend for MemoryLock {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            push: self.inner.push,
            lease_clock: match self.inner.clock {
                Some(_) => LeaseClock::Store,
                None => LeaseClock::Observers,
            },
            forgets: self.inner.forgets,
            lease_duration_step: Duration::from_nanos(1),
            ..Capabilities::default()
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
        if change.intent == Intent::Revoke {
            self.inner.revoke(&mut state, &change.record);
            return Ok(Outcome::Written(self.inner.observed(&state)));
        }
        let present = self.inner.observed(&state).version;
        if *expected != present || expected.reign() != present.reign() {
            return Ok(Outcome::Conflict);
        }
        match (&self.inner.clock, change.intent) {
            (None, _) => self.inner.store(&mut state, Some(change.record.clone())),
            (Some(clock), intent) => {
                self.inner.serve(&mut state, intent, &change.record, clock.now());
            }
        }
        Ok(Outcome::Written(self.inner.observed(&state)))
    }

    async fn may_take(&self, _: &Holder) -> Result<(), Error> {
        self.inner.lock().permitted("take the lock")
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let position = match self.inner.push {
            Push::None => return Box::pin(futures_util::stream::pending()),
            // It reads once after it subscribed.
            Push::Hint => None,
            Push::Resumable => Some(after.version.cargo::<u64>().copied().unwrap_or_default()),
        };
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
            let why = "a test has forbidden it";
            let error = Error::new(ErrorKind::Denied, operation, why);
            return Err(error.with_cure("permit it again"));
        }
        Ok(())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observed(&self, state: &State) -> Observed {
        // "Absent" names no version: it is the same before and after a whole term. A record never
        // is.
        let version = match &state.contents {
            None => Version::absent(),
            // The number comes back with the record, and others may follow it.
            Some(stored) if self.forgets => {
                let nonce = stored.record.nonce.0.to_be_bytes();
                Version::bytes(&[&stored.number.to_be_bytes()[..], &nonce].concat())
            }
            Some(stored) => Version::number(stored.number),
        };
        let version = match self.forgets {
            true => version.in_reign(&state.reign.to_be_bytes()),
            false => version,
        };
        let vouched =
            !self.forgets || state.contents.as_ref().is_some_and(|c| c.reign == state.reign);
        let record = state.contents.as_ref().map(|stored| stored.record.clone());
        Observed {
            version: version.with_cargo(state.sequence),
            contents: record.map_or(Contents::Absent, Contents::Record),
            expiry: match self.clock {
                _ if !vouched => Expiry::Suspended,
                Some(_) => Expiry::ByServer,
                None => Expiry::ByObserver,
            },
            token_floor: Some(state.floor),
        }
    }

    fn store(&self, state: &mut State, record: Option<Record>) {
        state.floor = state.floor.max(record.as_ref().map_or(0, |record| record.token));
        let replaced = state.contents.as_ref().map(|stored| stored.number);
        let number = match self.forgets {
            true => replaced.unwrap_or(state.sequence) + 1,
            false => state.sequence + 1,
        };
        let reign = state.reign;
        self.change(state, record.map(|record| Stored { record, number, reign }));
    }

    fn change(&self, state: &mut State, contents: Option<Stored>) {
        state.contents = contents;
        state.sequence += 1;
        let past = Past {
            sequence: state.sequence,
            contents: state.contents.clone(),
            observed: self.observed(state),
        };
        if state.log.len() == if self.forgets { PAST } else { LOG } {
            state.log.pop_front();
        }
        state.log.push_back(past);
        self.changed.send_replace(state.sequence);
    }

    /// A store with a clock of its own has no unheld record: it mints the token, a renewal stores
    /// nothing, and a release deletes.
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
            Intent::Revoke => self.revoke(state, record),
        }
    }

    /// Ends what this very Take began, if that is what is stored.
    fn revoke(&self, state: &mut State, take: &Record) {
        let stored = state.contents.as_ref();
        if stored.is_some_and(|stored| stored.record.nonce == take.nonce) {
            state.expires = None;
            self.store(state, None);
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
    /// After which state it goes on; `None` before the first read of a watch that only hints.
    position: Option<u64>,
}

impl Reader {
    async fn next(&mut self) -> Option<Observed> {
        let inner = self.inner.clone();
        loop {
            self.changed.mark_unchanged();
            let expires = {
                let mut state = inner.lock();
                inner.expire(&mut state);
                if let Some(observed) = self.newer(&state) {
                    return Some(observed);
                }
                state.expires
            };
            let expiry = match (&inner.clock, expires) {
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

    /// The next state to report, which it then has reported.
    fn newer(&mut self, state: &State) -> Option<Observed> {
        if self.inner.push == Push::Hint {
            let is_new = self.position.is_none_or(|position| state.sequence > position);
            self.position = Some(state.sequence);
            return is_new.then(|| self.inner.observed(state));
        }
        let newer = state.log.iter().find(|past| Some(past.sequence) > self.position)?;
        self.position = Some(newer.sequence);
        Some(newer.observed.clone())
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

    #[tokio::test]
    async fn a_hint_is_what_is_stored_now() {
        let lock = MemoryLock::builder("m").push(Push::Hint).build();
        let first = store(&lock, 1).await;
        store(&lock, 2).await;
        let mut watch = lock.watch(&first);
        let mut next =
            || watch.next().now_or_never().flatten().map(|seen| seen.unwrap().record().cloned());
        assert_eq!(next().flatten(), Some(record(2)), "it reads once it has subscribed");
        store(&lock, 3).await;
        store(&lock, 4).await;
        assert_eq!(next().flatten(), Some(record(4)), "what came between is skipped");
        assert_eq!(next(), None);
    }

    #[tokio::test]
    async fn a_store_that_goes_back_shows_the_old_version_in_another_reign() {
        let lock = MemoryLock::builder("m").push(Push::None).forgets().build();
        let fresh = lock.read().await.unwrap();
        assert_eq!((fresh.expiry, fresh.version.is_absent()), (Expiry::Suspended, true));
        let first = store(&lock, 1).await;
        assert_eq!(first.expiry, Expiry::ByObserver);
        let second = store(&lock, 2).await;
        assert_eq!(second.version.reign(), first.version.reign());
        lock.go_back(1);
        let back = lock.read().await.unwrap();
        assert_eq!((&back.version, back.expiry), (&first.version, Expiry::Suspended));
        assert_ne!(back.version.reign(), first.version.reign());
        let late = Change { intent: Intent::Take, record: record(3) };
        assert_eq!(lock.write(&first.version, &late).await.unwrap(), Outcome::Conflict);
        let adopted = Change { intent: Intent::Adopt, record: record(1) };
        let Outcome::Written(adopted) = lock.write(&back.version, &adopted).await.unwrap() else {
            panic!("it names the present state");
        };
        assert_eq!(adopted.expiry, Expiry::ByObserver);
        assert_ne!(adopted.version, second.version, "another state of the same number");
        lock.go_back(0);
        assert_eq!(lock.read().await.unwrap().expiry, Expiry::Suspended);
    }
}
