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
    pub(crate) text: String,
}

/// What follows for the request and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No connection: the request never left this process.
    NotSent,
    /// It was sent, and no member said what became of it.
    Unanswered,
    /// The same: its connection was closed.
    Closed,
    /// The server does not know our login any more: a new connection logs in again.
    StaleLogin,
    /// The server does not know our user or password: the next connection comes with what it is then.
    WrongLogin,
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

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, Reason::Refused, text)
    }

    /// The meaning of an error that this member's connection gave.
    pub(crate) fn of(error: &ClientError, member: &str) -> Self {
        match error {
            ClientError::GRpcStatus(status) => Self::of_status(status, member),
            ClientError::LeaseKeepAliveError(text) if text == "lease not found" => {
                Self::new(ErrorKind::Unavailable, Reason::NoLease, text)
            }
            ClientError::TransportError(error) => {
                let why = chain(&error.to_string(), error.source());
                Self::of_connection(why, Reason::NotSent, member)
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
            let reason = if was_never_sent(status) { Reason::NotSent } else { Reason::Closed };
            return Self::of_connection(chain(said, status.source()), reason, member);
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
            Code::InvalidArgument if said.contains("authentication failed") => Self {
                reason: Reason::WrongLogin,
                ..Self::denied(member, said, "mend the user or its password")
            },
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
    pub(crate) fn of_connection(why: String, reason: Reason, member: &str) -> Self {
        if why.contains("invalid peer certificate") || why.contains("received fatal alert") {
            let text = format!(
                "{member}: {why}; look at the certificates (ca, cert and key) and how long they are good"
            );
            return Self::new(ErrorKind::Denied, Reason::NotSent, text);
        }
        let is_plain =
            ["InvalidContentType", "tls handshake eof"].iter().any(|sign| why.contains(sign));
        let advice = if is_plain { "; if it does not speak TLS, write etcd://" } else { "" };
        Self::new(ErrorKind::Unavailable, reason, format!("{member}: {why}{advice}"))
    }

    /// The same on a connection that never answered anything: a server closes one that does not suit it, and its
    /// word of why may be lost.
    pub(crate) fn on_first_contact(mut self, member: &str) -> Self {
        if self.reason == Reason::Closed {
            self.text += if member.starts_with("https://") {
                "; it answered nothing on this connection: if it asks for a certificate, look at cert and key and how long they are good"
            } else {
                "; it answered nothing on this connection: if it speaks TLS, write etcds://"
            };
        }
        self
    }

    /// Whether every member would say the same.
    pub(crate) fn is_definite(&self) -> bool {
        matches!(
            self.reason,
            Reason::Refused | Reason::WrongLogin | Reason::NoLease | Reason::LeaseExists
        )
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

/// What an error says, and what its sources say, once each. The outermost of the transport say nothing.
fn chain(said: &str, mut source: Option<&(dyn StdError + 'static)>) -> String {
    let mut texts = vec![said.to_owned()];
    while let Some(error) = source {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        source = error.source();
    }
    if texts.len() > 1 {
        texts.retain(|text| text != "transport error");
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
                Reason::WrongLogin,
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
