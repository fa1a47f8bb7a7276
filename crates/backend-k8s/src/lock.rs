//! The backend: a read, and one write in three disguises.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kube::api::PostParams;
use kube::core::params::GetParams;
use kube::core::request::Request;
use leasehold_core::{
    BoxStream, Capabilities, Change, Contents, Error, ErrorKind, Expiry, Holder, Intent,
    LeaseClock, LockBackend, MAX_TOKEN, Observed, Outcome, Push, Record, TimingSettings, Token,
    Version,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::access::Access;
use crate::answer;
use crate::claim;
use crate::config::pod;
use crate::failure::{Failure, Reason};
use crate::form::Form;
use crate::name::Place;
use crate::object::Object;
use crate::watch;

/// Who gives up earlier has another reason than a slow answer.
const LONG: Duration = Duration::from_millis(500);

const OPEN: &str = "open the lock";
const READ: &str = "read the lock";

/// The end of every request, for callers that set no earlier one: an admission webhook may take 30 seconds.
const DEADLINE: Duration = Duration::from_secs(31);

/// An admission webhook that does not answer, and is configured to be ignored then, delays every write by its own timeout:
/// three seconds often, and two writes may be lost. So a request may take four.
pub(crate) const TIMING: TimingSettings = TimingSettings {
    lease_duration: Some(Duration::from_secs(21)),
    renew_deadline: Some(Duration::from_secs(15)),
    retry_period: Some(Duration::from_secs(3)),
    request_timeout: Some(Duration::from_secs(4)),
    stop_grace: None,
    clock_margin: None,
};

/// A lock in an object of the API server.
#[derive(Debug)]
pub struct KubernetesLock {
    name: String,
    api: Api,
}

/// A request that is ready to be sent.
pub(crate) type Prepared = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// The one object, and the way to it; a watch has its own.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) form: Form,
    pub(crate) place: Arc<Place>,
    pub(crate) access: Arc<Access>,
    token_floor: Option<Token>,
    peer_lease_duration: Option<Duration>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("form", &self.form).field("place", &self.place).finish()
    }
}

impl KubernetesLock {
    pub(crate) fn new(form: Form, place: Place, access: Arc<Access>) -> Self {
        let name = format!("{}://{place}", form.scheme());
        Self::of_api(name, Api::new(form, place, access))
    }

    pub(crate) fn of_api(name: String, api: Api) -> Self {
        Self { name, api }
    }

    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Tokens up to this may have been used, whatever the store says: after its etcd was restored. They are minted above.
    ///
    /// # Errors
    /// `Invalid`: above 2^63 - 1.
    pub fn token_floor(mut self, floor: Token) -> Result<Self, Error> {
        if floor >= MAX_TOKEN {
            let why = format!("token floor {floor} leaves no token above it: at most 2^63 - 1");
            return Err(Error::new(ErrorKind::Invalid, OPEN, why));
        }
        self.api.token_floor = Some(floor);
        Ok(self)
    }

    /// The lease duration with which peers are configured that wait that long whatever a record says: client-go 0.26 or
    /// older. A longer one of ours is refused.
    #[must_use]
    pub fn peer_lease_duration(mut self, duration: Duration) -> Self {
        self.api.peer_lease_duration = Some(duration);
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
            min_lease_duration: match self.api.form {
                Form::Lease => Duration::from_secs(1),
                // A renewal within the same second is invisible to client-go.
                Form::Endpoints => Duration::from_secs(2),
            },
            lease_duration_step: Duration::from_secs(1),
            default_timing: TIMING,
        }
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.api.read().await.map_err(|failure| failure.during(READ))
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let operation = change.intent.operation();
        self.api.write(expected, change).await.map_err(|failure| failure.during(operation))
    }

    async fn may_take(&self, candidate: &Holder) -> Result<(), Error> {
        self.api.may_take(candidate).await.map_err(|failure| failure.during("take the lock"))
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        watch::watch(self.api.clone(), after)
    }
}

/// A write that somebody may give up, who cannot know what makes only writes slow.
struct Waiting<'a> {
    api: &'a Api,
    since: Instant,
    is_over: bool,
}

impl Waiting<'_> {
    fn over(mut self) {
        self.is_over = true;
        self.api.access.was_slow.store(false, Ordering::Relaxed);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        if !self.is_over
            && waited >= LONG
            && !self.api.access.was_slow.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                lock = %self.api.place,
                "a write had no answer within {waited:.1?}; if reads have one, an admission webhook delays writes: look at those for this object, or raise --request-timeout and with it --renew-deadline and --lease-duration"
            );
        }
    }
}

impl Api {
    pub(crate) fn new(form: Form, place: Place, access: Arc<Access>) -> Self {
        let place = Arc::new(place);
        Self { form, place, access, token_floor: None, peer_lease_duration: None }
    }

    /// Asks without `resourceVersion`, so etcd's majority is asked.
    pub(crate) async fn read(&self) -> Result<Observed, Failure> {
        let request = self.requests().get(&self.place.name, &GetParams::default());
        match self.send(request).await {
            Ok(value) => self.observed(value),
            Err(failure) if self.is_gone(&failure) => Ok(self.absent(None)),
            // Somebody else's absence says nothing of this one.
            Err(failure) if failure.reason == Reason::NotFound => {
                Err(Failure::of_stranger(404, "it misses what was not asked for"))
            }
            Err(failure) => Err(failure),
        }
    }

