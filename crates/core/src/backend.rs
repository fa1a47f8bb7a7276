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
use crate::timing::{StoreTraits, TimingSettings};

/// A boxed stream, as [`LockBackend::watch`] returns it.
pub type BoxStream<'a, T> = std::pin::Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// One named lock in a store.
///
/// What every backend must keep:
/// - A write names the exact version it replaces; a request that arrives arbitrarily late is
///   harmless.
/// - A backend keeps no state that a decision rests on, computes no validity, mints no tokens (a
///   store that mints its own aside) and never reads a peer's clock.
/// - A lost race is [`Outcome::Conflict`], an unknown outcome is `Err`, and neither is retried
///   here. A second identical, idempotent form may be sent inside one `write`; client-library
///   retries are off.
/// - Dropping a future aborts the request: after a timed-out request its connection or stream is
///   closed.
///
/// [`name`](Self::name), [`capabilities`](Self::capabilities), [`read`](Self::read) and
/// [`write`](Self::write) are required. A store without push whose candidates count leases
/// themselves needs nothing else. Codes in parentheses name the cases of the conformance suite that
/// check a rule; a case marked * runs only if the test gives the store an administrator or its
/// stored bytes, and one marked + is of the slow tier.
///
/// # By intent
/// Each is one conditional write of [`Change::record`] over `expected`. A store whose candidates
/// count leases ([`LeaseClock::Observers`]) stores the record as it is and never looks at the
/// intent. "There" means a store that ends leases itself ([`LeaseClock::Store`]).
/// - `Adopt`, over what was read: a record without holder and with token 0; where the state is
///   [`Expiry::Suspended`], the record that is there, or [`Holder::unknown`]. There: sent only
///   where the state is suspended.
/// - `Take`, over a record without holder or with an expired one: the candidate, and a token above
///   every known one. There: over absent; begins a lease, and mints a token above every earlier one
///   (FE1, FE3, FE4*).
/// - `Renew`, over this term's last version, or over absent after a deletion: the same holder and
///   token, a new nonce. There: extends the lease and may store nothing; `Conflict` if the lease is
///   over (EX1, EX3).
/// - `Release`, over this term's last version: no holder, the term's token. There: deletes the lock
///   (HO2, HO5).
/// - `Revoke`, sent only there: ends the lease of a Take whose answer was lost, found by its nonce.
///
/// # By outcome
/// - `Ok(Written)`: of any number of writes over one version at most one (Q1). Carries the state
///   with its new version, which no earlier state had, not even one with equal bytes (Q3) or one
///   before a deletion and a restart (Q5+).
/// - `Ok(Conflict)`: `expected` is not what is stored, so nothing was changed: over a wrong, an old
///   or a deleted version (Q2*, SE7+), and over our own bytes when the same request arrives twice
///   (LA3).
/// - `Err`: everything else, above all a request without an answer; the election reads what became
///   of it (RN5, LA2, HO4). The kind is by [`ErrorKind`](crate::ErrorKind). The suite refuses
///   requests on their way with each kind (RN8, OV1, SE4); it cannot make your server send them, so
///   test their mapping yourself.
///
/// # By method
/// - `read` shows at least the last acknowledged write: neither a cache nor a replica (Q4). Nothing
///   there is [`Contents::Absent`]; what [`Record::from_json`] refuses is [`Contents::Unreadable`]
///   (IN1*, IN3*). Fields that this version does not know are kept by the next write, in
///   [`Record::extra`] (UP1, RN6).
/// - Two names are two locks, or one is refused as `Invalid` when it is opened (BA4, BA5).
/// - `watch` never goes back and ends by an error when it cannot go on (WA1, WA3, WA4). One that is
///   silently dead costs time, not safety (WA2).
/// - `default_identity` and `may_take` may stay as they are. No case needs them on a store of your
///   own.
///
/// # By capability
/// - [`Push::None`]: `watch` may stay as it is. [`Push::Hint`]: its first item is a read.
///   [`Push::Resumable`]: every change after the given state, or an error if the store has
///   forgotten them (WA3).
/// - [`LeaseClock::Observers`]: every state is [`Expiry::ByObserver`]. [`LeaseClock::Store`]: every
///   state is [`Expiry::ByServer`], and a lease is never shorter than asked for (EX1, EX6+).
/// - `sees_deaths`: a dead holder's record is [`Expiry::Passed`], a living one's never (EX1, PA1).
/// - [`Observed::token_floor`] is at least every token that was ever used, so that tokens go on
///   after a deletion (FE4*); `None` if the store knows nothing of its past. With
///   `floor_is_history` it also never goes back, or the store was restored and contending stops.
/// - `forgets`: what may be of the past is [`Expiry::Suspended`], with reigns; see
///   [`Version::in_reign`].
#[async_trait]
pub trait LockBackend: fmt::Debug + Send + Sync + 'static {
    /// For people and logs; no secrets.
    fn name(&self) -> &str;

    /// The abilities of the store, fixed for its life.
    fn capabilities(&self) -> Capabilities;

    /// The identity of a candidate that nobody named, if the store expects a certain one. `None`:
    /// host name and process id will do.
    fn default_identity(&self) -> Option<String> {
        None
    }

    /// The present state. Linearizable, and without side effects: permission to read is enough.
    ///
    /// # Errors
    /// The state is unknown. What cannot be parsed is no error but [`Contents::Unreadable`].
    async fn read(&self) -> Result<Observed, Error>;

    /// Applies `change` if the lock is still at `expected`.
    ///
    /// [`Outcome::Written`] only if this very request replaced `expected`; our own bytes already
    /// stored are [`Outcome::Conflict`] (a copy of this process may have stored them; the election
    /// reads and decides).
    ///
    /// # Errors
    /// The outcome is unknown: the change may have been applied, or may be applied later.
    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error>;

    /// Whether `candidate`, with these credentials, could take this very lock, told without writing
    /// to it: a standby that can never lead must not look healthy until it is needed. `Ok` also
    /// where the store cannot tell.
    ///
    /// Asks the store at every call, and proves nothing for later: a right may be taken away.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied): a write would be refused now, with what must be
    /// granted. Any other kind: it is not known.
    async fn may_take(&self, candidate: &Holder) -> Result<(), Error> {
        let _ = candidate;
        Ok(())
    }

    /// What came after `after`.
    ///
    /// Hints: they may be late or end, but are never older than what was already yielded; safety
    /// never depends on them. A [`Push::Hint`] store's stream reads once after it subscribed and
    /// yields that first.
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
    /// What the store knows of its past: tokens at or below this may have been used. `None` knows
    /// nothing, and is never compared.
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

    /// When the holder that the record names last renewed, by its own wall clock. `None` where that
    /// is not stored: the store ends leases itself, so that a renewal writes nothing, or a foreign
    /// client does not tell.
    #[must_use]
    pub fn renewed(&self) -> Option<Wall> {
        let record = self.record().filter(|record| record.since().is_some())?;
        let is_stored = self.expiry != Expiry::ByServer && record.renewed != Wall(0);
        is_stored.then_some(record.renewed)
    }

    /// The fencing token of the holder that the record names; a foreign client's only where the
    /// store mints it.
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
    /// The store cannot vouch for this state (it may have forgotten): nobody takes before an
    /// adoption.
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

