//! The backend: a read, and one write in three disguises.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kube::api::PostParams;
use kube::core::params::GetParams;
use kube::core::request::Request;
use leasehold_core::{
    BoxStream, Capabilities, Change, Contents, Error, ErrorKind, Expiry, Intent, LockBackend,
    MAX_TOKEN, Observed, Outcome, Push, Record, TimingSettings, Token, Version,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::claim;
use crate::failure::{Failure, Reason};
use crate::form::Form;
use crate::name::Place;
use crate::object::Object;
use crate::options::Access;
use crate::watch;

const OPEN: &str = "open the lock";
const READ: &str = "read the lock";

/// The end of every request, for callers that set no earlier one.
const DEADLINE: Duration = Duration::from_secs(6);

/// A lock in an object of the API server.
#[derive(Debug)]
pub struct KubernetesLock {
    name: String,
    api: Api,
}

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

    /// The lease duration with which peers are configured that wait that long whatever a record says: client-go 0.22 or
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

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            push: Push::Resumable,
            floor_is_history: true,
            forgets: false,
            min_lease_duration: match self.api.form {
                Form::Lease => Duration::from_secs(1),
                // A renewal within the same second is invisible to client-go.
                Form::Endpoints => Duration::from_secs(2),
            },
            lease_duration_step: Duration::from_secs(1),
            default_timing: TimingSettings::default(),
        }
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.api.read().await.map_err(|failure| failure.during(READ))
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let operation = match change.intent {
            Intent::Adopt => "adopt the lock",
            Intent::Take => "take the lock",
            Intent::Renew => "renew the lock",
            Intent::Release => "release the lock",
        };
        self.api.write(expected, change).await.map_err(|failure| failure.during(operation))
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        watch::watch(self.api.clone(), after)
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
            Err(failure) if failure.reason == Reason::NotFound => Ok(self.absent(None)),
            Err(failure) => Err(failure),
        }
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Failure> {
        let record = &change.record;
        self.check_duration(record)?;
        let stored = match (expected.cargo::<Object>(), change.intent) {
            (Some(before), intent) => self.replace(before, record, intent == Intent::Take).await,
            (None, Intent::Adopt | Intent::Renew) if expected.is_absent() => {
                self.create(record).await
            }
            // Absent names no version, so nobody takes it, and nothing of a term is there to be released.
            (None, _) => return Ok(Outcome::Conflict),
        };
        let stored = match stored {
            Ok(value) => self.observed(value)?,
            // Gone, or at another version.
            Err(failure) if matches!(failure.reason, Reason::Conflict | Reason::NotFound) => {
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
        self.put(draft.into_bytes()).await
    }

    /// A PUT of what is not there creates it, and needs the right for this very name only; a POST needs it for all.
    async fn create(&self, record: &Record) -> Result<Value, Failure> {
        let mut draft = self.form.draft(&self.place);
        claim::put(self.form, None, &mut draft, record, false).map_err(Failure::invalid)?;
        let bytes = draft.into_bytes();
        if self.form.creates_by_put() {
            match self.put(bytes.clone()).await {
                Err(failure)
                    if matches!(failure.reason, Reason::NotFound | Reason::NoSuchMethod) => {}
                created => return created,
            }
        }
        let created = self.send(self.requests().create(&PostParams::default(), bytes)).await;
        created.map_err(|failure| match failure.reason {
            Reason::NotFound => failure.finally("is there a namespace of that name?"),
            _ => failure,
        })
    }

    async fn put(&self, bytes: Vec<u8>) -> Result<Value, Failure> {
        self.send(self.requests().replace(&self.place.name, &PostParams::default(), bytes)).await
    }

    pub(crate) fn requests(&self) -> Request {
        Request::new(self.form.path(&self.place.namespace))
    }

    /// One request. Dropping it closes its connection.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, Failure> {
        let request = request.map_err(|error| Failure::invalid(error.to_string()))?;
        let client = self.access.client().await;
        match timeout(DEADLINE, client.request(request)).await {
            Ok(answer) => answer.map_err(|error| self.failed(&error)),
            Err(_elapsed) => Err(Failure::unavailable(format!("no answer within {DEADLINE:?}"))),
        }
    }

    /// What an error means. Who is not known any more comes with other credentials the next time.
    pub(crate) fn failed(&self, error: &kube::Error) -> Failure {
        let failure = Failure::of(error);
        if failure.reason == Reason::WrongLogin {
            self.access.refused();
        }
        failure
    }

    /// What an object says, and what its version is.
    pub(crate) fn observed(&self, value: Value) -> Result<Observed, Failure> {
        let object = Object::new(value).map_err(Failure::invalid)?;
        let contents = claim::contents(self.form, &object);
        let token_floor = self.floor(Some(object.revision()));
        Ok(Observed {
            version: object.version(),
            contents,
            expiry: Expiry::ByObserver,
            token_floor,
        })
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
