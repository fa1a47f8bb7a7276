//! The backend: one write in three disguises.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kube::api::PostParams;
use leasehold_backend::TokenFloor;
use leasehold_core::{
    BoxStream, Capabilities, Change, Error, Holder, Intent, LeaseClock, LockBackend, Observed,
    Outcome, Push, Record, Token, Version,
};
use serde_json::Value;

use crate::config::pod;
use crate::failure::{Failure, Reason};
use crate::form::{self, Form, claim};
use crate::name::Place;
use crate::object::Object;
use crate::reader::{Reader, TIMING};
use crate::shared::Watches;
use crate::{trial, watch};

/// Who gives up earlier has another reason than a slow answer.
const LONG: Duration = Duration::from_millis(500);

const TAKE: &str = "take the lock";
const READ: &str = "read the lock";

/// A lock in an object of the API server.
#[derive(Debug)]
pub struct KubernetesLock {
    name: String,
    reader: Reader,
    watches: Arc<Watches>,
    peer_lease_duration: Option<Duration>,
}

impl KubernetesLock {
    pub(crate) fn new(reader: Reader, watches: Arc<Watches>) -> Self {
        let name = format!("{}://{}", reader.form.scheme(), reader.place);
        Self { name, reader, watches, peer_lease_duration: None }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The same way, to another object.
    pub(crate) fn at(&self, place: Place) -> Self {
        let reader = Reader { place: place.into(), ..self.reader.clone() };
        Self::new(reader, self.watches.clone())
    }

    /// Tokens up to this may have been used, whatever the store says: after its etcd was restored.
    /// They are minted above.
    ///
    /// # Errors
    /// `Invalid`: above 2^63 - 2.
    pub fn token_floor(mut self, floor: Token) -> Result<Self, Error> {
        self.reader.token_floor = Some(TokenFloor::new(floor)?);
        Ok(self)
    }

    /// The lease duration with which peers are configured that wait that long whatever a record
    /// says: client-go 0.26 or older. A longer one of ours is refused.
    #[must_use]
    pub fn peer_lease_duration(mut self, duration: Duration) -> Self {
        self.peer_lease_duration = Some(duration);
        self
    }
}

#[async_trait]
impl LockBackend for KubernetesLock {
    fn name(&self) -> &str {
        &self.name
    }

    /// A policy of the cluster may let a pod hold a Lease in its own name only.
    fn default_identity(&self) -> Option<String> {
        pod()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            push: Push::Resumable,
            lease_clock: LeaseClock::Observers,
            sees_deaths: false,
            floor_is_history: true,
            forgets: false,
            min_lease_duration: match self.reader.form {
                Form::Lease => Duration::from_secs(1),
                // A renewal within the same second is invisible to client-go.
                Form::Endpoints => Duration::from_secs(2),
            },
            lease_duration_step: Duration::from_secs(1),
            default_timing: TIMING,
        }
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.reader.read().await.map_err(|failure| failure.during(READ))
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let operation = change.intent.operation();
        self.apply(expected, change).await.map_err(|failure| failure.during(operation))
    }

    async fn may_take(&self, candidate: &Holder) -> Result<(), Error> {
        trial::may_take(&self.reader, candidate).await.map_err(|failure| failure.during(TAKE))
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        watch::watch(self.reader.clone(), self.watches.clone(), after)
    }
}

/// A write that somebody may give up, who cannot know what makes only writes slow.
struct Waiting<'a> {
    reader: &'a Reader,
    since: Instant,
    is_over: bool,
}

impl Waiting<'_> {
    fn over(mut self) {
        self.is_over = true;
        self.reader.access.was_slow.store(false, Ordering::Relaxed);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        if !self.is_over
            && waited >= LONG
            && !self.reader.access.was_slow.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                lock = %self.reader.place,
                "a write had no answer within {waited:.1?}; if reads have one, an admission \
                 webhook delays writes: look at those for this object, or raise --request-timeout \
                 and with it --renew-deadline and --lease-duration"
            );
        }
    }
}

impl KubernetesLock {
    async fn apply(&self, expected: &Version, change: &Change) -> Result<Outcome, Failure> {
        let record = &change.record;
        self.check_duration(record)?;
        if let Some(why) = expected.cargo().and_then(|object| self.reader.form.is_closed(object)) {
            return Err(Failure::denied(why).with_cure(form::CLOSED));
        }
        let waiting = Waiting { reader: &self.reader, since: Instant::now(), is_over: false };
        let stored = match (expected.cargo::<Object>(), change.intent) {
            (Some(before), intent) => self.replace(before, record, intent == Intent::Take).await,
            (None, Intent::Adopt | Intent::Renew) if expected.is_absent() => {
                self.create(record).await
            }
            // Absent names no version, so nobody takes it, and nothing of a term is there to be
            // released.
            (None, _) => return Ok(Outcome::Conflict),
        };
        waiting.over();
        let stored = match stored {
            Ok(value) => self.reader.observed(value)?,
            // Gone, or at another version.
            Err(failure) if failure.reason == Reason::Conflict || self.reader.is_gone(&failure) => {
                return Ok(Outcome::Conflict);
            }
            Err(failure) => return Err(failure),
        };
        if stored.record().is_none_or(|stored| stored.nonce != record.nonce) {
            return Err(Failure::invalid(format!(
                "the API server stored something else than was sent: see to it that no admission \
                 webhook or policy changes the annotation {} or the claim",
                claim::ANNOTATION
            )));
        }
        Ok(Outcome::Written(stored))
    }

    fn check_duration(&self, record: &Record) -> Result<(), Failure> {
        match self.peer_lease_duration {
            Some(peer) if record.holder.is_some() && record.lease_duration > peer => {
                Err(Failure::invalid(format!(
                    "a lease of {:?} is longer than the {peer:?} that peers wait: choose a lease \
                     duration of at most that",
                    record.lease_duration
                )))
            }
            _ => Ok(()),
        }
    }

    /// PUT with the `resourceVersion` and the `uid` of what it replaces.
    async fn replace(
        &self,
        before: &Object,
        record: &Record,
        takes: bool,
    ) -> Result<Value, Failure> {
        let mut draft = before.draft();
        claim::put(self.reader.form, Some(before), &mut draft, record, takes)
            .map_err(Failure::invalid)?;
        self.reader.put(draft.into_bytes(), &PostParams::default()).await
    }

    async fn create(&self, record: &Record) -> Result<Value, Failure> {
        let mut draft = self.reader.form.draft(&self.reader.place);
        claim::put(self.reader.form, None, &mut draft, record, false).map_err(Failure::invalid)?;
        self.reader.make(draft.into_bytes(), &PostParams::default()).await
    }
}
