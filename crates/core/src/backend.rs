//! The contract between the election and a store: a compare-and-swap register.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;

use crate::error::Error;
use crate::record::{Holder, Record, Token};
use crate::time::Wall;
use crate::timing::TimingSettings;

/// A boxed stream, as [`LockBackend::watch`] returns it.
pub type BoxStream<'a, T> = std::pin::Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// One named lock in a store.
///
/// What every backend must keep:
/// - A write names the exact version it replaces; a request that arrives arbitrarily late is harmless.
/// - A backend keeps no state that a decision rests on, computes no validity, mints no tokens (a store that
///   mints its own aside) and never reads a peer's clock.
/// - A lost race is [`Outcome::Conflict`], an unknown outcome is `Err`, and neither is retried here. A second
///   identical, idempotent form may be sent inside one `write`; client-library retries are off.
/// - Dropping a future aborts the request: after a timed-out request its connection or stream is closed.
#[async_trait]
pub trait LockBackend: fmt::Debug + Send + Sync + 'static {
    /// For people and logs; no secrets.
    fn name(&self) -> &str;

    /// What the store can do, fixed for its life.
    fn capabilities(&self) -> Capabilities;

    /// The present state. Linearizable, and without side effects: permission to read is enough.
    ///
    /// # Errors
    /// The state is unknown. What cannot be parsed is no error but [`Contents::Unreadable`].
    async fn read(&self) -> Result<Observed, Error>;

    /// Applies `change` if the lock is still at `expected`.
    ///
    /// [`Outcome::Written`] only if this very request replaced `expected`; our own bytes already stored are
    /// [`Outcome::Conflict`] (a copy of this process may have stored them; the election reads and decides).
    ///
    /// # Errors
    /// The outcome is unknown: the change may have been applied, or may be applied later.
    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error>;

    /// Whether `candidate`, with these credentials, could take this very lock, told without writing to it: a standby
    /// that can never lead must not look healthy until it is needed. `Ok` also where the store cannot tell.
    ///
    /// Asks the store at every call, and proves nothing for later: a right may be taken away.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied): a write would be refused now, with what must be granted. Any other kind:
    /// it is not known.
    async fn may_take(&self, candidate: &Holder) -> Result<(), Error> {
        let _ = candidate;
        Ok(())
    }

    /// What came after `after`.
    ///
    /// Hints: they may be late or end, but are never older than what was already yielded; safety never
    /// depends on them. A [`Push::Hint`] store's stream reads once after it subscribed and yields that first.
    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let _ = after;
        Box::pin(Pending)
    }
}

/// The stream of a store that cannot push.
struct Pending;

impl Stream for Pending {
    type Item = Result<Observed, Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

/// The state of a lock as a store gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Names exactly this state in a later write.
    pub version: Version,
    /// What is stored.
    pub contents: Contents,
    /// Who judges whether the holder is still alive.
    pub expiry: Expiry,
    /// What the store knows of its past: tokens at or below this may have been used. `None` knows nothing, and is
    /// never compared.
    pub token_floor: Option<Token>,
}

impl Observed {
    /// The record, if there is a readable one.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.contents {
            Contents::Record(record) => Some(record),
            Contents::Absent | Contents::Unreadable(_) => None,
        }
    }

    /// When the holder that the record names last renewed, by its own wall clock. `None` where that is not stored: the
    /// store ends leases itself, so that a renewal writes nothing, or a foreign client does not tell.
    #[must_use]
    pub fn renewed(&self) -> Option<Wall> {
        let record = self.record().filter(|record| record.since().is_some())?;
        let is_stored = self.expiry != Expiry::ByServer && record.renewed != Wall(0);
        is_stored.then_some(record.renewed)
    }

    /// The fencing token of the holder that the record names; a foreign client's only where the store mints it.
    #[must_use]
    pub fn holders_token(&self) -> Option<Token> {
        let record = self.record()?;
        let is_ours = record.holder.as_ref()?.incarnation.is_some();
        (is_ours || self.expiry == Expiry::ByServer).then_some(record.token)
    }
}

