//! The lock: one document of the map, and a condition in every write.

use std::error::Error as StdError;
use std::time::Duration;

use leasehold::backend::{
    Capabilities, Change, Contents, Expiry, LockBackend, Observed, Outcome, Record, Version,
    async_trait,
};
use leasehold::{Error, ErrorKind, Token};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER,
};
use reqwest::{Client, RequestBuilder, StatusCode, Url};

const OPEN: &str = "open the lock";
const READ: &str = "read the lock";
const SEQUENCE: &str = "locks-sequence";
const JSON: &str = "application/json";

/// No record is longer; [`Record::from_json`] refuses one that is.
const LONGEST: usize = (1 << 20) + 1;

/// A lock that is the document `/locks/NAME` of a server.
#[derive(Debug)]
pub struct HttpMapLock {
    url: Url,
    client: Client,
}

/// An answer of the server that arrived whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl HttpMapLock {
    /// The lock of that name at a server such as `http://10.0.0.7:7070`. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: this is not the URL of a server, or the name cannot be a part of a path.
    pub fn open(server: &str, name: &str) -> Result<Self, Error> {
        let base = Url::parse(server).map_err(|error| invalid(error.to_string()))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(invalid("the URL holds credentials, and every log would show it".into()));
        }
        // A path loses these two, however they are encoded.
        if matches!(name, "" | "." | "..") || name.len() > 1_000 {
            return Err(invalid(format!("{name:?} cannot be the name of a lock")));
        }
        // Two names are never encoded to one.
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let url = base.join(&format!("/locks/{encoded}"));
        let url = url.map_err(|error| invalid(error.to_string()))?;
        let client = Client::builder()
            // The election decides what is sent again, and only the server answers for its locks.
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        Ok(Self { url, client: client.map_err(|error| invalid(chain(&error)))? })
    }

    /// Sends one request. A future that is dropped closes its connection.
    async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Answer, Error> {
        let unavailable = |error: reqwest::Error| {
            Error::new(ErrorKind::Unavailable, operation, chain(&error))
                .with_cure("check that the server runs and that this host reaches it")
        };
        let request = request.header(CACHE_CONTROL, "no-cache");
        let mut response = request.send().await.map_err(unavailable)?;
        let mut body = Vec::new();
        while body.len() < LONGEST
            && let Some(chunk) = response.chunk().await.map_err(unavailable)?
        {
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status(), headers: response.headers().clone(), body })
    }
}

#[async_trait]
impl LockBackend for HttpMapLock {
    fn name(&self) -> &str {
        self.url.as_str()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn read(&self) -> Result<Observed, Error> {
        let answer = self.send(READ, self.client.get(self.url.clone())).await?;
        match answer.status {
            StatusCode::OK => {
                let contents = match Record::from_json(&answer.body) {
                    Ok(record) => Contents::Record(record),
                    // Somebody's document, but not a record: it is never overwritten.
                    Err(why) => Contents::Unreadable(why),
                };
                answer.observed(READ, answer.etag(), contents)
            }
            StatusCode::NOT_FOUND => {
                answer.observed(READ, Some(Version::absent()), Contents::Absent)
            }
            _ => Err(answer.failure(READ)),
        }
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let operation = change.intent.operation();
        let request = self.client.put(self.url.clone()).header(CONTENT_TYPE, JSON);
        let request = match expected.as_bytes() {
            Some(etag) => request.header(IF_MATCH, etag),
            // Absent: create it, if it is still absent.
            None => request.header(IF_NONE_MATCH, "*"),
        };
        let answer = self.send(operation, request.body(change.record.to_json())).await?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => {
                let contents = Contents::Record(change.record.clone());
                answer.observed(operation, answer.etag(), contents).map(Outcome::Written)
            }
            StatusCode::PRECONDITION_FAILED if answer.sequence().is_some() => Ok(Outcome::Conflict),
            _ => Err(answer.failure(operation)),
        }
    }
}

