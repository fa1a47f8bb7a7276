//! What an examination of a cluster finds.

use async_trait::async_trait;
use kube::api::PostParams;
use kube::core::request::Request;
use leasehold_backend::doctor::{
    COMPARE_AND_SWAP, Maintained, is_scratch_name, reads, scratch_name,
};
use leasehold_backend::{Diagnose, Finding, Race, race};
use leasehold_core::{Contents, Error, ErrorKind, Holder, Observed, Timing, printable};
use serde_json::json;

use crate::config::pod;
use crate::failure::{Failure, Reason};
use crate::form::{self, Form};
use crate::lock::KubernetesLock;
use crate::name::Place;
use crate::object::Object;
use crate::reader::Reader;

const EXAMINE: &str = "examine the store";

/// How many takes are tried.
const TRIALS: usize = 3;

/// What makes writes slow where reads are not.
const SLOW: &str = "look at the admission webhooks for this object first: one that does not answer \
    delays every write by its timeoutSeconds; raise --lease-duration and --renew-deadline";

/// How often two candidates race.
const ROUNDS: u64 = 5;

/// What a candidate must be allowed to do, and what it loses without.
const VERBS: [(&str, &str); 4] = [
    ("get", "nobody can be seen to lead"),
    ("create", "the first election needs somebody else to make the object"),
    ("update", "this user may see who leads, and not contend"),
    ("watch", "followers ask again and again, and a release is noticed late"),
];

/// The project maintains three minor versions, and 1.36 is out.
const MAINTAINED: Maintained = Maintained { oldest: (1, 34), as_of: "2026-11-30" };

#[async_trait]
impl Diagnose for KubernetesLock {
    async fn diagnose(&self, timing: &Timing) -> Vec<Finding> {
        let reader = self.reader();
        let mut findings = Vec::new();
        match reader.version().await {
            Ok(finding) => findings.push(finding),
            Err(failure) => {
                findings.push(Finding::of_error("store", &failure.during(EXAMINE)));
                return findings;
            }
        }
        if reader.form == Form::Endpoints {
            findings.push(Finding::warning(
                "form",
                "the API server deprecates Endpoints since Kubernetes 1.33",
                "move to a Lease (k8s://) once no older client is left",
            ));
        }
        let allowed = reader.permissions().await;
        findings.push(match &allowed {
            Ok(missing) => reader.permission(missing),
            Err(failure) => unknown(failure.clone()),
        });
        let lock = match reader.read().await {
            Ok(observed) => observed,
            Err(failure) => {
                findings.push(Finding::of_error("lock", &failure.during("read the lock")));
                return findings;
            }
        };
        let is_blocked = matches!(lock.contents, Contents::Unreadable(_));
        findings.push(Finding::of_lock(&lock));
        findings.extend(reader.oddities(&lock));
        findings.push(reads(self, "a read that etcd's majority confirms", timing).await);
        if allowed.as_ref().is_ok_and(|missing| missing.contains(&"update")) {
            return findings;
        }
        findings.extend(reader.tried(timing).await);
        if allowed.is_ok_and(|missing| missing.is_empty()) {
            findings.extend(self.raced(timing, is_blocked).await);
        }
        findings
    }
}

/// The API server does not say what this user may: the trial of a take shows it.
fn unknown(failure: Failure) -> Finding {
    let error = failure.during("ask what this user may do");
    let cure = "none is needed, if the trial of a take below succeeds";
    Finding::warning("permission", error.to_string(), cure)
}

impl KubernetesLock {
    /// Removes the object of a scratch lock, for the tool that made it.
    ///
    /// # Errors
    /// `Invalid`: the name is not that of a scratch lock; an object that anybody uses is never
    /// removed. Others: the API server refused, or did not answer.
    #[doc(hidden)]
    pub async fn remove_scratch(&self) -> Result<(), Error> {
        if !is_scratch_name(&self.reader().place.name) {
            let why = "its name is not that of a scratch lock";
            return Err(Error::new(ErrorKind::Invalid, "remove the object", why));
        }
        self.reader().remove().await.map_err(|failure| failure.during("remove the scratch object"))
    }
}

