//! The locks of a namespace: for people. No election needs this, nor the right to it.

use kube::core::params::ListParams;
use leasehold_core::{Error, Observed};
use serde::Deserialize;
use serde_json::Value;

use crate::failure::{Failure, Reason};
use crate::form::Form;
use crate::lock::Api;
use crate::options::Kubernetes;

const LIST: &str = "list the locks";

/// Objects in one answer.
const PAGE: u32 = 500;

/// One answer.
#[derive(Deserialize)]
struct Page {
    metadata: Metadata,
    items: Vec<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "continue")]
    more: Option<String>,
}

impl Kubernetes {
    /// The locks in this namespace, or in the client's own, by name, and what each shows: every Lease, whoever holds
    /// it, or the Endpoints that carry an election. Needs the verb `list`, and writes nothing.
    ///
    /// # Errors
    /// `Denied`: the verb is not granted. `Invalid`: it can be no namespace.
    pub async fn locks(
        &self,
        form: Form,
        namespace: Option<&str>,
    ) -> Result<Vec<(String, Observed)>, Error> {
        let api = self.api(form, namespace)?;
        let mut found = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page: Page = match api.send(api.requests().list(&params)).await {
                Ok(page) => page,
                Err(failure) => return Err(explained(failure, &api).during(LIST)),
            };
            for item in page.items {
                let listed = api.listed(item).map_err(|failure| failure.during(LIST))?;
                found.extend(listed);
            }
            match page.metadata.more.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(found),
            }
        }
    }
}

impl Api {
    /// What is listed of an object; `None` for one that no election is held on.
    fn listed(&self, value: Value) -> Result<Option<(String, Observed)>, Failure> {
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let name = format!("{}://{}/{name}", self.form.scheme(), self.place.namespace);
        let is_lock = self.form.holds_election(&value);
        let observed = is_lock.then(|| self.observed(value)).transpose()?;
        Ok(observed.map(|observed| (name, observed)))
    }
}

/// What a candidate is granted does not suffice.
fn explained(failure: Failure, api: &Api) -> Failure {
    if failure.reason != Reason::Forbidden {
        return failure;
    }
    let (resource, namespace) = (api.form.resource().1, &api.place.namespace);
    failure.finally(&format!(
        "to list, this user needs a Role in {namespace} with the verb list on {resource}, without resourceNames; no candidate needs it"
    ))
}
