//! What an answer of the API server, or the lack of one, means to the caller. The cause decides,
//! never the status code alone: what is not a `Status` was not said by the API server.

use std::borrow::Cow;

use leasehold_backend::TlsTrouble;
use leasehold_core::{Error, ErrorKind};

use crate::redact;
use crate::said::Said;

/// What a candidate must be allowed to do; the shipped Role does.
const ROLE: &str =
    "its Role must allow get, create, update and watch on this very name (docs/KUBERNETES.md)";

const LOGIN: &str = "look at the credentials, the token or the certificate, of the kubeconfig or \
    of the service account, and how long they are good";

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// The kind of resource and the name that the API server speaks of.
    pub(crate) about: Option<(String, String)>,
    what: leasehold_backend::Failure,
}

/// What follows for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is no object of that name.
    NotFound,
    /// There is no namespace of that name.
    NoNamespace,
    /// The object is not at the version that the request named, or is there already.
    Conflict,
    /// There is no such way to make a request: the other way to create is tried.
    NoSuchMethod,
    /// The API server does not know these credentials, or not any more.
    WrongLogin,
    /// This user may not do that.
    Forbidden,
    /// An admission policy or webhook refuses it.
    Refused,
    /// What a watch could resume from is forgotten.
    TooOld,
    /// Anything else.
    Other,
}

impl From<leasehold_backend::Failure> for Failure {
    fn from(what: leasehold_backend::Failure) -> Self {
        Self { reason: Reason::Other, about: None, what }
    }
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        leasehold_backend::Failure::new(kind, text).into()
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, text)
    }

    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, text)
    }

    pub(crate) fn denied(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, text)
    }

    /// No answer came, or none that could be read.
    pub(crate) fn of(error: &kube::Error) -> Self {
        let texts = redact::of_way(error);
        // The outer ones repeat the inner ones, or name a layer of the library.
        let said = texts.last().map_or("no answer", String::as_str);
        if TlsTrouble::of(said) == Some(TlsTrouble::Certificates) {
            let text = format!("no TLS connection to the API server: {said}");
            return Self::denied(text).with_cure(
                "look at the certificates: the authority of the \
                kubeconfig, the client's own, and how long they are good",
            );
        }
        let failure = Self::unavailable(format!("no answer from the API server: {said}"));
        let whole = texts.join(": ");
        if TlsTrouble::of(&whole) == Some(TlsTrouble::Plain) {
            failure.with_cure(
                "it does not speak TLS: the server's URL in the kubeconfig should begin with http:",
            )
        } else if whole.contains("tunnel error") || whole.contains("SOCKS") {
            failure.with_cure(
                "look at the proxy: proxy-url in the kubeconfig, or HTTPS_PROXY and NO_PROXY",
            )
        } else {
            failure
        }
    }

    /// An answer that is not the API server's: nothing follows from it but that the API server is
    /// not reached.
    pub(crate) fn of_stranger(code: u16, said: &str) -> Self {
        let (reason, cure) = match code {
            // What stands before an API server may judge logins, too: others are fetched.
            401 => (Reason::WrongLogin, LOGIN),
            404 | 405 => (
                Reason::NoSuchMethod,
                "the server of the kubeconfig is something else, a proxy in front of it answers, \
                 or it is too old to have this API",
            ),
            _ if said.contains("HTTP request to an HTTPS server") => (
                Reason::Other,
                "it speaks TLS: the server's URL in the kubeconfig should begin with https:",
            ),
            _ => (
                Reason::Other,
                "look at what is between: a proxy, an ingress, a load balancer, the server's URL \
                 in the kubeconfig",
            ),
        };
        let text = format!("what answered is not the API server ({said})");
        Self { reason, ..Self::unavailable(text).with_cure(cure) }
    }

    /// What the API server said.
    pub(crate) fn of_said(said: &Said) -> Self {
        let (kind, reason, cure) = means(said);
        let failure = Self::new(kind, format!("the API server says: {}", said.text()));
        let failure = Self { reason, about: Some(said.about.clone()), ..failure };
        if cure.is_empty() { failure } else { failure.with_cure(cure) }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> ErrorKind {
        self.what.kind
    }

    pub(crate) fn text(&self) -> &str {
        &self.what.text
    }

    pub(crate) fn with_cure(self, cure: impl Into<Cow<'static, str>>) -> Self {
        Self { what: self.what.with_cure(cure), ..self }
    }

    pub(crate) fn during(self, operation: &'static str) -> Error {
        self.what.during(operation)
    }
}