impl Reader {
    async fn version(&self) -> Result<Finding, Failure> {
        const SUBJECT: &str = "store";
        let request = http::Request::get("/version").body(Vec::new());
        let request = request.map_err(kube::core::request::Error::BuildRequest);
        let version = self.send(request).await?;
        let said = version["gitVersion"].as_str().unwrap_or("of an unknown version");
        let text = format!("kube-apiserver {said}");
        Ok(match parsed(said).and_then(|version| MAINTAINED.given_up(version)) {
            Some(why) => Finding::warning(SUBJECT, format!("{text}: {why}"), "upgrade it"),
            None => Finding::good(SUBJECT, text),
        })
    }

    /// The verbs that this user lacks.
    async fn permissions(&self) -> Result<Vec<&'static str>, Failure> {
        let mut missing = Vec::new();
        for (verb, _) in VERBS {
            if !self.may(verb, &self.place.name).await? {
                missing.push(verb);
            }
        }
        Ok(missing)
    }

    /// Asks the API server, which changes nothing.
    async fn may(&self, verb: &str, name: &str) -> Result<bool, Failure> {
        let (group, resource) = self.form.resource();
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": self.place.namespace, "name": name,
                "group": group, "resource": resource, "verb": verb,
            }},
        });
        let requests = Request::new("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
        let request = requests.create(&PostParams::default(), review.to_string().into_bytes());
        let answer = self.send(request).await?;
        Ok(answer["status"]["allowed"].as_bool() == Some(true))
    }

    /// What is odd about the object, and decides nothing or everything.
    fn oddities(&self, observed: &Observed) -> Vec<Finding> {
        const SUBJECT: &str = "lock";
        let Some(object) = observed.version.cargo::<Object>() else { return Vec::new() };
        let mut findings = Vec::new();
        let mut warn = |text: String, cure: &str| {
            findings.push(Finding::warning(SUBJECT, text, cure));
        };
        let metadata = &object.value()["metadata"];
        if let Some(since) = metadata["deletionTimestamp"].as_str() {
            let finalizers = metadata["finalizers"].to_string();
            warn(
                format!(
                    "somebody deleted it at {}, and finalizers keep it: {}",
                    printable(since),
                    printable(&finalizers)
                ),
                "look at who should remove the finalizers: once they are gone, so is the object",
            );
        }
        if let Ok(claim) = self.form.claim(object) {
            if claim.transitions == Some(i32::MAX.into()) {
                warn(
                    "its number of transitions is the last one: client-go cannot take it any more"
                        .to_owned(),
                    "none is needed if ours contend: the number begins anew; else set it to 0",
                );
            }
            if !claim.holder.is_empty() && claim.duration.is_none_or(|seconds| seconds < 1) {
                warn(
                    "its holder does not say for how long it holds it: 15s are assumed".to_owned(),
                    "let its holder write leaseDurationSeconds",
                );
            }
            if !claim.holder.is_empty() && claim.renewed.is_none() {
                warn(
                    "its renewTime is missing or cannot be read: it is not shown, and decides \
                     nothing"
                        .to_owned(),
                    "let its holder write renewTime",
                );
            }
        }
        if let Some(why) = self.form.is_closed(object) {
            findings.push(Finding::problem(SUBJECT, ErrorKind::Denied, why, form::CLOSED));
        }
        findings
    }

    /// Takes of this very lock, which go through rights, policies and webhooks, and are not stored.
    async fn tried(&self, timing: &Timing) -> Vec<Finding> {
        const SUBJECT: &str = "trial";
        let mut times = Vec::new();
        let mut candidate = Holder::of_this_process();
        if let Some(identity) = pod() {
            candidate.identity = identity;
        }
        for _ in 0..TRIALS {
            match self.trial(&candidate).await {
                Ok(Some(time)) => times.push(time),
                Ok(None) => {}
                Err(failure) => {
                    return vec![Finding::of_error(
                        SUBJECT,
                        &failure.during("take this very lock"),
                    )];
                }
            }
        }
        if times.is_empty() {
            return vec![Finding::warning(
                SUBJECT,
                "whether this very lock may be taken could not be tried without writing",
                "an admission policy may judge by the holder's name, or a webhook may not support \
                 dry runs: try with leasehold run",
            )];
        }
        let what = "a take of this very lock, tried and not stored";
        let mut finding = Finding { subject: SUBJECT, ..Finding::of_latency(what, &times, timing) };
        if finding.cure.is_some() {
            finding.cure = Some(format!("{SLOW}, then --request-timeout"));
        }
        vec![finding]
    }

    fn permission(&self, missing: &[&str]) -> Finding {
        const SUBJECT: &str = "permission";
        let (group, resource) = self.form.resource();
        let place = &self.place;
        if missing.is_empty() {
            let verbs = VERBS.map(|(verb, _)| verb).join(", ");
            return Finding::good(SUBJECT, format!("this user may {verbs} {resource} {place}"));
        }
        let lost = VERBS.iter().filter(|(verb, _)| missing.contains(verb)).map(|(_, lost)| *lost);
        let lost: Vec<&str> = lost.collect();
        let text =
            format!("{} is missing on {resource} {place}: {}", missing.join(", "), lost.join("; "));
        let cure = format!(
            "kubectl create role NAME -n {} --verb=get,create,update,watch \
             --resource={resource}{}{group} --resource-name={}",
            place.namespace,
            if group.is_empty() { "" } else { "." },
            place.name
        );
        if missing == ["watch"] {
            return Finding::warning(SUBJECT, text, cure);
        }
        Finding::problem(SUBJECT, ErrorKind::Denied, text, cure)
    }

    /// Removes the scratch object: by its `uid`, so that it is this very one.
    async fn remove(&self) -> Result<(), Failure> {
        let observed = self.read().await?;
        let Some(object) = observed.version.cargo::<Object>() else { return Ok(()) };
        let uid = object.value()["metadata"]["uid"].as_str().map(str::to_owned);
        let preconditions = kube::api::Preconditions { uid, ..Default::default() };
        let params =
            kube::api::DeleteParams { preconditions: Some(preconditions), ..Default::default() };
        match self.send(self.requests().delete(&self.place.name, &params)).await {
            Err(failure) if failure.reason != Reason::NotFound => Err(failure),
            _ => Ok(()),
        }
    }
}