    /// That this very object is not there.
    fn is_gone(&self, failure: &Failure) -> bool {
        let about = (self.form.resource().1, self.place.name.as_str());
        failure.reason == Reason::NotFound
            && failure.about.as_ref().map(|(kind, name)| (kind.as_str(), name.as_str()))
                == Some(about)
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Failure> {
        let record = &change.record;
        self.check_duration(record)?;
        if let Some(why) = expected.cargo().and_then(|object| self.form.is_closed(object)) {
            return Err(Failure::denied(why));
        }
        let waiting = Waiting { api: self, since: Instant::now(), is_over: false };
        let stored = match (expected.cargo::<Object>(), change.intent) {
            (Some(before), intent) => self.replace(before, record, intent == Intent::Take).await,
            (None, Intent::Adopt | Intent::Renew) if expected.is_absent() => {
                self.create(record).await
            }
            // Absent names no version, so nobody takes it, and nothing of a term is there to be released.
            (None, _) => return Ok(Outcome::Conflict),
        };
        waiting.over();
        let stored = match stored {
            Ok(value) => self.observed(value)?,
            // Gone, or at another version.
            Err(failure) if failure.reason == Reason::Conflict || self.is_gone(&failure) => {
                return Ok(Outcome::Conflict);
            }
            Err(failure) => return Err(failure),
        };
        if stored.record().is_none_or(|stored| stored.nonce != record.nonce) {
            return Err(Failure::invalid(format!(
                "the API server stored something else than was sent: see to it that no admission webhook or policy changes the annotation {} or the claim",
                claim::ANNOTATION
            )));
        }
        Ok(Outcome::Written(stored))
    }

    fn check_duration(&self, record: &Record) -> Result<(), Failure> {
        match self.peer_lease_duration {
            Some(peer) if record.holder.is_some() && record.lease_duration > peer => {
                Err(Failure::invalid(format!(
                    "a lease of {:?} is longer than the {peer:?} that peers wait: choose a lease duration of at most that",
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
        claim::put(self.form, Some(before), &mut draft, record, takes).map_err(Failure::invalid)?;
        self.put(draft.into_bytes(), &PostParams::default()).await
    }

    async fn create(&self, record: &Record) -> Result<Value, Failure> {
        let mut draft = self.form.draft(&self.place);
        claim::put(self.form, None, &mut draft, record, false).map_err(Failure::invalid)?;
        self.make(draft.into_bytes(), &PostParams::default()).await
    }

    /// A PUT of what is not there creates it, and needs the right for this very name only; a POST needs it for all.
    pub(crate) async fn make(&self, bytes: Vec<u8>, how: &PostParams) -> Result<Value, Failure> {
        if self.form.creates_by_put() {
            match self.put(bytes.clone(), how).await {
                Err(failure)
                    if matches!(failure.reason, Reason::NotFound | Reason::NoSuchMethod) => {}
                created => return created,
            }
        }
        self.send(self.requests().create(how, bytes)).await
    }

    pub(crate) async fn put(&self, bytes: Vec<u8>, how: &PostParams) -> Result<Value, Failure> {
        self.send(self.requests().replace(&self.place.name, how, bytes)).await
    }

    pub(crate) fn requests(&self) -> Request {
        Request::new(self.form.path(&self.place.namespace))
    }

    /// One request, and the JSON of its answer. Dropping it closes its connection.
    pub(crate) async fn send(&self, request: Prepared) -> Result<Value, Failure> {
        self.send_for(request, answer::OBJECT).await
    }

    /// The same, for an answer of up to so many bytes.
    pub(crate) async fn send_for(&self, request: Prepared, most: usize) -> Result<Value, Failure> {
        let request = request.map_err(|error| Failure::invalid(error.to_string()))?;
        let whole = async { answer::value(self.access.send(request).await?, most).await };
        match timeout(DEADLINE, whole).await {
            Ok(answer) => answer.map_err(|failure| self.failed(failure)),
            Err(_elapsed) => Err(Failure::unavailable(format!("no answer within {DEADLINE:?}"))),
        }
    }

    /// Who is not known any more comes with other credentials the next time.
    pub(crate) fn failed(&self, failure: Failure) -> Failure {
        if failure.reason == Reason::WrongLogin {
            self.access.refused();
        }
        failure
    }

    /// What an object says, and what its version is.
    pub(crate) fn observed(&self, value: Value) -> Result<Observed, Failure> {
        Ok(self.shown(&self.object(value)?))
    }

    /// The object, if it is the one that is asked for.
    pub(crate) fn object(&self, value: Value) -> Result<Object, Failure> {
        let metadata = &value["metadata"];
        let is_ours = value["kind"] == self.form.kind()
            && metadata["name"] == self.place.name.as_str()
            && metadata["namespace"] == self.place.namespace.as_str()
            && metadata["uid"].as_str().is_some_and(|uid| !uid.is_empty());
        if !is_ours {
            let said = format!("an object that is not the {} {}", self.form.kind(), self.place);
            return Err(Failure::of_stranger(200, &said));
        }
        Object::new(value).map_err(Failure::invalid)
    }

    /// What an object shows.
    pub(crate) fn shown(&self, object: &Object) -> Observed {
        let contents = claim::contents(self.form, object);
        let token_floor = self.floor(Some(object.revision()));
        let version = object.version();
        Observed { version, contents, expiry: Expiry::ByObserver, token_floor }
    }

    /// Nothing is there; the answer to a read does not say as of when, an event of a watch does.
    pub(crate) fn absent(&self, revision: Option<u64>) -> Observed {
        Observed {
            version: Version::absent(),
            contents: Contents::Absent,
            expiry: Expiry::ByObserver,
            token_floor: self.floor(revision),
        }
    }

    /// A floor that is set replaces nothing that is known: tokens are minted above both.
    fn floor(&self, revision: Option<u64>) -> Option<Token> {
        revision.map(|revision| revision.max(self.token_floor.unwrap_or(0)))
    }
}
