//! Bodies of answers, read up to a bound, and the events of a watch.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use futures_util::stream::unfold;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use leasehold_backend::chain;
use leasehold_core::{BoxStream, ErrorKind, printable};
use serde_json::Value;

use crate::failure::Failure;
use crate::redact::of_json;
use crate::said::Said;

/// The most bytes of one object: etcd holds 1.5 MB of it, and JSON takes more room.
pub(crate) const OBJECT: usize = 4 << 20;

/// The most bytes of one page of a list.
pub(crate) const PAGE: usize = 64 << 20;

/// The most characters of a content type that are shown.
const SHOWN: usize = 60;

/// What Go's servers say in plain words. Other words of strangers are not shown: they may repeat
/// the request.
const KNOWN: [&str; 2] = ["404 page not found", "Client sent an HTTP request to an HTTPS server"];

/// What happened to an object, or to the watch.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It is like this now.
    Is(Value),
    /// It was like this when it was deleted.
    Gone(Value),
    /// How far the server is.
    Bookmark(Option<u64>),
}

pub(crate) type Events = BoxStream<'static, Result<Event, Failure>>;

/// The JSON of an answer.
///
/// # Errors
/// The API server refused, or this is not its answer.
pub(crate) async fn value(answer: Response<Body>, most: usize) -> Result<Value, Failure> {
    let answer = accepted(answer).await?;
    let about = described(answer.status(), answer.headers());
    let code = answer.status().as_u16();
    let bytes = bounded(answer.into_body(), most).await?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::of_stranger(code, &format!("{about}: {}", of_json(&error))))?;
    match Said::of(&value, code) {
        Some(said) if value["status"] == "Failure" => Err(Failure::of_said(&said)),
        _ if value.is_object() => Ok(value),
        _ => Err(Failure::of_stranger(code, &format!("{about}, not an object"))),
    }
}

/// The answer, if it is not a refusal.
async fn accepted(answer: Response<Body>) -> Result<Response<Body>, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let about = described(status, answer.headers());
    let later = retry_after(answer.headers());
    let bytes = bounded(answer.into_body(), OBJECT).await?;
    let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if let Some(mut said) = Said::of(&value, status.as_u16()) {
        said.retry_after = said.retry_after.or(later);
        return Err(Failure::of_said(&said));
    }
    // The API server sheds load in plain words, before it knows what is asked for.
    if status == StatusCode::TOO_MANY_REQUESTS {
        let kind = ErrorKind::Throttled { retry_after: later };
        return Err(Failure::new(kind, "the API server asks for fewer requests"));
    }
    let text = String::from_utf8_lossy(&bytes);
    let known = KNOWN.into_iter().find(|known| text.contains(known));
    let shown = known.map(|known| format!(": {known}")).unwrap_or_default();
    Err(Failure::of_stranger(status.as_u16(), &format!("{about}{shown}")))
}

/// `HTTP 403 Forbidden, text/html`.
fn described(status: StatusCode, headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("no type");
    format!("HTTP {status}, {}", printable(kind).at_most(SHOWN))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let number = serde_json::from_str(number).ok()?;
    crate::said::seconds(&number)
}

/// The whole body, if it is not longer than this.
async fn bounded(mut body: Body, most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::of(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_long("an answer", most));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn too_long(what: &str, most: usize) -> Failure {
    Failure::unavailable(format!(
        "{what} is longer than {} MiB: what answered is not the API server, or somebody made an \
         object too large to be read",
        most >> 20
    ))
}

/// The events of a watch, until the server or the connection ends it.
///
/// # Errors
/// The API server refused, or this is not its answer.
pub(crate) async fn events(answer: Response<Body>) -> Result<Events, Failure> {
    let lines = Lines { body: accepted(answer).await?.into_body(), bytes: Vec::new(), at: 0 };
    Ok(Box::pin(unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match lines.next().await {
            Ok(Some(line)) => match event(&line) {
                Ok(event) => Some((Ok(event), Some(lines))),
                Err(failure) => Some((Err(failure), None)),
            },
            Ok(None) => None,
            Err(failure) => Some((Err(failure), None)),
        }
    })))
}

/// A body, line by line.
struct Lines {
    body: Body,
    bytes: Vec<u8>,
    /// Where the next line begins.
    at: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut looked = self.at;
        loop {
            if let Some(end) = self.bytes[looked..].iter().position(|byte| *byte == b'\n') {
                let line = self.bytes[self.at..looked + end].to_vec();
                self.at = looked + end + 1;
                if line.iter().all(u8::is_ascii_whitespace) {
                    looked = self.at;
                    continue;
                }
                return Ok(Some(line));
            }
            self.bytes.drain(..self.at);
            self.at = 0;
            looked = self.bytes.len();
            let data = match self.body.frame().await {
                // What is left is a line that was cut off.
                None => return Ok(None),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) if is_end(&error) => return Ok(None),
                Some(Err(error)) => return Err(Failure::of(&error)),
            };
            if self.bytes.len() + data.len() > OBJECT && !data.contains(&b'\n') {
                return Err(too_long("an event of the watch", OBJECT));
            }
            self.bytes.extend_from_slice(&data);
        }
    }
}

/// Servers, and what is between, end a watch in the midst of a chunk.
fn is_end(error: &(dyn StdError + 'static)) -> bool {
    chain(Some(error)).any(|error| {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        kind == Some(io::ErrorKind::UnexpectedEof)
            || error.to_string().contains("unexpected EOF during chunk")
    })
}

fn event(line: &[u8]) -> Result<Event, Failure> {
    let strange = |why: &str| Failure::of_stranger(200, &format!("an event of the watch {why}"));
    let mut value: Value = serde_json::from_slice(line)
        .map_err(|error| strange(&format!("is {}", of_json(&error))))?;
    if let Some(said) = Said::of_event(&value) {
        return Err(Failure::of_said(&said));
    }
    let object = value["object"].take();
    match value["type"].as_str() {
        Some("ADDED" | "MODIFIED") => Ok(Event::Is(object)),
        Some("DELETED") => Ok(Event::Gone(object)),
        Some("BOOKMARK") => Ok(Event::Bookmark(crate::object::Object::revision_of(&object))),
        Some("ERROR") => match Said::of_event(&object) {
            Some(said) => Err(Failure::of_said(&said)),
            None => Err(strange("is an error that says nothing")),
        },
        _ => Err(strange("has no known type")),
    }
}