impl KubernetesLock {
    /// Two candidates race for a scratch object beside this one, which is removed. A candidate need
    /// not be allowed to.
    async fn raced(&self, timing: &Timing, is_blocked: bool) -> Vec<Finding> {
        let failed =
            |failure: Failure| vec![Finding::of_error(COMPARE_AND_SWAP, &failure.during(EXAMINE))];
        let candidates = match self.scratch() {
            Ok(place) => [self.at(place.clone()), self.at(place)],
            Err(failure) => return failed(failure),
        };
        let scratch = candidates[0].reader();
        for verb in ["get", "create", "update", "delete"] {
            match scratch.may(verb, &scratch.place.name).await {
                Ok(true) => {}
                Ok(false) => {
                    let cure = "run this once as a user who may, such as an administrator of the \
                        namespace";
                    let what = format!("{verb} an object beside the lock");
                    return vec![Race::not_permitted(&what, cure)];
                }
                Err(failure) => return failed(failure),
            }
        }
        let raced = race(&[&candidates[0], &candidates[1]], ROUNDS).await;
        let removed = scratch.remove().await;
        let mut findings = told(&raced, timing, is_blocked);
        if let Err(failure) = removed {
            let (text, place) = (failure.during("remove the scratch object"), &scratch.place);
            let cure = format!("delete {place}");
            findings.push(Finding::warning(COMPARE_AND_SWAP, text.to_string(), cure));
        }
        findings
    }

    /// An object that nobody has, in the same namespace.
    fn scratch(&self) -> Result<Place, Failure> {
        let name = scratch_name("leasehold-doctor")?;
        Place::new(&self.reader().place.namespace, &name).map_err(Failure::invalid)
    }
}

fn told(raced: &Result<Race, Error>, timing: &Timing, is_blocked: bool) -> Vec<Finding> {
    let done = match raced {
        Ok(done) => done,
        Err(error) => return vec![Finding::of_error(COMPARE_AND_SWAP, error)],
    };
    let mut findings = vec![
        done.finding("a scratch object beside this one"),
        Finding::of_latency("a write", &done.releases, timing),
    ];
    // What nobody can read frees the lock for nobody.
    if !is_blocked {
        let crash = timing.bounds().crash;
        findings.push(done.fail_over(&format!("a crash, {crash:?} after the last renewal")));
    }
    findings
}

/// Major and minor of `v1.36.3+vendor`.
fn parsed(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_apart() {
        assert_eq!(parsed("v1.36.3"), Some((1, 36)));
        assert_eq!(parsed("v1.30.4+k3s1"), Some((1, 30)));
        assert_eq!(parsed("1.36.3"), None);
        assert!(MAINTAINED.given_up(parsed("v1.9.0").unwrap()).is_some());
    }
}