/// The purpose of a write. A store whose candidates count leases may ignore it; see
/// [`LockBackend`](LockBackend#by-intent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    /// Makes the present state trustworthy without taking it: a record without holder where nothing
    /// is, the same record re-anchored where the state is [`Expiry::Suspended`].
    Adopt,
    /// Begins a term.
    Take,
    /// Extends a term, or asserts it again where the record vanished.
    Renew,
    /// Ends a term: a record without holder.
    Release,
    /// Undoes a Take that may have been applied unseen, so that another may follow. Sent only to a
    /// store whose own clock ends leases ([`LeaseClock::Store`]); any other may treat all intents
    /// alike.
    ///
    /// The change repeats that Take's record, with its holder, and `expected` is what that Take
    /// named. The store ends the lease that this very Take began, found by its nonce whatever is
    /// stored under the lock's name now, and answers [`Outcome::Written`] also if there is none:
    /// afterwards that Take can no longer hold the lock.
    Revoke,
}

impl Intent {
    /// One word: `"take"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Take => "take",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Revoke => "revoke",
        }
    }

    /// The operation that an [`Error`] of such a write names: `"take the lock"`.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Self::Adopt => "adopt the lock",
            Self::Take => "take the lock",
            Self::Renew => "renew the lock",
            Self::Release => "release the lock",
            Self::Revoke => "undo an earlier take of the lock",
        }
    }
}

/// What became of a write whose answer arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This very request replaced the expected version. Carries what is stored now: a store may
    /// mint the token, keep the old nonce or grant another duration.
    Written(Observed),
    /// The lock was not at the expected version. Nothing was changed by this request.
    Conflict,
}

