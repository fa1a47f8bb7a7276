//! A web service whose instances all answer, and one of which does the background work.
//!
//! `GET /` says who leads, from any instance; `GET /leader` is 200 only where the work runs.

#![allow(clippy::print_stdout, reason = "an example")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, serve};
use leasehold::status::{Leader, Role};
use leasehold::{Elector, Term};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
struct App {
    elector: Elector,
    rounds: Arc<AtomicU64>,
}

async fn who(State(app): State<App>) -> String {
    match app.elector.status().leader {
        Leader::Held(leading) => format!("{} leads\n", leading.identity),
        Leader::Nobody => "nobody leads\n".to_owned(),
        Leader::Unknown => "unknown who leads\n".to_owned(),
    }
}

async fn leads(State(app): State<App>) -> StatusCode {
    match app.elector.status().role {
        Role::Leader(_) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What only the leader does.
async fn tidy(term: Term, rounds: &AtomicU64) {
    while term.check().is_ok() {
        rounds.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            _ = term.stopped() => return,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

/// Starts an instance. Its elector is shut down to end it.
async fn instance(url: &str, name: &str) -> Result<(SocketAddr, App), Box<dyn std::error::Error>> {
    let elector = Elector::builder(leasehold::connect(url).await?).identity(name).build()?;
    let app = App { elector, rounds: Arc::default() };
    let (candidate, rounds) = (app.elector.clone(), app.rounds.clone());
    tokio::spawn(async move {
        let work = move |term: Term| {
            let rounds = rounds.clone();
            async move { tidy(term, &rounds).await }
        };
        candidate.run(work).await
    });
    let routes = Router::new().route("/", get(who)).route("/leader", get(leads));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = routes.with_state(app.clone());
    tokio::spawn(async move { serve(listener, service).await });
    Ok((address, app))
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Two instances, a fail-over, and the same answer from both.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let url = format!("file:{}", directory.path().join("service.lock").display());
    let (at_first, first) = instance(&url, "first").await?;
    while !ask(at_first, "/leader").await?.starts_with("HTTP/1.1 200") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (at_second, second) = instance(&url, "second").await?;
    while !ask(at_second, "/").await?.ends_with("first leads\n") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(ask(at_second, "/leader").await?.starts_with("HTTP/1.1 503"));
    assert_eq!(second.rounds.load(Ordering::Relaxed), 0, "only the leader works");
    first.elector.shutdown(); // as at SIGTERM: stop, drain, release
    while !ask(at_first, "/").await?.ends_with("second leads\n") {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if second.rounds.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
    assert!(first.rounds.load(Ordering::Relaxed) > 0);
    println!("{}", ask(at_second, "/").await?.lines().last().unwrap_or_default());
    Ok(())
}