impl Answer {
    /// The state that this answer shows. A gateway answers too, "not found" for instance: only what
    /// carries the store's count of its writes is the store's own word.
    fn observed(
        &self,
        operation: &'static str,
        version: Option<Version>,
        contents: Contents,
    ) -> Result<Observed, Error> {
        match (version, self.sequence()) {
            (Some(version), token_floor @ Some(_)) => {
                Ok(Observed { version, contents, expiry: Expiry::ByObserver, token_floor })
            }
            _ => Err(self.failure(operation)),
        }
    }

    /// A weak ETag names no state exactly, so a write could not name it.
    fn etag(&self) -> Option<Version> {
        let etag = self.headers.get(ETAG)?.as_bytes();
        etag.starts_with(b"\"").then(|| Version::bytes(etag))
    }

    /// The count of all writes of the store. Every token that was used is at most that.
    fn sequence(&self) -> Option<Token> {
        self.headers.get(SEQUENCE)?.to_str().ok()?.parse().ok()
    }

    /// Anything that proves neither that the request was carried out nor that it was not.
    fn failure(&self, operation: &'static str) -> Error {
        let retry_after = || self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok();
        let (kind, cure) = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                (ErrorKind::Denied, "grant GET and PUT on this path")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let retry_after = retry_after().map(Duration::from_secs);
                (ErrorKind::Throttled { retry_after }, "raise the server's limit")
            }
            status if status.is_client_error() && self.sequence().is_some() => {
                (ErrorKind::Invalid, "check the versions of this program and of the server")
            }
            // A server that fails, or something else that answers in its place.
            _ => (ErrorKind::Unavailable, "check what answers at this address"),
        };
        let body = String::from_utf8_lossy(&self.body);
        Error::new(kind, operation, format!("it answered {}: {body}", self.status)).with_cure(cure)
    }
}

fn invalid(why: String) -> Error {
    Error::new(ErrorKind::Invalid, OPEN, why).with_cure("use a URL such as http://10.0.0.7:7070")
}

/// An error of the client names its cause only one level below.
fn chain(error: &dyn StdError) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No case of the suite can make a server send these.
    #[test]
    fn an_answer_that_proves_nothing_is_an_error_of_its_kind() {
        let throttled = ErrorKind::Throttled { retry_after: Some(Duration::from_secs(3)) };
        for (status, is_the_stores, kind) in [
            (StatusCode::FORBIDDEN, false, ErrorKind::Denied),
            (StatusCode::TOO_MANY_REQUESTS, false, throttled),
            (StatusCode::PRECONDITION_REQUIRED, true, ErrorKind::Invalid),
            (StatusCode::BAD_GATEWAY, false, ErrorKind::Unavailable),
            // A gateway that knows no such path says nothing about the lock.
            (StatusCode::NOT_FOUND, false, ErrorKind::Unavailable),
            (StatusCode::OK, false, ErrorKind::Unavailable),
        ] {
            let mut headers = HeaderMap::from_iter([(RETRY_AFTER, "3".parse().unwrap())]);
            if is_the_stores {
                headers.insert(SEQUENCE, "7".parse().unwrap());
            }
            let answer = Answer { status, headers, body: b"<html>".to_vec() };
            let seen = answer.observed(READ, Some(Version::absent()), Contents::Absent);
            let error = if is_the_stores { answer.failure(READ) } else { seen.unwrap_err() };
            assert_eq!(error.kind(), kind, "{status}");
            assert!(error.cure().is_some(), "{error}");
        }
    }

    #[test]
    fn a_server_or_a_name_that_cannot_be_is_refused_up_front() {
        for (server, name) in [
            ("10.0.0.7:7070", "a"),
            ("http://user:word@h", "a"),
            ("http://h", ".."),
            ("http://h", ""),
        ] {
            let error = HttpMapLock::open(server, name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(!error.to_string().contains("word"), "{error}");
        }
    }
}