/// The abilities of a store, fixed for its life. Each names something that the election may rely
/// on; see [`LockBackend`](LockBackend#by-capability).
///
/// The default is a store that promises the least: no push, candidates that count leases, lease
/// durations in whole milliseconds (as [`Record::to_json`] stores them), and no flag set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether changes are pushed.
    pub push: Push,
    /// Whose clock ends a lease.
    pub lease_clock: LeaseClock,
    /// Whether the store knows that a holder's process died, and reports the lock as
    /// [`Expiry::Passed`] at once.
    pub sees_deaths: bool,
    /// Whether `token_floor` is the store's own history, so that a lower one from a read means that
    /// the store was rewound.
    pub floor_is_history: bool,
    /// Whether a restart or a fail-over may bring back an older state. Such a state is
    /// [`Expiry::Suspended`] until it was adopted, which gives it a new version, and so is an
    /// absent lock. Versions should name the store's reign: see [`Version::in_reign`].
    pub forgets: bool,
    /// The shortest lease duration the store can keep.
    pub min_lease_duration: Duration,
    /// Lease durations are rounded up to a multiple of this.
    pub lease_duration_step: Duration,
    /// Timing that suits the store, used where the caller sets none.
    pub default_timing: TimingSettings,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            push: Push::None,
            lease_clock: LeaseClock::Observers,
            sees_deaths: false,
            floor_is_history: false,
            forgets: false,
            min_lease_duration: Duration::ZERO,
            lease_duration_step: Duration::from_millis(1),
            default_timing: TimingSettings::default(),
        }
    }
}

impl Capabilities {
    /// Whether the store's own clock ends leases.
    #[must_use]
    pub fn ends_leases(&self) -> bool {
        self.lease_clock == LeaseClock::Store
    }

    /// The properties that the worst cases and the number of requests depend on.
    #[must_use]
    pub fn traits(&self) -> StoreTraits {
        StoreTraits { push: self.push != Push::None, by_server: self.ends_leases() }
    }
}

/// Whose clock ends a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseClock {
    /// Each candidate's own: it counts the record's lease duration from the moment it received the
    /// record ([`Expiry::ByObserver`]).
    Observers,
    /// The store's: it removes the lock when the lease is over ([`Expiry::ByServer`]). Such a store
    /// has no record without holder, mints the token of a Take itself, and honours
    /// [`Intent::Revoke`].
    Store,
}

/// How a store reports changes. Safety never depends on it: a push only makes hand-overs faster and
/// reads rarer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Push {
    /// Not at all: followers poll, and [`LockBackend::watch`] is never used.
    None,
    /// Something changed: the watch reads and yields what it read, first once it has subscribed.
    /// Changes in between may be skipped.
    Hint,
    /// Every change after the given state, in order; or an error if the store no longer has them.
    Resumable,
}

/// Names one state of a lock exactly. Opaque: equal or not, without order.
///
/// May carry what its backend needs to write again (a whole object, a lease id), which is not
/// compared.
#[derive(Clone)]
pub struct Version {
    key: Key,
    reign: Option<Reign>,
    cargo: Option<Arc<dyn Any + Send + Sync>>,
}

/// A stretch of a store's life in which its states never go back; see [`Version::in_reign`].
pub(crate) type Reign = Arc<[u8]>;

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
        Self { key: Key::Absent, reign: None, cargo: None }
    }

    /// A version that a store numbers.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self { key: Key::Number(number), reign: None, cargo: None }
    }

    /// A version that a store names by bytes, such as an ETag.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        Self { key: Key::Bytes(bytes.into()), reign: None, cargo: None }
    }

    /// The same version, read in this reign of the store.
    ///
    /// A store that [`forgets`](Capabilities::forgets) names with every version the reign in which
    /// it was read: bytes that change whenever the store may have gone back to an older state (a
    /// restart, a promotion). Within one reign a later read never gives an older state, and a write
    /// that names a version of another reign is [`Outcome::Conflict`]. Reigns are not part of a
    /// version's equality: the same state may be read in two of them. Other stores name none.
    #[must_use]
    pub fn in_reign(self, reign: &[u8]) -> Self {
        Self { reign: Some(reign.into()), ..self }
    }

    /// The reign in which this version was read, if its store names reigns.
    #[must_use]
    pub fn reign(&self) -> Option<&[u8]> {
        self.reign.as_deref()
    }

    pub(crate) fn shared_reign(&self) -> Option<Reign> {
        self.reign.clone()
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
