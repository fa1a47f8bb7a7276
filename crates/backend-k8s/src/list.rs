//! The locks of a namespace: for people. No election needs this, nor the right to it.

use kube::core::params::ListParams;
use leasehold_core::{Contents, Error, Expiry, Observed, Version};
use serde_json::Value;

use crate::answer;
use crate::failure::{Failure, Reason};
use crate::form::Form;
use crate::object::Object;
use crate::options::Kubernetes;
use crate::reader::Reader;

const LIST: &str = "list the locks";

/// Objects in one answer.
const PAGE: u32 = 500;

/// The most answers: a server that always has more ends here.
const PAGES: usize = 1_000;

impl Kubernetes {
    /// The locks in this namespace, or in the client's own, by name, and what each shows: every
    /// Lease, whoever holds it, or the Endpoints that carry an election. Needs the verb `list`, and
    /// writes nothing.
    ///
    /// # Errors
    /// `Denied`: the verb is not granted. `Invalid`: it can be no namespace.
    pub async fn locks(
        &self,
        form: Form,
        namespace: Option<&str>,
    ) -> Result<Vec<(String, Observed)>, Error> {
        let reader = self.reader(form, namespace)?;
        let mut found = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        for _ in 0..PAGES {
            let page = match reader.send_for(reader.requests().list(&params), answer::PAGE).await {
                Ok(page) => page,
                Err(failure) => return Err(explained(failure, &reader).during(LIST)),
            };
            let Value::Array(items) = &page["items"] else {
                let failure = Failure::of_stranger(200, "an answer to a list that lists nothing");
                return Err(failure.during(LIST));
            };
            for item in items {
                found.extend(reader.listed(item.clone()));
            }
            match page["metadata"]["continue"].as_str().filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(more),
                None => return Ok(found),
            }
        }
        let failure = Failure::unavailable("the list has no end");
        Err(failure.during(LIST))
    }
}

impl Reader {
    /// What is listed of an object; `None` for one that no election is held on.
    fn listed(&self, value: Value) -> Option<(String, Observed)> {
        if !self.form.holds_election(&value) {
            return None;
        }
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let name = format!("{}://{}/{name}", self.form.scheme(), self.place.namespace);
        // One that nobody can read hides no other.
        let observed = match Object::new(value) {
            Ok(object) => self.shown(&object),
            Err(why) => Observed {
                version: Version::bytes(&[]),
                contents: Contents::Unreadable(why),
                expiry: Expiry::ByObserver,
                token_floor: None,
            },
        };
        Some((name, observed))
    }
}

/// What a candidate is granted does not suffice.
fn explained(failure: Failure, reader: &Reader) -> Failure {
    if failure.reason != Reason::Forbidden {
        return failure;
    }
    let (resource, namespace) = (reader.form.resource().1, &reader.place.namespace);
    failure.with_cure(format!(
        "to list, this user needs a Role in {namespace} with the verb list on {resource}, without \
         resourceNames; no candidate needs it"
    ))
}