/// What follows, and what to do.
fn means(said: &Said) -> (ErrorKind, Reason, &'static str) {
    use ErrorKind::{Denied, Invalid, Throttled, Unavailable};
    let has = |words: &str| said.text().contains(words);
    // Whatever code a policy or webhook chose for its refusal.
    if has("denied request") || has("denied the request") {
        return (Denied, Reason::Refused, "an admission policy or webhook of the cluster says so");
    }
    if has("failed calling webhook") || has("failed to call webhook") {
        return (
            Unavailable,
            Reason::Other,
            "an admission webhook of the cluster does not answer as it should: start it again, or \
             remove its configuration",
        );
    }
    match said.code {
        401 => (Denied, Reason::WrongLogin, LOGIN),
        403 => forbidden(said),
        404 => not_found(said),
        405 => (Invalid, Reason::NoSuchMethod, ""),
        // A quota may be counted by two at once.
        409 if said.about.0 == "resourcequotas" => (Unavailable, Reason::Other, ""),
        409 => (Unavailable, Reason::Conflict, ""),
        410 => (Unavailable, Reason::TooOld, ""),
        // An update that names no version, of what is there.
        422 if has("resourceVersion: Invalid value") && has("must be specified for an update") => {
            (Unavailable, Reason::Conflict, "")
        }
        413 => (
            Invalid,
            Reason::Other,
            "the object is too large: remove what others keep in its annotations",
        ),
        429 => (Throttled { retry_after: said.retry_after }, Reason::Other, ""),
        400 | 406 | 415 | 422 => (Invalid, Reason::Other, ""),
        _ => (Unavailable, Reason::Other, ""),
    }
}

/// A refusal that is not about rights has a cure that is not about rights.
fn forbidden(said: &Said) -> (ErrorKind, Reason, &'static str) {
    let has = |words: &str| said.text().contains(words);
    let (reason, cure) = if has("system:anonymous") {
        (
            Reason::Other,
            "the request came without credentials: give the kubeconfig's user a token or a \
             certificate",
        )
    } else if said.is_terminating || has("because it is being terminated") {
        (
            Reason::Other,
            "the namespace is being deleted: make it again once it is gone, or name another",
        )
    } else if has("exceeded quota") || has("failed quota") {
        (
            Reason::Other,
            "a ResourceQuota of the namespace is used up: raise it, or make the object beforehand",
        )
    } else if has(" cannot ") && has(" resource ") {
        (Reason::Forbidden, ROLE)
    } else {
        (Reason::Other, "an admission plugin of the cluster refuses it: this is not about its Role")
    };
    (ErrorKind::Denied, reason, cure)
}

fn not_found(said: &Said) -> (ErrorKind, Reason, &'static str) {
    match (said.reason.as_str(), said.about.0.as_str(), said.about.1.as_str()) {
        ("NotFound", "namespaces", _) => (
            ErrorKind::Invalid,
            Reason::NoNamespace,
            "create it (kubectl create namespace), or name another namespace",
        ),
        ("NotFound", kind, name) if !kind.is_empty() && !name.is_empty() => {
            (ErrorKind::Invalid, Reason::NotFound, "")
        }
        _ => (
            ErrorKind::Unavailable,
            Reason::NoSuchMethod,
            "this API server does not have the API: is it the right one, and has it started whole?",
        ),
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
