//! What an error of the API server, or of the way to it, means to the caller.

use std::error::Error as StdError;
use std::time::Duration;

use kube::client::AuthError;
use kube::core::Status;
use leasehold_core::{Error, ErrorKind};

/// What a candidate must be allowed to do; the shipped Role does.
const CURE: &str =
    "its Role must allow get, create, update and watch on this very name (docs/KUBERNETES.md)";

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) reason: Reason,
    text: String,
}

/// What follows for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is no such object.
    NotFound,
    /// The object is not at the version that the request named, or is there already.
    Conflict,
    /// There is no such way to make a request: the other way to create is tried.
    NoSuchMethod,
    /// The API server does not know these credentials, or not any more.
    WrongLogin,
    /// This user may not do that.
    Forbidden,
    /// What a watch could resume from is forgotten.
    TooOld,
    /// Anything else.
    Other,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, reason: Reason::Other, text: text.into() }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, text)
    }

    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, text)
    }

    pub(crate) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            kube::Error::SerdeError(error) => Self::unavailable(format!(
                "what answered is no API server, or speaks another language: {error}"
            )),
            kube::Error::BuildRequest(error) => Self::invalid(error.to_string()),
            other => Self::of_way(other),
        }
    }

    /// What the API server said.
    pub(crate) fn of_status(status: &Status) -> Self {
        let said = if status.message.is_empty() { &status.reason } else { &status.message };
        let text = |cure: &str| format!("the API server says: {said}{cure}");
        let plain = |kind, reason| Self { kind, reason, text: text("") };
        let denied = |reason, cure: &str| Self {
            kind: ErrorKind::Denied,
            reason,
            text: text(&format!("; {cure}")),
        };
        match (status.code, status.reason.as_str()) {
            (400, _) if said.contains("HTTP request to an HTTPS server") => Self::invalid(text(
                "; it speaks TLS: the server's URL in the kubeconfig should begin with https:",
            )),
            (401, _) => denied(
                Reason::WrongLogin,
                "look at the credentials, the token or the certificate, of the kubeconfig or of the service account, and how long they are good",
            ),
            (403, _) if said.contains("system:anonymous") => denied(
                Reason::Other,
                "the request came without credentials: give the kubeconfig's user a token or a certificate",
            ),
            (403, _) => Self { kind: ErrorKind::Denied, reason: Reason::Forbidden, text: text("") },
            (404, "NotFound") => plain(ErrorKind::Invalid, Reason::NotFound),
            (404 | 405, _) => plain(ErrorKind::Invalid, Reason::NoSuchMethod),
            (409, _) => plain(ErrorKind::Unavailable, Reason::Conflict),
            (410, _) => plain(ErrorKind::Unavailable, Reason::TooOld),
            // An update that names no version, of what is there.
            (422, _)
                if said.contains("resourceVersion: Invalid value")
                    && said.contains("must be specified for an update") =>
            {
                plain(ErrorKind::Unavailable, Reason::Conflict)
            }
            (429, _) => {
                let delay = status.details.as_ref().map(|details| details.retry_after_seconds);
                let retry_after =
                    delay.filter(|seconds| *seconds > 0).map(|it| Duration::from_secs(it.into()));
                plain(ErrorKind::Throttled { retry_after }, Reason::Other)
            }
            (400 | 413 | 415 | 422, _) => plain(ErrorKind::Invalid, Reason::Other),
            _ => plain(ErrorKind::Unavailable, Reason::Other),
        }
    }

    /// No answer came, or none that could be read.
    fn of_way(error: &kube::Error) -> Self {
        let mut source: Option<&(dyn StdError + 'static)> = Some(error);
        let mut texts: Vec<String> = Vec::new();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<AuthError>() {
                return Self::of_login(error);
            }
            let text = error.to_string();
            if !texts.iter().any(|known| known.contains(&text)) {
                texts.push(text);
            }
            source = error.source();
        }
        // The outer ones repeat the inner ones, or name a layer of the library.
        let said = texts.last().map_or("no answer", String::as_str);
        if said.contains("invalid peer certificate") || said.contains("received fatal alert") {
            let text = format!(
                "no TLS connection to the API server: {said}; look at the certificates: the authority of the kubeconfig, the client's own, and how long they are good"
            );
            return Self::new(ErrorKind::Denied, text);
        }
        let whole = texts.join(": ");
        let is_plain = whole.contains("InvalidContentType");
        let advice = if is_plain {
            "; it does not speak TLS: the server's URL in the kubeconfig should begin with http:"
        } else {
            ""
        };
        Self::unavailable(format!("no answer from the API server: {said}{advice}"))
    }

    /// What a credential plugin printed may hold a token.
    fn of_login(error: &AuthError) -> Self {
        let why = match error {
            AuthError::AuthExecRun { .. }
            | AuthError::AuthExecParse(_)
            | AuthError::AuthExec(_) => {
                "the credential plugin of the kubeconfig failed; run it by hand".to_owned()
            }
            other => format!("no credentials: {other}; look at the user of the kubeconfig"),
        };
        Self::new(ErrorKind::Denied, why)
    }

    /// The same, from which nothing more follows than this advice.
    pub(crate) fn finally(self, advice: &str) -> Self {
        Self { reason: Reason::Other, text: format!("{}; {advice}", self.text), ..self }
    }

    pub(crate) fn during(self, operation: &'static str) -> Error {
        let text = match self.reason {
            Reason::Forbidden => format!("{}; {CURE}", self.text),
            _ => self.text,
        };
        Error::new(self.kind, operation, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_says_decides_what_the_caller_does() {
        use ErrorKind::{Denied, Invalid, Throttled, Unavailable};
        const UPDATE: &str = "Lease.coordination.k8s.io \"x\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update";
        for (code, reason, text, kind, follows) in [
            (401, "Unauthorized", "Unauthorized", Denied, Reason::WrongLogin),
            (403, "Forbidden", "User \"system:anonymous\" cannot", Denied, Reason::Other),
            (403, "Forbidden", "leases \"x\" is forbidden", Denied, Reason::Forbidden),
            (404, "NotFound", "leases \"x\" not found", Invalid, Reason::NotFound),
            (
                404,
                "Failed to parse error data",
                "404 page not found",
                Invalid,
                Reason::NoSuchMethod,
            ),
            (405, "MethodNotAllowed", "no", Invalid, Reason::NoSuchMethod),
            (409, "Conflict", "the object has been modified", Unavailable, Reason::Conflict),
            (409, "AlreadyExists", "it exists", Unavailable, Reason::Conflict),
            (410, "Expired", "too old resource version", Unavailable, Reason::TooOld),
            (422, "Invalid", UPDATE, Unavailable, Reason::Conflict),
            (422, "Invalid", "must be greater than 0", Invalid, Reason::Other),
            (429, "TooManyRequests", "later", Throttled { retry_after: None }, Reason::Other),
            (500, "InternalError", "etcdserver: request timed out", Unavailable, Reason::Other),
            (503, "ServiceUnavailable", "shutting down", Unavailable, Reason::Other),
        ] {
            let failure = Failure::of_status(&Status::failure(text, reason).with_code(code));
            assert_eq!((failure.kind, failure.reason), (kind, follows), "{code} {text}");
            assert!(failure.during("read").to_string().contains(text));
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (code, says) in [(401, "credentials"), (403, "get, create, update and watch")] {
            let failure = Failure::of_status(&Status::failure("no", "no").with_code(code));
            let text = failure.during("read the lock").to_string();
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn the_server_is_asked_as_late_as_it_says() {
        let text = r#"{"code":429,"reason":"TooManyRequests","message":"later","details":{"retryAfterSeconds":3}}"#;
        let failure = Failure::of_status(&serde_json::from_str(text).unwrap());
        let retry_after = Some(Duration::from_secs(3));
        assert_eq!(failure.kind, ErrorKind::Throttled { retry_after });
    }
}