/// What is stored under a lock's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Contents {
    /// Nothing.
    Absent,
    /// A record this program understands.
    Record(Record),
    /// Something else; the text says what is wrong with it. Never overwritten.
    Unreadable(String),
}

/// Who judges whether a holder is still alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// The store keeps no clock: count the record's lease duration from its receipt.
    ByObserver,
    /// Present is alive, absent is free; a follower's timer only triggers a read.
    ByServer,
    /// The store knows that the holder is gone (its process died on this host): free at once.
    Passed,
    /// The store cannot vouch for this state (it may have forgotten): nobody takes before an adoption.
    Suspended,
}

/// One write. Owned, so that an operation is a `'static` future.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// What the write is for; lets a store use its cheapest form.
    pub intent: Intent,
    /// What is to be stored.
    pub record: Record,
}

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    /// Makes the present state trustworthy without taking it: a record without holder where nothing is,
    /// the same record re-anchored where the state is [`Expiry::Suspended`].
    Adopt,
    /// Begins a term.
    Take,
    /// Extends a term, or asserts it again where the record vanished.
    Renew,
    /// Ends a term: a record without holder.
    Release,
}

/// What became of a write whose answer arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This very request replaced the expected version. Carries what is stored now: a store may mint the
    /// token, keep the old nonce or grant another duration.
    Written(Observed),
    /// The lock was not at the expected version. Nothing was changed by this request.
    Conflict,
}

/// What a store can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether changes are pushed.
    pub push: Push,
    /// Whether `token_floor` is the store's own history, so that a lower one from a read means that the
    /// store was rewound.
    pub floor_is_history: bool,
    /// Whether a restart or failover may bring back an older state. Such a state is [`Expiry::Suspended`] until
    /// it was adopted, which gives it a new version; a record of ours that comes back that way proves nothing
    /// about who came between.
    pub forgets: bool,
    /// The shortest lease duration the store can keep.
    pub min_lease_duration: Duration,
    /// Lease durations are rounded up to a multiple of this.
    pub lease_duration_step: Duration,
    /// Timing that suits the store, used where the caller sets none.
    pub default_timing: TimingSettings,
}

/// How a store tells of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Push {
    /// Not at all: followers poll.
    None,
    /// Something changed: the watch reads and yields what it read. Changes in between may be skipped.
    Hint,
    /// Every change after the given one.
    Resumable,
}

/// Names one state of a lock exactly. Opaque: equal or not, without order.
///
/// May carry what its backend needs to write again (a whole object, a lease id), which is not compared.
#[derive(Clone)]
pub struct Version {
    key: Key,
    cargo: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Absent,
    Number(u64),
    Bytes(Arc<[u8]>),
}

impl Version {
    /// The version of a lock that is not there.
    #[must_use]
    pub fn absent() -> Self {
        Self { key: Key::Absent, cargo: None }
    }

    /// A version that a store numbers.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self { key: Key::Number(number), cargo: None }
    }

    /// A version that a store names by bytes, such as an ETag.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        Self { key: Key::Bytes(bytes.into()), cargo: None }
    }

    /// The same version, carrying what its backend needs to write again.
    #[must_use]
    pub fn with_cargo<T: Any + Send + Sync>(self, cargo: T) -> Self {
        Self { cargo: Some(Arc::new(cargo)), ..self }
    }

    /// Whether this names a lock that is not there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.key == Key::Absent
    }

    /// The number, if the store numbers versions.
    #[must_use]
    pub fn as_number(&self) -> Option<u64> {
        match self.key {
            Key::Number(number) => Some(number),
            Key::Absent | Key::Bytes(_) => None,
        }
    }

    /// The bytes, if the store names versions by bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.key {
            Key::Bytes(bytes) => Some(bytes),
            Key::Absent | Key::Number(_) => None,
        }
    }

    /// What [`with_cargo`](Self::with_cargo) put aboard.
    #[must_use]
    pub fn cargo<T: Any>(&self) -> Option<&T> {
        self.cargo.as_deref().and_then(|cargo| cargo.downcast_ref())
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}
