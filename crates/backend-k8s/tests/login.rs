//! Who asks, as a kubeconfig says: plugins that hang, credentials that run out, tokens that are
//! replaced. What is planted as a secret is in no error and no log.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use leasehold_core::{ErrorKind, LockBackend};
use leasehold_k8s::{Form, Kubernetes, KubernetesLock};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(60);

/// An API server that has one Lease for whoever brings the right token, and notes what was brought.
struct Server {
    url: String,
    brought: Arc<Mutex<Vec<String>>>,
    right: Arc<Mutex<String>>,
}

impl Server {
    async fn start(right: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let right = Arc::new(Mutex::new(right.to_owned()));
        let brought: Arc<Mutex<Vec<String>>> = Arc::default();
        let (known, noted) = (right.clone(), brought.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (known, noted) = (known.clone(), noted.clone());
                tokio::spawn(async move {
                    loop {
                        let mut request = Vec::new();
                        while !request.ends_with(b"\r\n\r\n") {
                            let Ok(byte) = stream.read_u8().await else { return };
                            request.push(byte);
                        }
                        let request = String::from_utf8(request).unwrap().to_lowercase();
                        let header =
                            request.lines().find_map(|it| it.strip_prefix("authorization: "));
                        let header = header.unwrap_or("nothing").to_owned();
                        let is_right = header == *known.lock().unwrap();
                        noted.lock().unwrap().push(header);
                        let answer = answer(is_right);
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, brought, right }
    }

    fn last(&self) -> String {
        self.brought.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

fn answer(is_right: bool) -> String {
    let (line, body) = if is_right {
        let metadata = json!({"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "7"});
        ("200 OK", json!({"kind": "Lease", "metadata": metadata, "spec": {}}))
    } else {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized",
            "message": "Unauthorized", "code": 401,
        });
        ("401 Unauthorized", status)
    };
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: \
         {length}\r\n\r\n{body}"
    )
}

/// A directory with a kubeconfig.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, server: &str, user: &str) -> PathBuf {
        let file = self.path("config");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: \
             {{cluster: c, user: u, namespace: n}}}}]\nclusters: [{{name: c, cluster: {{server: \
             '{server}'}}}}]\nusers: [{{name: u, user: {user}}}]\n"
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    /// A plugin of this script.
    fn plugin(&self, script: &str) -> String {
        let file = self.path("plugin.sh");
        std::fs::write(&file, script).unwrap();
        format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, \
             command: sh, args: ['{}', '--secret=s3cret'], env: [{{name: A, value: s3cret}}]}}}}",
            file.display()
        )
    }
}

async fn lock(config: &Path) -> KubernetesLock {
    let cluster = Kubernetes::options().kubeconfig(config).build().await.unwrap();
    cluster.lock(Form::Lease, None, "x").unwrap()
}

