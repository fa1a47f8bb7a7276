//! What an error of a server or of the client library means to the caller.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;

use leasehold_backend::{TlsTrouble, chain, said_once};
use leasehold_core::{Error, ErrorKind, printable};
use redis::{RedisError, ServerError};

use crate::name::LockName;

/// The longest text of somebody else's in one of ours, in characters.
const LONGEST: usize = 500;

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    what: leasehold_backend::Failure,
}

/// What follows for the request and its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The server answered, and would answer the same again.
    Refused,
    /// The same, since this user lacks a right.
    NotPermitted,
    /// The same, since the server does not have the command.
    Unknown,
    /// The key holds something else than a string.
    WrongType,
    /// No connection: the request never left this process.
    NotSent,
    /// It was sent, and its connection ended without an answer.
    Closed,
    /// Another server must be asked now: all connections to this one are of no use.
    Stale,
    /// Another node of the cluster has the key.
    Moved(String),
    /// Another node of the cluster has the key of this one request.
    Ask(String),
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, what: leasehold_backend::Failure::new(kind, text) }
    }

    /// A step before any request.
    pub(crate) fn of_us(what: leasehold_backend::Failure) -> Self {
        Self { reason: Reason::NotSent, what }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, Reason::Refused, text)
    }

    pub(crate) fn not_sent(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, Reason::NotSent, text)
    }

    /// No one said what became of the request.
    pub(crate) fn closed(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, Reason::Closed, text)
    }

    /// What answers is not the server that is meant.
    pub(crate) fn stale(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, Reason::Stale, text)
    }

    /// A server answered with something else than what it was asked for.
    pub(crate) fn unexpected(address: &str) -> Self {
        Self::closed(format!("{address}: what answers is not a server of Redis or Valkey"))
    }

    pub(crate) fn with_cure(self, cure: impl Into<Cow<'static, str>>) -> Self {
        Self { what: self.what.with_cure(cure), ..self }
    }

    /// Whether the server does not have the command.
    pub(crate) fn is_unknown(&self) -> bool {
        self.reason == Reason::Unknown
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.what.kind == ErrorKind::Denied
    }

    /// The same, of which this is the kind.
    pub(crate) fn but(mut self, kind: ErrorKind) -> Self {
        self.what.kind = kind;
        self
    }

    pub(crate) fn during(self, operation: &'static str) -> Error {
        self.what.during(operation)
    }

    /// The same of a request for this lock: says what permits it.
    pub(crate) fn on(self, name: &LockName) -> Self {
        match self.reason {
            Reason::NotPermitted if self.what.cure.is_none() => self.with_cure(name.grant()),
            _ => self,
        }
    }

    /// The meaning of an answer that is an error.
    pub(crate) fn of_answer(error: &ServerError, address: &str) -> Self {
        Self::of_text(error.code(), error.details().unwrap_or_default(), address)
    }

    /// The same of an answer to what needs this right.
    pub(crate) fn lacking(right: &str, said: &str, address: &str) -> Self {
        let (code, details) = said.split_once(' ').unwrap_or((said, ""));
        let failure = Self::of_text(code, details, address);
        match failure.reason {
            Reason::NotPermitted => {
                let right = printable(right);
                Self::new(
                    ErrorKind::Denied,
                    Reason::NotPermitted,
                    format!("{address}: this user lacks +{right}: {}", shown(said)),
                )
            }
            _ => failure,
        }
    }

    fn of_text(code: &str, details: &str, address: &str) -> Self {
        let said = shown(&format!("{code} {details}"));
        let text = format!("{address}: {}", said.trim_end());
        let of = |kind, reason| Self::new(kind, reason, text.clone());
        let wait = || of(ErrorKind::Unavailable, Reason::Refused);
        let denied = |reason| of(ErrorKind::Denied, reason);
        match code {
            "MOVED" | "ASK" => match details.split_once(' ').map(|(_, to)| to.trim().to_owned()) {
                Some(to) if code == "MOVED" => of(ErrorKind::Invalid, Reason::Moved(to)),
                Some(to) => of(ErrorKind::Invalid, Reason::Ask(to)),
                None => wait(),
            }
            .with_cure("it is a cluster: write redis+cluster://"),
            "NOPERM" => denied(Reason::NotPermitted),
            "EXECABORT" if details.contains("NOPERM") => denied(Reason::NotPermitted),
            "NOAUTH" => denied(Reason::Stale).with_cure(
                "the server asks who comes: add user=NAME and password_file=PATH, or \
                 password_file=PATH alone for its default user",
            ),
            "WRONGPASS" => denied(Reason::Stale).with_cure("fix the user or its password"),
            "DENIED" => denied(Reason::Refused).with_cure(
                "the server lets nobody in from another host before it has a password (protected \
                 mode)",
            ),
            "WRONGTYPE" => of(ErrorKind::Corrupt, Reason::WrongType),
            "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "LOADING" => {
                of(ErrorKind::Unavailable, Reason::Stale)
            }
            "BUSY" | "UNKILLABLE" => wait()
                .with_cure("a script of another client runs for too long: end it with SCRIPT KILL"),
            "OOM" => wait().with_cure("the server has reached maxmemory: raise it, or remove data"),
            "MISCONF" => wait().with_cure(
                "the server cannot save its data and refuses writes: look at its disk and its log",
            ),
            "NOREPLICAS" => wait().with_cure(
                "fewer replicas follow than min-replicas-to-write asks for: bring them back",
            ),
            "ERR" if details.contains("max number of clients") => {
                wait().with_cure("raise maxclients")
            }
            "ERR" if is_of_rights(details) => denied(Reason::NotPermitted),
            "ERR" if is_unknown(details) => of(ErrorKind::Invalid, Reason::Unknown).with_cure(
                "this server lacks a command that the lock needs: use Redis or Valkey 7.0 or \
                 newer, without a proxy before it",
            ),
            _ => wait(),
        }
    }

    /// The meaning of an error of the client library that may be an answer.
    pub(crate) fn of_redis(error: &RedisError, address: &str) -> Self {
        match error.code() {
            Some(code) => Self::of_text(code, error.detail().unwrap_or_default(), address),
            None => Self::of_connection(error, address),
        }
    }

    /// What ended a connection, or kept one from being made. A connection is new if it has answered
    /// nothing yet.
    pub(crate) fn of_connection(error: &RedisError, address: &str) -> Self {
        let mut texts = vec![error.to_string()];
        texts.extend(chain(error.source()).map(ToString::to_string));
        let said = said_once(texts).join(": ");
        match error.kind() {
            redis::ErrorKind::AuthenticationFailed => Self::new(
                ErrorKind::Denied,
                Reason::NotSent,
                format!("{address}: {}", shown(&said)),
            )
            .with_cure("fix the user or its password"),
            redis::ErrorKind::Parse => Self::unexpected(address),
            _ => Self::of_io(&said, Reason::Closed, address),
        }
    }

    /// Certificates that do not fit are no matter of waiting.
    pub(crate) fn of_io(said: &str, reason: Reason, address: &str) -> Self {
        let said = shown(said);
        let text = format!("{address}: {said}");
        match TlsTrouble::of(&said) {
            Some(TlsTrouble::Certificates) => {
                let failure = Self::new(ErrorKind::Denied, Reason::NotSent, text);
                failure.with_cure(if said.contains("not valid for name") {
                    "the certificate is for another name: name the server as its certificate does; \
                     Sentinels name hosts only with sentinel resolve-hostnames yes and \
                     replica-announce-ip HOST"
                } else {
                    "look at the certificates (ca, cert and key) and how long they are good"
                })
            }
            Some(TlsTrouble::Plain | TlsTrouble::Closed) => {
                let failure = Self::new(ErrorKind::Unavailable, reason, text);
                failure.with_cure("if it does not speak TLS, write redis:// instead of rediss://")
            }
            None => Self::new(ErrorKind::Unavailable, reason, text),
        }
    }

    /// The same on a connection that never answered anything: a server closes one that does not
    /// suit it.
    pub(crate) fn on_first_contact(self, over_tls: bool) -> Self {
        if self.reason != Reason::Closed || self.what.cure.is_some() {
            return self;
        }
        self.with_cure(if over_tls {
            "it answered nothing on this connection: if it asks for a certificate, look at cert \
             and key and how long they are good"
        } else {
            "it answered nothing on this connection: if it speaks TLS, write rediss://"
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

/// How servers refuse inside a script what a user may not do.
fn is_of_rights(details: &str) -> bool {
    details.starts_with("ACL failure in script")
        || details.starts_with("The user executing the script can't")
}

/// How servers and proxies refuse a command that they do not have.
fn is_unknown(details: &str) -> bool {
    let details = details.to_ascii_lowercase();
    details.contains("unknown command")
        || details.contains("unsupported command")
        || details.contains("unknown redis command")
        || details.contains("this instance has cluster support disabled")
}

/// Text of a server or of a library that quotes one, as it may be shown.
fn shown(said: &str) -> String {
    printable(said).at_most(LONGEST).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: &str) -> Failure {
        let (code, details) = said.split_once(' ').unwrap_or((said, ""));
        Failure::of_text(code, details, "h:6379")
    }

    #[test]
    fn what_a_server_says_decides_what_the_caller_does() {
        use ErrorKind::{Corrupt, Denied, Invalid, Unavailable};
        for (said, kind, reason) in [
            (
                "NOPERM this user has no permissions to run the 'get' command",
                Denied,
                Reason::NotPermitted,
            ),
            (
                "EXECABORT Transaction discarded because of: NOPERM this user has no permissions",
                Denied,
                Reason::NotPermitted,
            ),
            ("NOAUTH Authentication required.", Denied, Reason::Stale),
            ("WRONGPASS invalid username-password pair", Denied, Reason::Stale),
            ("DENIED Redis is running in protected mode", Denied, Reason::Refused),
            (
                "ERR ACL failure in script: User x has no permissions to run the 'info' command",
                Denied,
                Reason::NotPermitted,
            ),
            (
                "ERR The user executing the script can't run this command or subcommand",
                Denied,
                Reason::NotPermitted,
            ),
            ("WRONGTYPE Operation against a key", Corrupt, Reason::WrongType),
            ("READONLY You can't write against a read only replica.", Unavailable, Reason::Stale),
            ("MASTERDOWN Link with MASTER is down", Unavailable, Reason::Stale),
            ("LOADING Redis is loading the dataset in memory", Unavailable, Reason::Stale),
            ("CLUSTERDOWN Hash slot not served", Unavailable, Reason::Stale),
            ("BUSY Redis is busy running a script.", Unavailable, Reason::Refused),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Unavailable,
                Reason::Refused,
            ),
            ("MISCONF Redis is configured to save RDB snapshots", Unavailable, Reason::Refused),
            ("NOREPLICAS Not enough good replicas to write.", Unavailable, Reason::Refused),
            ("ERR max number of clients reached", Unavailable, Reason::Refused),
            ("TRYAGAIN Multiple keys request during rehashing", Unavailable, Reason::Refused),
            ("ERR something new", Unavailable, Reason::Refused),
            ("ERR unknown command 'WAIT', with args", Invalid, Reason::Unknown),
            ("MOVED 866 10.0.0.2:6379", Invalid, Reason::Moved("10.0.0.2:6379".to_owned())),
            ("ASK 866 10.0.0.2:6379", Invalid, Reason::Ask("10.0.0.2:6379".to_owned())),
            ("MOVED", Unavailable, Reason::Refused),
        ] {
            let failure = of(said);
            assert_eq!((failure.what.kind, failure.reason), (kind, reason), "{said}");
        }
    }

    #[test]
    fn a_refusal_names_the_right_and_the_rule() {
        let name = LockName::parse("jobs").unwrap();
        let said = "ERR The user executing the script can't run this command or subcommand";
        let error = Failure::lacking("info|stats", said, "h:1").on(&name).during("renew");
        let text = error.to_string();
        assert!(text.contains("lacks +info|stats") && text.contains("ACL SETUSER"), "{text}");
        let other = Failure::lacking("set", "OOM command not allowed", "h:1");
        assert_eq!(other.what.kind, ErrorKind::Unavailable);
    }

    #[test]
    fn what_a_server_says_is_one_bounded_line_without_controls() {
        let hostile = format!("ERR no\n2026 INFO leads\u{1b}[2J\u{202e}{}", "x".repeat(9999));
        let text = of(&hostile).what.text;
        assert!(!text.contains(['\n', '\u{1b}', '\u{202e}']) && text.len() < 1000, "{text}");
    }

    #[test]
    fn certificates_are_told_from_outages() {
        let of = |said| Failure::of_io(said, Reason::NotSent, "h:1");
        let name = of("invalid peer certificate: certificate not valid for name \"10.0.0.1\"");
        assert_eq!(name.what.kind, ErrorKind::Denied);
        assert!(name.what.to_string().contains("resolve-hostnames"), "{}", name.what);
        assert_eq!(of("Connection refused").what.kind, ErrorKind::Unavailable);
        let closed = Failure::closed("h:1: broken pipe").on_first_contact(false);
        assert!(closed.what.to_string().contains("rediss://"), "{}", closed.what);
    }
}
