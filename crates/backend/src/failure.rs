//! What went wrong, and what to do about it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use leasehold_core::{Error, ErrorKind};

/// A failed step of an operation. A backend keeps next to it what else it must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The caller's next move.
    pub kind: ErrorKind,
    /// What went wrong. Foreign text in it is printable and bounded.
    pub text: String,
    /// What to do about it: our own words, as a clause without a full stop.
    pub cure: Option<Cow<'static, str>>,
}

impl Failure {
    /// A failure without a cure.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), cure: None }
    }

    /// The store did not answer, or not in time.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, text)
    }

    /// The request or the configuration is wrong.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, text)
    }

    /// The store refused these credentials, or this process may not do that.
    pub fn denied(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, text)
    }

    /// The same with this cure, which replaces the one before.
    #[must_use]
    pub fn with_cure(self, cure: impl Into<Cow<'static, str>>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    /// The error of the operation of which this was a step: a verb phrase such as `"read the
    /// lock"`.
    #[must_use]
    pub fn during(self, operation: &'static str) -> Error {
        let error = Error::new(self.kind, operation, self.text);
        match self.cure {
            Some(cure) => error.with_cure(cure),
            None => error,
        }
    }
}

/// With the cure, if there is one.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.cure {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

impl StdError for Failure {}

/// An error and its sources, the outermost first.
pub fn chain<'a>(
    error: Option<&'a (dyn StdError + 'static)>,
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error, |&error| error.source())
}

/// These texts, each that the ones before do not contain already. Errors of libraries tend to
/// repeat what their sources say.
pub fn said_once(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for text in texts {
        if !said.iter().any(|known| known.contains(&text)) {
            said.push(text);
        }
    }
    said
}

/// What rustls and a server's alert say about a connection, told from an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsTrouble {
    /// The certificates do not fit. Waiting does not help.
    Certificates,
    /// The server does not speak TLS.
    Plain,
    /// The server closed the connection during the handshake, as one does that does not speak TLS,
    /// or that just went away.
    Closed,
}

impl TlsTrouble {
    /// The trouble that the text of a connection's error reports.
    #[must_use]
    pub fn of(said: &str) -> Option<Self> {
        let has = |words: &str| said.contains(words);
        if has("invalid peer certificate") || has("received fatal alert") {
            return Some(Self::Certificates);
        }
        if has("InvalidContentType") {
            return Some(Self::Plain);
        }
        has("tls handshake eof").then_some(Self::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_server_is_kept_whole_and_apart_from_the_cure() {
        let said = "the API server says: no; ask \"somebody\"; or wait";
        let error = Failure::denied(said).with_cure("grant `get`").during("read the lock");
        assert_eq!(error.problem(), format!("cannot read the lock: {said}"));
        assert_eq!(error.cure(), Some("grant `get`"));
        assert_eq!(error.to_string(), format!("cannot read the lock: {said}; grant `get`"));
        assert_eq!(Failure::denied(said).during("read").cure(), None);
    }

    #[test]
    fn an_error_says_once_what_its_sources_say() {
        let texts = ["request failed: no route", "no route", "no route", "tcp"];
        let said = said_once(texts.map(str::to_owned));
        assert_eq!(said, ["request failed: no route", "tcp"]);
        let inner = std::io::Error::other("inner");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(Some(&outer)).count(), 1, "an io::Error is what is in it");
        assert_eq!(chain(None).count(), 0);
    }

    #[test]
    fn certificates_are_told_from_outages() {
        for (said, trouble) in [
            (
                "transport error: invalid peer certificate: UnknownIssuer",
                Some(TlsTrouble::Certificates),
            ),
            ("received fatal alert: CertificateRequired", Some(TlsTrouble::Certificates)),
            ("received corrupt message of type InvalidContentType", Some(TlsTrouble::Plain)),
            ("tls handshake eof", Some(TlsTrouble::Closed)),
            ("tcp connect error: Connection refused", None),
        ] {
            assert_eq!(TlsTrouble::of(said), trouble, "{said}");
        }
    }
}