fn gives(token: &str, expires: &str) -> String {
    format!(
        "echo '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\
         \"status\":{{\"token\":\"{token}\"{expires}}}}}'"
    )
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn who_waits_for_a_plugin_that_hangs_may_give_up_and_it_dies_with_the_lock() {
    let (scene, server) = (Scene::new(), Server::start("bearer abc").await);
    let pids = scene.path("pids");
    let script = format!("sleep 61 & echo $! >> {0}\necho $$ >> {0}\nwait\n", pids.display());
    let config = scene.config(&server.url, &scene.plugin(&script));
    let began = Instant::now();
    let lock = lock(&config).await;
    assert!(began.elapsed() < Duration::from_secs(1), "opening ran it");
    // Many give up, and one runs.
    for _ in 0..5 {
        let (one, other) = tokio::join!(
            tokio::time::timeout(Duration::from_millis(200), lock.read()),
            tokio::time::timeout(Duration::from_millis(200), lock.read())
        );
        assert!(one.is_err() && other.is_err());
    }
    let killed = std::fs::read_to_string(&pids).unwrap();
    assert_eq!(killed.lines().count(), 2, "more than one plugin ran: {killed}");
    drop(lock);
    while killed.lines().any(is_alive) {
        assert!(began.elapsed() < PATIENCE, "it lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(9), "its deadline killed it, not its end");
}

#[tokio::test]
async fn credentials_of_a_plugin_are_kept_until_they_run_out_or_are_refused() {
    let (scene, server) = (Scene::new(), Server::start("bearer one").await);
    let (runs, token) = (scene.path("runs"), scene.path("token"));
    std::fs::write(&token, "one").unwrap();
    let script = format!(
        "echo >> {}\n{}",
        runs.display(),
        gives(&format!("'$(cat {})'", token.display()), "")
    );
    let lock = lock(&scene.config(&server.url, &scene.plugin(&script))).await;
    for _ in 0..5 {
        lock.read().await.unwrap();
    }
    assert_eq!((lines(&runs), server.last().as_str()), (1, "bearer one"));
    // The API server knows it no more: the next request brings another.
    *server.right.lock().unwrap() = "bearer two".to_owned();
    std::fs::write(&token, "two").unwrap();
    let began = Instant::now();
    while lock.read().await.is_err() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((lines(&runs), server.last().as_str()), (2, "bearer two"));
    // Others of the same cluster would not run it for every refusal.
    *server.right.lock().unwrap() = "bearer never".to_owned();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(lock.read().await.unwrap_err().kind(), ErrorKind::Denied);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(lines(&runs) <= 6, "{} runs", lines(&runs));
}

#[tokio::test]
async fn credentials_are_renewed_ahead_and_beside_the_requests() {
    let (scene, server) = (Scene::new(), Server::start("bearer one").await);
    let runs = scene.path("runs");
    // The first answers at once, with what runs out in nine seconds; the next ones hang.
    let expires = ",\"expirationTimestamp\":\"'$(date -u -d '+9 seconds' +%Y-%m-%dT%H:%M:%SZ)'\"";
    let script = format!(
        "echo >> {0}\n[ $(wc -l < {0}) = 1 ] || sleep 61\n{1}",
        runs.display(),
        gives("one", expires)
    );
    let lock = lock(&scene.config(&server.url, &scene.plugin(&script))).await;
    lock.read().await.unwrap();
    let began = Instant::now();
    while lines(&runs) == 1 {
        assert!(began.elapsed() < Duration::from_secs(8), "it is not renewed ahead");
        let asked = Instant::now();
        lock.read().await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "it waits for the renewal");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lock.read().await.expect("the old ones are good still");
}

#[tokio::test]
async fn a_token_file_is_read_again_after_a_refusal_and_trimmed() {
    let (scene, server) = (Scene::new(), Server::start("bearer one").await);
    std::fs::write(scene.path("token"), "one\n").unwrap();
    let lock = lock(&scene.config(&server.url, "{tokenFile: token}")).await;
    lock.read().await.unwrap();
    *server.right.lock().unwrap() = "bearer two".to_owned();
    std::fs::write(scene.path("token"), "two\n\n").unwrap();
    assert_eq!(lock.read().await.unwrap_err().kind(), ErrorKind::Denied);
    lock.read().await.unwrap();
    // A torn kubeconfig costs a request or two and is told without its words.
    *server.right.lock().unwrap() = "bearer s3cret".to_owned();
    std::fs::write(scene.path("config"), "users: [{name: u, user: {token: s3cr").unwrap();
    assert_eq!(lock.read().await.unwrap_err().kind(), ErrorKind::Denied);
    let error = lock.read().await.unwrap_err();
    let text = format!("{error}{error:?}");
    assert!(text.contains("line ") && !text.contains("s3cr"), "{text}");
    scene.config(&server.url, "{token: \"s3cret\\n\"}");
    let began = Instant::now();
    while lock.read().await.is_err() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_user_and_password_in_the_servers_url_are_sent_and_not_shown() {
    let scene = Scene::new();
    // a:s3@ret
    let server = Server::start("basic ytpzm0byzxq=").await;
    let url = server.url.replace("http://", "http://a:s3%40ret@");
    lock(&scene.config(&url, "{}")).await.read().await.unwrap();
    assert_eq!(server.last(), "basic ytpzm0byzxq=");
}

/// Where logs go.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_error_and_no_log_holds_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (scene, server) = (Scene::new(), Server::start("bearer never").await);
    let fails = scene.plugin("echo s3cret; echo s3cret >&2; exit 3");
    let mut said = String::new();
    for user in [
        "{token: s3cret}",
        "{token: [s3cret]}",
        "{token: \"s3cret\\u0001\"}",
        "{username: a, password: s3cret}",
        "{client-key-data: s3cret, client-certificate-data: s3cret}",
        "{client-key-data: czNjcmV0, client-certificate-data: czNjcmV0}",
        "{auth-provider: {name: gcp, config: {cmd-path: s3cret, access-token: s3cret}}}",
        "{exec: {apiVersion: s3cret, command: sh, args: [s3cret]}}",
        "{exec: s3cret}",
        "{s3cret",
        &fails,
    ] {
        let userinfo = server.url.replace("http://", "http://s3cret:s3cret@");
        for url in [&server.url, &userinfo, "http://s3cret:s3cret@127.0.0.1:1", "s3cret://s3cret"] {
            let config = scene.config(url, user);
            let options = Kubernetes::options().kubeconfig(&config);
            said.push_str(&format!("{options:?}"));
            let cluster = match options.build().await {
                Ok(cluster) => cluster,
                Err(error) => {
                    said.push_str(&format!("{error}{error:?}\n"));
                    continue;
                }
            };
            let lock = cluster.lock(Form::Lease, None, "x").unwrap();
            said.push_str(&format!("{cluster:?}{lock:?}"));
            for _ in 0..2 {
                let error = lock.read().await.unwrap_err();
                said.push_str(&format!("{error}{error:?}\n"));
                let mut source = std::error::Error::source(&error);
                while let Some(error) = source {
                    said.push_str(&format!("{error}{error:?}"));
                    source = error.source();
                }
            }
        }
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.lines().count() > 20 && !log.is_empty());
    for text in [&said, &log] {
        let found = text.lines().find(|line| line.contains("s3cret") || line.contains("czNjcmV0"));
        assert_eq!(found, None);
    }
}
