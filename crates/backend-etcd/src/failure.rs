//! What an error of the client library means to the caller.

use std::borrow::Cow;
use std::error::Error as StdError;

use etcd_client::Error as ClientError;
use leasehold_backend::{TlsTrouble, chain, said_once};
use leasehold_core::{Error, ErrorKind, printable};
use tonic::{Code, ConnectError, Status};

use crate::election::ElectionName;
use crate::shell::quoted;

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    what: leasehold_backend::Failure,
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
    /// The server does not know our user or password: the next connection comes with what it is
    /// then.
    WrongLogin,
    /// The server asks for no login, and refuses one.
    NoLogins,
    /// The server asks who comes.
    NoUser,
    /// It is of another cluster: it said nothing of this lock.
    Foreign,
    /// What is stored there is larger than an answer may be.
    TooLarge,
    /// The server said no; another member would say the same.
    Refused,
    /// The same, since this user may not do that.
    NotPermitted,
    /// There is no such lease.
    NoLease,
    /// A lease of that id is there already.
    LeaseExists,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, what: leasehold_backend::Failure::new(kind, text) }
    }

    /// No member said what became of the request.
    pub(crate) fn unanswered(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, Reason::Unanswered, text)
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.what.kind
    }

    pub(crate) fn with_cure(self, cure: impl Into<Cow<'static, str>>) -> Self {
        Self { what: self.what.with_cure(cure), ..self }
    }

    /// The same, from which this follows instead.
    pub(crate) fn but(mut self, kind: ErrorKind, reason: Reason) -> Self {
        (self.what.kind, self.reason) = (kind, reason);
        self
    }

    /// A step before any request.
    pub(crate) fn of_us(what: leasehold_backend::Failure) -> Self {
        Self { reason: Reason::NotSent, what }
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, Reason::Refused, text)
    }

    /// This endpoint is of another cluster, so it did not answer.
    pub(crate) fn foreign(member: &str) -> Self {
        let text = format!("{member} is of another cluster than the other endpoints");
        Self::new(ErrorKind::Unavailable, Reason::Foreign, text)
    }

    /// The endpoints are of another cluster than before.
    pub(crate) fn replaced(before: u64, now: u64, said: &str) -> Self {
        let text = format!(
            "the store was replaced: the cluster was {before:x} and is {now:x} now ({said}). The \
             other one knows nothing of this lock's terms and gives out tokens that were used"
        );
        Self::new(ErrorKind::Replaced, Reason::Refused, text).with_cure(
            "if it was replaced on purpose, start this program anew, with token_floor=N for a \
             token that is larger than all before",
        )
    }

    /// The meaning of an error that this member's connection gave.
    pub(crate) fn of(error: &ClientError, member: &str) -> Self {
        match error {
            ClientError::GRpcStatus(status) => Self::of_status(status, member),
            ClientError::LeaseKeepAliveError(text) if text == "lease not found" => {
                Self::new(ErrorKind::Unavailable, Reason::NoLease, text)
            }
            ClientError::TransportError(error) => {
                let why = told(&error.to_string(), error.source());
                Self::of_connection(&why, Reason::NotSent, member)
            }
            ClientError::InvalidArgs(_) | ClientError::InvalidUri(_) => Self::new(
                ErrorKind::Invalid,
                Reason::Refused,
                format!("{member}: {}", shown(error)),
            ),
            // A login that was refused stands in the text of some of these.
            ClientError::InvalidMetadataValue(_) => {
                Self::unanswered(format!("{member}: its login token cannot be sent"))
            }
            other => Self::unanswered(format!("{member}: {}", shown(other))),
        }
    }

    fn of_status(status: &Status, member: &str) -> Self {
        let raw = status.message();
        if status.source().is_some() {
            let reason = if was_never_sent(status) { Reason::NotSent } else { Reason::Closed };
            return Self::of_connection(&told(raw, status.source()), reason, member);
        }
        let said = shown(raw);
        let with = |kind, reason| Self::new(kind, reason, format!("{member}: {said}"));
        if !is_of_etcd(status) {
            let text = format!("{member}: {said} ({}); what answers is not etcd", status.code());
            return Self::unanswered(text);
        }
        match status.code() {
            Code::NotFound if raw.contains("lease") => {
                Self::new(ErrorKind::Unavailable, Reason::NoLease, said)
            }
            Code::FailedPrecondition if raw.contains("lease already exists") => {
                Self::new(ErrorKind::Unavailable, Reason::LeaseExists, said)
            }
            Code::FailedPrecondition if raw.contains("authentication is not enabled") => {
                with(ErrorKind::Unavailable, Reason::NoLogins)
            }
            Code::PermissionDenied => with(ErrorKind::Denied, Reason::NotPermitted),
            Code::InvalidArgument if raw.contains("user name is empty") => {
                with(ErrorKind::Denied, Reason::NoUser).with_cure(
                    "the cluster asks for a user: name one, with user=NAME and password_file=PATH",
                )
            }
            Code::InvalidArgument if raw.contains("authentication failed") => {
                with(ErrorKind::Denied, Reason::WrongLogin)
                    .with_cure("fix the user or its password")
            }
            // Whoever was logged in before a change of the rights must log in again.
            Code::Unauthenticated => with(ErrorKind::Unavailable, Reason::StaleLogin),
            Code::InvalidArgument if raw.contains("auth") => {
                with(ErrorKind::Unavailable, Reason::StaleLogin)
            }
            Code::OutOfRange | Code::ResourceExhausted if is_too_large(raw) => {
                with(ErrorKind::Unavailable, Reason::TooLarge)
            }
            Code::ResourceExhausted if raw.contains("space exceeded") => {
                with(ErrorKind::Unavailable, Reason::Refused).with_cure(
                    "compact, defragment and disarm (etcdctl alarm list): until then who leads can \
                     renew, but nobody can take the lock",
                )
            }
            Code::ResourceExhausted => {
                with(ErrorKind::Throttled { retry_after: None }, Reason::Refused)
            }
            // What was asked for is not there any more, or not yet.
            Code::OutOfRange => with(ErrorKind::Unavailable, Reason::Refused),
            Code::InvalidArgument => with(ErrorKind::Invalid, Reason::Refused),
            code => Self::unanswered(format!("{member}: {said} ({code})")),
        }
    }

    /// Certificates that do not fit are no matter of waiting.
    pub(crate) fn of_connection(why: &str, reason: Reason, member: &str) -> Self {
        let why = shown(why);
        let text = format!("{member}: {why}");
        match TlsTrouble::of(&why) {
            Some(TlsTrouble::Certificates) => Self::new(ErrorKind::Denied, Reason::NotSent, text)
                .with_cure(
                    "look at the certificates (ca, cert and key) and how long they are good",
                ),
            Some(TlsTrouble::Plain | TlsTrouble::Closed) => {
                Self::new(ErrorKind::Unavailable, reason, text)
                    .with_cure("if it does not speak TLS, write etcd://")
            }
            None => Self::new(ErrorKind::Unavailable, reason, text),
        }
    }

    /// The same on a connection that never answered anything: a server closes one that does not
    /// suit it, and its word of why may be lost.
    pub(crate) fn on_first_contact(self, member: &str) -> Self {
        if self.reason != Reason::Closed {
            return self;
        }
        self.with_cure(if member.starts_with("https://") {
            "it answered nothing on this connection: if it asks for a certificate, look at cert \
             and key and how long they are good"
        } else {
            "it answered nothing on this connection: if it speaks TLS, write etcds://"
        })
    }

    /// Whether every member would say the same.
    pub(crate) fn is_definite(&self) -> bool {
        matches!(
            self.reason,
            Reason::Refused
                | Reason::NotPermitted
                | Reason::WrongLogin
                | Reason::NoUser
                | Reason::TooLarge
                | Reason::NoLease
                | Reason::LeaseExists
        )
    }

    /// Whether it tells of a lease, which is there or not there in one cluster only.
    pub(crate) fn is_of_lease(&self) -> bool {
        matches!(self.reason, Reason::NoLease | Reason::LeaseExists)
    }

    pub(crate) fn during(self, operation: &'static str) -> Error {
        self.what.during(operation)
    }

    /// The same of a request for keys of this election: says what permits it.
    pub(crate) fn on(self, election: &ElectionName) -> Self {
        match self.reason {
            Reason::NotPermitted => self.with_cure(format!(
                "grant the user's role readwrite on the election (who only looks on needs read): \
                 {}",
                election.grant()
            )),
            Reason::TooLarge => self.with_cure(format!(
                "something under {} is larger than an answer may be: look at it with etcdctl get \
                 {} --prefix --keys-only, and remove what is no candidate's",
                printable(election.prefix()),
                quoted(election.prefix().as_bytes()).unwrap_or_else(|| "PREFIX".to_owned()),
            )),
            _ => self,
        }
    }
}

