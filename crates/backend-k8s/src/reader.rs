//! One object, what it shows, and the requests that concern it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{PostParams, WatchParams};
use kube::core::params::GetParams;
use kube::core::request::Request;
use leasehold_backend::TokenFloor;
use leasehold_backend::watching::begun;
use leasehold_core::{Contents, Expiry, Observed, TimingSettings, Token, Version};
use serde_json::Value;
use tokio::time::timeout;

use crate::access::Access;
use crate::answer::{self, Events};
use crate::failure::{Failure, Reason};
use crate::form::{Form, claim};
use crate::name::Place;
use crate::object::Object;

/// The end of every request, for callers that set no earlier one: an admission webhook may take 30
/// seconds.
const DEADLINE: Duration = Duration::from_secs(31);

/// An admission webhook that does not answer, and is configured to be ignored then, delays every
/// write by its own timeout: three seconds often, and two writes may be lost. So a request may take
/// four.
pub(crate) const TIMING: TimingSettings = TimingSettings {
    lease_duration: Some(Duration::from_secs(21)),
    renew_deadline: Some(Duration::from_secs(15)),
    retry_period: Some(Duration::from_secs(3)),
    request_timeout: Some(Duration::from_secs(4)),
    stop_grace: None,
    clock_margin: None,
};

/// A request that is ready to be sent.
pub(crate) type Prepared = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// The one object, and the way to it. A watch has a reader of its own.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) form: Form,
    pub(crate) place: Arc<Place>,
    pub(crate) access: Arc<Access>,
    pub(crate) token_floor: Option<TokenFloor>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("form", &self.form).field("place", &self.place).finish()
    }
}

impl Reader {
    pub(crate) fn new(form: Form, place: Place, access: Arc<Access>) -> Self {
        let place = Arc::new(place);
        Self { form, place, access, token_floor: None }
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
    pub(crate) fn is_gone(&self, failure: &Failure) -> bool {
        let about = (self.form.resource().1, self.place.name.as_str());
        failure.reason == Reason::NotFound
            && failure.about.as_ref().map(|(kind, name)| (kind.as_str(), name.as_str()))
                == Some(about)
    }

    /// A PUT of what is not there creates it, and needs the right for this very name only; a POST
    /// needs it for all.
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
        revision.map(|revision| revision.max(self.token_floor.map_or(0, TokenFloor::token)))
    }

    /// The events after this revision, or those that tell what is there.
    pub(crate) async fn events(
        &self,
        which: WatchParams,
        seen: Option<u64>,
    ) -> Result<Events, Failure> {
        let after = seen.map(|revision| revision.to_string()).unwrap_or_default();
        let request = self.requests().watch(&which, &after);
        let request = request.map_err(|error| Failure::invalid(error.to_string()))?;
        let begin = async { answer::events(self.access.send(request).await?).await };
        begun(begin).await?.map_err(|failure| self.failed(failure))
    }
}
