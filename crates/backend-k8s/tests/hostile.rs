//! A server that is not an API server, or an API server that says what none should: each answer has
//! its class, and none takes more memory than its bound.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use leasehold_core::{Contents, Error, ErrorKind, Expiry, LockBackend, Observed, Version};
use leasehold_k8s::{Form, Kubernetes, KubernetesLock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(60);

/// More than any bound and all buffers on the way.
const MOST: u64 = 48 << 20;

/// What every request is answered with.
#[derive(Clone)]
struct Answer {
    head: String,
    body: Vec<u8>,
    /// The body comes again and again.
    is_endless: bool,
}

impl Answer {
    fn new(status: &str, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: \
             close\r\n"
        );
        Self { head, body, is_endless: false }
    }

    fn html(status: &str) -> Self {
        Self::new(status, "text/html", "<html><body>s3cret: Bearer s3cret</body></html>")
    }

    fn status(code: u16, message: &str, details: Value) -> Self {
        let reason = if code == 404 { "NotFound" } else { "Odd" };
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message, "details": details,
        });
        Self::new(&format!("{code} Odd"), "application/json", status.to_string())
    }

    fn header(mut self, line: &str) -> Self {
        self.head.push_str(line);
        self.head.push_str("\r\n");
        self
    }

    fn endless(piece: &str) -> Self {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
        Self { head: head.to_owned(), body: piece.repeat(1000).into_bytes(), is_endless: true }
    }
}

/// A server on this host, and the bytes that it got rid of.
async fn serve(answer: Answer) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = sent.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one(stream, answer.clone(), counted.clone()));
        }
    });
    (format!("http://{address}"), sent)
}

async fn one(mut stream: TcpStream, answer: Answer, sent: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    stream.write_all(answer.head.as_bytes()).await?;
    stream.write_all(b"\r\n").await?;
    loop {
        stream.write_all(&answer.body).await?;
        sent.fetch_add(u64::try_from(answer.body.len()).unwrap(), Ordering::Relaxed);
        if !answer.is_endless {
            return stream.shutdown().await;
        }
    }
}

async fn cluster(server: &str) -> Kubernetes {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: \
         {{cluster: c, user: u, namespace: n}}}}]\nclusters: [{{name: c, cluster: {{server: \
         '{server}'}}}}]\nusers: [{{name: u, user: {{token: s3cret}}}}]\n"
    );
    std::fs::write(&file, text).unwrap();
    Kubernetes::options().kubeconfig(&file).build().await.unwrap()
}

async fn lock(server: &str) -> KubernetesLock {
    cluster(server).await.lock(Form::Lease, None, "x").unwrap()
}

async fn read(answer: Answer) -> Result<Observed, Error> {
    let (server, _) = serve(answer).await;
    tokio::time::timeout(PATIENCE, lock(&server).await.read()).await.expect("it answers")
}

fn checked(error: &Error) -> String {
    let text = error.to_string();
    assert!(!format!("{text}{error:?}").contains("s3cret"), "{error:?}");
    assert!(!text.contains(['\n', '\u{1b}']) && text.len() < 4_000, "{text}");
    text
}

fn lease(rest: &Value) -> Value {
    let mut value = json!({
        "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15},
    });
    for (name, field) in rest.as_object().unwrap() {
        value["metadata"][name] = field.clone();
    }
    value
}

fn json_of(value: &Value) -> Answer {
    Answer::new("200 OK", "application/json", value.to_string())
}

#[tokio::test]
async fn what_is_not_the_api_server_is_unavailable_and_nothing_else() {
    let whole = lease(&json!({})).to_string();
    for answer in [
        Answer::html("404 Not Found"),
        Answer::html("403 Forbidden"),
        Answer::html("400 Bad Request"),
        Answer::html("401 Unauthorized"),
        Answer::html("405 Method Not Allowed"),
        Answer::html("407 Proxy Authentication Required"),
        Answer::html("413 Payload Too Large"),
        Answer::html("415 Unsupported"),
        Answer::html("422 Unprocessable"),
        Answer::html("302 Found").header("location: http://127.0.0.1:1/"),
        Answer::html("200 OK"),
        Answer::new("404 Not Found", "text/plain", "404 page not found\n"),
        Answer::new("404 Not Found", "application/json", "{\"error\":\"s3cret\"}"),
        Answer::new("422 Odd", "application/json", "[]"),
        Answer::new("404 Not Found", "application/json", ""),
        Answer::new("200 OK", "application/json", ""),
        Answer::new("200 OK", "application/json", "{}"),
        Answer::new("200 OK", "application/json", "null"),
        Answer::new("200 OK", "application/json", &whole.as_bytes()[..whole.len() - 9]),
        Answer::new("200 OK", "application/json", "[".repeat(1 << 20)),
        Answer::new("200 OK", "application/json", vec![0xff; 100]),
        Answer::new("204 No Content", "application/json", ""),
        json_of(&json!({"kind": "Pod", "metadata": lease(&json!({}))["metadata"]})),
        json_of(&lease(&json!({"name": "y"}))),
        json_of(&lease(&json!({"namespace": "m"}))),
        json_of(&lease(&json!({"uid": ""}))),
        Answer::html("200 OK").header(&format!("x: {}", "y".repeat(1 << 20))),
        Answer::html("200 OK").header("x: y\r\n".repeat(500).trim_end()),
        // Somebody else's "not found" is no absence.
        Answer::status(404, "no", json!({"kind": "leases", "name": "y"})),
        Answer::status(404, "no", json!({})),
    ] {
        let head = answer.head.lines().next().unwrap().to_owned();
        let answered = read(answer).await;
        let Err(error) = answered else {
            panic!("{head}: {answered:?}");
        };
        let text = checked(&error);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{head}: {text}");
    }
}