/// The longest text of somebody else's in one of ours, in characters.
const LONGEST: usize = 500;

/// Text of a server or of a library that quotes one, as it may be shown.
fn shown(text: impl ToString) -> String {
    printable(&text.to_string()).at_most(LONGEST).to_string()
}

/// Whether a status is what etcd says, and not what something on the way to it made of an answer.
fn is_of_etcd(status: &Status) -> bool {
    let is_of_http = status.message().contains("grpc-status header missing");
    let decides = matches!(
        status.code(),
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument | Code::NotFound
    );
    let says_so =
        ["etcdserver:", "auth:", "lease"].iter().any(|sign| status.message().contains(sign));
    !is_of_http && status.code() != Code::Unimplemented && (!decides || says_so)
}

/// What a client or a server on the way says of a message beyond its limit.
fn is_too_large(said: &str) -> bool {
    said.contains("message length too large") || said.contains("message larger than max")
}

/// A request that met no connection has changed nothing.
fn was_never_sent(status: &Status) -> bool {
    chain(status.source()).any(|error| error.is::<ConnectError>())
}

/// What an error says, and what its sources say, once each. The outermost of the transport say
/// nothing.
fn told(said: &str, source: Option<&(dyn StdError + 'static)>) -> String {
    let sources = chain(source).map(ToString::to_string);
    let mut texts = said_once([said.to_owned()].into_iter().chain(sources));
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
            (Code::PermissionDenied, "etcdserver: permission denied", Denied, Reason::NotPermitted),
            (Code::InvalidArgument, "etcdserver: user name is empty", Denied, Reason::NoUser),
            (
                Code::FailedPrecondition,
                "etcdserver: authentication is not enabled",
                Unavailable,
                Reason::NoLogins,
            ),
            (
                Code::OutOfRange,
                "Error, decoded message length too large: found 4200123 bytes, the limit is: \
                 4194304 bytes",
                Unavailable,
                Reason::TooLarge,
            ),
            (
                Code::ResourceExhausted,
                "grpc: trying to send message larger than max (4200123 vs. 1572864)",
                Unavailable,
                Reason::TooLarge,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Unavailable,
                Reason::Refused,
            ),
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
            assert_eq!((failure.kind(), failure.reason), (kind, reason), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let denied = failure(Code::PermissionDenied, "etcdserver: permission denied");
        let election = ElectionName::parse("jobs/it's").unwrap();
        let error = denied.on(&election).during("read");
        let cure = r"etcdctl role grant-permission ROLE readwrite 'jobs/it'\''s/' --prefix=true";
        assert!(error.to_string().contains(cure), "{error}");
        assert!(error.to_string().contains("h:2379"), "{error}");
    }

    #[test]
    fn certificates_are_told_from_outages() {
        let why = "transport error: invalid peer certificate: UnknownIssuer";
        assert_eq!(Failure::of_connection(why, Reason::NotSent, "h").kind(), ErrorKind::Denied);
        let why = "tcp connect error: Connection refused";
        assert_eq!(
            Failure::of_connection(why, Reason::NotSent, "h").kind(),
            ErrorKind::Unavailable
        );
    }

    /// Something on the way to the store decides nothing about a lock.
    #[test]
    fn what_is_not_etcds_own_answer_is_unavailable() {
        for (code, text) in [
            (Code::Unimplemented, "grpc-status header missing, mapped from HTTP status code 404"),
            (
                Code::PermissionDenied,
                "grpc-status header missing, mapped from HTTP status code 403",
            ),
            (Code::Unauthenticated, "grpc-status header missing, mapped from HTTP status code 401"),
            (Code::Internal, "grpc-status header missing, mapped from HTTP status code 400"),
            (Code::Unimplemented, "unknown service etcdserverpb.KV"),
            (Code::PermissionDenied, "RBAC: access denied"),
            (Code::Unauthenticated, "Jwt is missing"),
            (Code::InvalidArgument, "bad gateway"),
        ] {
            let failure = failure(code, text);
            assert_eq!(failure.kind(), ErrorKind::Unavailable, "{text}");
            assert!(!failure.is_definite(), "{text}: another member may be reached");
        }
    }

    #[test]
    fn what_a_server_says_is_one_bounded_line_without_controls() {
        let hostile =
            format!("etcdserver: no\n2026 INFO leads\u{1b}[2J\u{202e}{}", "x".repeat(9999));
        for code in [Code::PermissionDenied, Code::Unknown, Code::NotFound, Code::Internal] {
            let text = failure(code, &hostile).what.text;
            assert!(!text.contains(['\n', '\u{1b}', '\u{202e}']), "{text}");
            assert!(text.len() < 1000, "{}", text.len());
        }
    }

    #[test]
    fn what_is_too_large_names_the_prefix_to_look_at() {
        let text = "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes";
        let election = ElectionName::parse("jobs/nightly").unwrap();
        let error = failure(Code::OutOfRange, text).on(&election).during("read").to_string();
        assert!(error.contains("etcdctl get 'jobs/nightly/' --prefix --keys-only"), "{error}");
    }
}
