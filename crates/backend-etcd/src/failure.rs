//! What an error of the client library means to the caller.

use std::error::Error as StdError;

use etcd_client::Error as ClientError;
use leasehold_core::{Error, ErrorKind};
use tonic::{Code, ConnectError, Status};

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) reason: Reason,
    text: String,
}

/// What follows for the request and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No connection: the request never left this process.
    NotSent,
    /// It was sent, and no member said what became of it.
    Unanswered,
    /// The server does not know our login any more: a new connection logs in again.
    StaleLogin,
    /// The server said no; another member would say the same.
    Refused,
    /// There is no such lease.
    NoLease,
    /// A lease of that id is there already.
    LeaseExists,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, reason: Reason, text: impl Into<String>) -> Self {
        Self { kind, reason, text: text.into() }
    }

    /// The meaning of an error that this member's connection gave.
    pub(crate) fn of(error: &ClientError, member: &str) -> Self {
        match error {
            ClientError::GRpcStatus(status) => Self::of_status(status, member),
            ClientError::LeaseKeepAliveError(text) if text == "lease not found" => {
                Self::new(ErrorKind::Unavailable, Reason::NoLease, text)
            }
            ClientError::TransportError(error) => {
                Self::of_connection(chain(error), Reason::NotSent, member)
            }
            ClientError::InvalidArgs(_) | ClientError::InvalidUri(_) => {
                Self::new(ErrorKind::Invalid, Reason::Refused, format!("{member}: {error}"))
            }
            other => {
                Self::new(ErrorKind::Unavailable, Reason::Unanswered, format!("{member}: {other}"))
            }
        }
    }

    fn of_status(status: &Status, member: &str) -> Self {
        let said = status.message();
        if status.source().is_some() {
            let reason = if was_never_sent(status) { Reason::NotSent } else { Reason::Unanswered };
            return Self::of_connection(chain(status), reason, member);
        }
        let refused = |kind| Self::new(kind, Reason::Refused, format!("{member}: {said}"));
        match status.code() {
            Code::NotFound if said.contains("lease") => {
                Self::new(ErrorKind::Unavailable, Reason::NoLease, said)
            }
            Code::FailedPrecondition if said.contains("lease already exists") => {
                Self::new(ErrorKind::Unavailable, Reason::LeaseExists, said)
            }
            Code::FailedPrecondition if said.contains("authentication is not enabled") => {
                Self::denied(member, said, "leave out the user, or enable authentication")
            }
            Code::PermissionDenied => Self::denied(
                member,
                said,
                "grant the user's role readwrite on the election: etcdctl role grant-permission ROLE readwrite NAME/ --prefix=true",
            ),
            Code::InvalidArgument if said.contains("user name is empty") => {
                Self::denied(member, said, "the cluster asks for a user: name one")
            }
            Code::InvalidArgument if said.contains("authentication failed") => {
                Self::denied(member, said, "mend the user or its password")
            }
            // Whoever was logged in before a change of the rights must log in again.
            Code::Unauthenticated => {
                Self::new(ErrorKind::Unavailable, Reason::StaleLogin, format!("{member}: {said}"))
            }
            Code::InvalidArgument if said.contains("auth") => {
                Self::new(ErrorKind::Unavailable, Reason::StaleLogin, format!("{member}: {said}"))
            }
            Code::ResourceExhausted if said.contains("space exceeded") => Self::new(
                ErrorKind::Unavailable,
                Reason::Refused,
                format!(
                    "{member}: {said}; who leads can renew, but nobody can take the lock: compact, defragment and disarm (etcdctl alarm list)"
                ),
            ),
            Code::ResourceExhausted => refused(ErrorKind::Throttled { retry_after: None }),
            Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange => {
                refused(ErrorKind::Invalid)
            }
            _ => Self::new(
                ErrorKind::Unavailable,
                Reason::Unanswered,
                format!("{member}: {said} ({})", status.code()),
            ),
        }
    }

    fn denied(member: &str, said: &str, advice: &str) -> Self {
        Self::new(ErrorKind::Denied, Reason::Refused, format!("{member}: {said}; {advice}"))
    }

    /// Certificates that do not fit are no matter of waiting.
    fn of_connection(why: String, reason: Reason, member: &str) -> Self {
        let is_certificate =
            why.contains("invalid peer certificate") || why.contains("received fatal alert");
        if is_certificate {
            let text =
                format!("{member}: {why}; look at ca, cert and key, and how long they are good");
            return Self::new(ErrorKind::Denied, Reason::NotSent, text);
        }
        let looks_like_tls = why.contains("frame with invalid size")
            || why.contains("InvalidContentType")
            || why.contains("corrupt message");
        let advice = if looks_like_tls {
            "; one side speaks TLS and the other does not: etcds:// or etcd://?"
        } else {
            ""
        };
        Self::new(ErrorKind::Unavailable, reason, format!("{member}: {why}{advice}"))
    }

    /// Whether every member would say the same.
    pub(crate) fn is_definite(&self) -> bool {
        matches!(self.reason, Reason::Refused | Reason::NoLease | Reason::LeaseExists)
    }

    pub(crate) fn during(self, operation: &'static str) -> Error {
        Error::new(self.kind, operation, self.text)
    }
}

/// A request that met no connection has changed nothing.
fn was_never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The error and its sources, once each: the outer ones say only "transport error".
fn chain(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, text: &str) -> Failure {
        Failure::of(&ClientError::GRpcStatus(Status::new(code, text)), "h:2379")
    }

    #[test]
    fn what_etcd_says_decides_what_the_caller_does() {
        use ErrorKind::{Denied, Invalid, Throttled, Unavailable};
        for (code, text, kind, reason) in [
            (Code::NotFound, "etcdserver: requested lease not found", Unavailable, Reason::NoLease),
            (
                Code::FailedPrecondition,
                "etcdserver: lease already exists",
                Unavailable,
                Reason::LeaseExists,
            ),
            (Code::PermissionDenied, "etcdserver: permission denied", Denied, Reason::Refused),
            (Code::InvalidArgument, "etcdserver: user name is empty", Denied, Reason::Refused),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                Denied,
                Reason::Refused,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                Unavailable,
                Reason::StaleLogin,
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                Unavailable,
                Reason::StaleLogin,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Unavailable,
                Reason::Refused,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Throttled { retry_after: None },
                Reason::Refused,
            ),
            (Code::InvalidArgument, "etcdserver: key is not provided", Invalid, Reason::Refused),
            (Code::Unavailable, "etcdserver: no leader", Unavailable, Reason::Unanswered),
            (Code::Unknown, "etcdserver: something new", Unavailable, Reason::Unanswered),
        ] {
            let failure = failure(code, text);
            assert_eq!((failure.kind, failure.reason), (kind, reason), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = failure(Code::PermissionDenied, "etcdserver: permission denied").during("read");
        assert!(error.to_string().contains("etcdctl role grant-permission"), "{error}");
        assert!(error.to_string().contains("h:2379"), "{error}");
    }

    #[test]
    fn certificates_are_told_from_outages() {
        let why = "transport error: invalid peer certificate: UnknownIssuer".to_owned();
        assert_eq!(Failure::of_connection(why, Reason::NotSent, "h").kind, ErrorKind::Denied);
        let why = "tcp connect error: Connection refused".to_owned();
        assert_eq!(Failure::of_connection(why, Reason::NotSent, "h").kind, ErrorKind::Unavailable);
    }
}