#[tokio::test]
async fn what_the_api_server_says_is_bounded_and_escaped() {
    let hostile = format!("no\u{1b}[2J\n2026 INFO leading {}", "x".repeat(1 << 20));
    let error = read(Answer::status(403, &hostile, json!({}))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    checked(&error);
    let policy = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
    let error = read(Answer::status(422, policy, json!({}))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let gone = read(Answer::status(404, "no", json!({"kind": "leases", "name": "x"}))).await;
    assert_eq!(gone.unwrap().contents, Contents::Absent);
    let later = json!({"retryAfterSeconds": 99_999_999_999_u64});
    let plain = Answer::new("429 Too Many Requests", "text/plain", "Too many requests");
    for (answer, seconds) in [
        (Answer::status(429, "later", later), u64::from(u32::MAX)),
        (plain.clone().header("retry-after: 1"), 1),
        (plain.header("retry-after: 99999999999999999999999"), u64::from(u32::MAX)),
    ] {
        let error = read(answer).await.unwrap_err();
        let retry_after = Some(Duration::from_secs(seconds));
        assert_eq!(error.kind(), ErrorKind::Throttled { retry_after });
    }
}

#[tokio::test]
async fn endless_answers_end_at_their_bound() {
    let error_of = |status: &str| {
        let mut answer = Answer::endless("<html>");
        answer.head = answer.head.replace("200 OK", status);
        answer
    };
    for answer in
        [Answer::endless(" "), Answer::endless("{\"a\":["), error_of("403 No"), error_of("500 No")]
    {
        let (server, sent) = serve(answer).await;
        let began = Instant::now();
        let error = lock(&server).await.read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(checked(&error).contains("longer than 4 MiB"), "{error}");
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < MOST && began.elapsed() < PATIENCE, "{sent} bytes");
    }
}

#[tokio::test]
async fn an_endless_event_ends_the_watch() {
    for (answer, says) in [
        (Answer::endless("{\"a\":["), "longer than 4 MiB"),
        (Answer::endless("[[[[[\n"), "is not the API server"),
        (Answer::endless("{\"type\":\"ERROR\",\"object\":{}}\n"), "is not the API server"),
        (
            Answer::endless("{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Lease\"}}\n"),
            "an object that",
        ),
        (Answer::html("403 Forbidden"), "is not the API server"),
    ] {
        let (server, sent) = serve(answer).await;
        let lock = lock(&server).await;
        let nothing = Observed {
            version: Version::absent(),
            contents: Contents::Absent,
            expiry: Expiry::ByObserver,
            token_floor: None,
        };
        let mut watch = lock.watch(&nothing);
        let next = tokio::time::timeout(PATIENCE, watch.next()).await.expect("it ends");
        let error = next.expect("an error first").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(checked(&error).contains(says), "{error}");
        drop(watch);
        assert!(sent.load(Ordering::Relaxed) < MOST);
    }
}

#[tokio::test]
async fn an_endless_list_ends() {
    let page = json!({"metadata": {"continue": "more"}, "items": [lease(&json!({})), {"kind": 7}]});
    let (server, _) = serve(json_of(&page)).await;
    let listed = tokio::time::timeout(PATIENCE, async {
        cluster(&server).await.locks(Form::Lease, None).await
    });
    let error = listed.await.expect("it ends").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let one = json!({"metadata": {}, "items": [lease(&json!({})), {"metadata": {"name": "odd"}}]});
    let (server, _) = serve(json_of(&one)).await;
    let listed = cluster(&server).await.locks(Form::Lease, None).await.unwrap();
    assert_eq!(listed.len(), 2, "one that cannot be read hides no other");
    assert!(matches!(listed[1].1.contents, Contents::Unreadable(_)));
}

#[tokio::test]
async fn an_ipv6_server_is_reached() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let address = listener.local_addr().unwrap();
    let answer = json_of(&lease(&json!({})));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one(stream, answer.clone(), Arc::default()));
        }
    });
    let observed = lock(&format!("http://{address}")).await.read().await.unwrap();
    assert!(observed.record().is_some());
}
