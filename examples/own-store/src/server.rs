//! The store: a map in memory behind HTTP, with an ETag for every state and conditions that hold.
//!
//! `GET /locks/NAME` answers with the document and its ETag, or 404. `PUT /locks/NAME` needs
//! `If-Match: ETAG` or `If-None-Match: *`, and answers 412 if that does not hold. Every answer has
//! the header `locks-sequence`: the count of all writes. There is nothing else: no deletion, and no
//! write without a condition.
//!
//! A restart loses the map, which for the locks is an administrator who deletes them all. A store
//! that is relied on writes to a disk before it answers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// The documents of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Map {
    documents: Arc<Mutex<Documents>>,
    keeps_conditions: bool,
}

#[derive(Debug)]
struct Documents {
    by_name: HashMap<String, Document>,
    /// Random: no ETag of an earlier start comes back.
    start: u64,
    /// Counts all writes, so that equal bytes written twice have two ETags. Begins at the wall
    /// clock, in milliseconds, so that it goes on over a restart.
    sequence: u64,
}

#[derive(Clone, Debug)]
struct Document {
    etag: String,
    body: Bytes,
}

impl Default for Map {
    fn default() -> Self {
        let start = RandomState::new().hash_one("start");
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since = since.expect("the clock is later than 1970").as_millis();
        let sequence =
            u64::try_from(since).expect("the clock is earlier than the year 500,000,000");
        let documents = Documents { by_name: HashMap::new(), start, sequence };
        Self { documents: Arc::new(Mutex::new(documents)), keeps_conditions: true }
    }
}

impl Map {
    /// A defective one, for a test: it lets in every write, whatever its condition.
    #[must_use]
    pub fn that_ignores_conditions() -> Self {
        Self { keeps_conditions: false, ..Self::default() }
    }

    /// Stores these bytes unconditionally, as an administrator does at the server.
    pub fn overwrite(&self, name: &str, body: &[u8]) {
        self.documents().store(name, Bytes::copy_from_slice(body));
    }

    /// Deletes a document, as an administrator does at the server.
    pub fn delete(&self, name: &str) {
        self.documents().by_name.remove(name);
    }

    /// The bytes of a document, as an administrator sees them at the server.
    #[must_use]
    pub fn show(&self, name: &str) -> Option<Vec<u8>> {
        self.documents().by_name.get(name).map(|document| document.body.to_vec())
    }

    fn documents(&self) -> MutexGuard<'_, Documents> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Documents {
    fn counted(&self, answer: Response) -> Response {
        ([("locks-sequence", self.sequence.to_string())], answer).into_response()
    }

    fn store(&mut self, name: &str, body: Bytes) -> String {
        self.sequence += 1;
        let etag = format!("\"{:016x}-{}\"", self.start, self.sequence);
        self.by_name.insert(name.to_owned(), Document { etag: etag.clone(), body });
        etag
    }
}

/// Serves the map until the future is dropped.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, map: Map) -> io::Result<()> {
    let routes = Router::new().route("/locks/{name}", get(read).put(write)).with_state(map);
    axum::serve(listener, routes).await
}

async fn read(State(map): State<Map>, Path(name): Path<String>) -> Response {
    let documents = map.documents();
    let answer = match documents.by_name.get(&name).cloned() {
        Some(Document { etag, body }) => {
            ([(ETAG, etag.as_str()), (CONTENT_TYPE, "application/json")], body).into_response()
        }
        None => (StatusCode::NOT_FOUND, "there is no such lock").into_response(),
    };
    documents.counted(answer)
}

async fn write(
    State(map): State<Map>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // Compared and stored under one mutex: no two writes pass the same condition.
    let mut documents = map.documents();
    let present = documents.by_name.get(&name).map(|document| document.etag.as_bytes());
    let holds = match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
        (Some(etag), None) => Some(present == Some(etag.as_bytes())),
        (None, Some(any)) if any == "*" => Some(present.is_none()),
        _ => None,
    };
    let answer = match holds {
        None => StatusCode::PRECONDITION_REQUIRED.into_response(),
        Some(false) if map.keeps_conditions => StatusCode::PRECONDITION_FAILED.into_response(),
        Some(_) => [(ETAG, documents.store(&name, body))].into_response(),
    };
    documents.counted(answer)
}
