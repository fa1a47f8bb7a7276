//! An operator whose replicas all serve the webhook, and one of which reconciles.
//!
//! `cargo run -p leasehold --features k8s --example controller -- k8s:///example-operator 8080`
//! runs a replica by the kubeconfig. It marks every ConfigMap of the label `example=managed` with
//! the fencing token of the term that reconciled it. The API server calls webhooks over TLS, which
//! something in front of this port would end.

#![allow(clippy::print_stdout, reason = "an example")]

use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Json, Router, serve};
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, ResourceExt};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, Config};
use leasehold::backend::LockBackend;
use leasehold::{Elector, Loss, Term, Token};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The token of the term that reconciled an object last.
pub const MARK: &str = "example/reconciled-in-term";

struct Context {
    client: Client,
    term: Term,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("not the leader any more")]
    Lost(Loss),
    #[error("a later term has reconciled it")]
    Fenced,
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

async fn reconcile(object: Arc<ConfigMap>, context: Arc<Context>) -> Result<Action, Failure> {
    let marked = object.annotations().get(MARK).and_then(|token| token.parse::<Token>().ok());
    // Before every side effect. Reconciliations that still run when the term ends stop here.
    let token = context.term.check().map_err(Failure::Lost)?;
    if marked == Some(token) {
        return Ok(Action::await_change());
    }
    // The object remembers the highest token: with its version named, no older leader writes over a
    // newer one.
    if marked > Some(token) {
        return Err(Failure::Fenced);
    }
    let patch = json!({"metadata": {
        "resourceVersion": object.resource_version(),
        "annotations": {MARK: token.to_string()},
    }});
    let namespace = object.namespace().unwrap_or_default();
    let objects: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    objects.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(Action::await_change())
}

fn again(_: Arc<ConfigMap>, _: &Failure, _: Arc<Context>) -> Action {
    Action::requeue(Duration::from_secs(1))
}

/// Reconciles for as long as the term lasts.
async fn lead(client: Client, term: Term) {
    println!("reconciling in term {}", term.token());
    let objects: Api<ConfigMap> = Api::default_namespaced(client.clone());
    // The controller wants what may be shared between threads.
    let stopped = term.stopped().map(drop).shared();
    Controller::new(objects, watcher::Config::default().labels("example=managed"))
        .graceful_shutdown_on(stopped)
        .run(reconcile, again, Arc::new(Context { client, term }))
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Says yes to everything: any replica answers, whoever leads.
async fn review(Json(review): Json<Value>) -> Json<Value> {
    Json(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true},
    }))
}

/// A replica: serves the webhook always, and reconciles while it leads. Ends once the elector is
/// shut down.
pub async fn replica(
    client: Client,
    elector: Elector,
    listener: TcpListener,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let routes = Router::new().route("/healthz", get(|| async { "ok" }));
    let webhook = serve(listener, routes.route("/validate", post(review)));
    let reconciling = elector.run(move |term| lead(client.clone(), term));
    tokio::select! {
        served = async { webhook.await } => Ok(served?),
        ended = reconciling => Ok(ended?),
    }
}

#[tokio::main]
#[allow(dead_code, reason = "its test runs two replicas itself")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(lock), Some(port)) = (arguments.next(), arguments.next()) else {
        return Err("say: controller LOCK PORT".into());
    };
    let client = Client::try_from(Config::infer().await?)?;
    let lock: Arc<dyn LockBackend> = leasehold::connect(&lock).await?;
    let elector = Elector::builder(lock).build()?;
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    let stopping = elector.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stopping.shutdown();
    });
    replica(client, elector, listener).await
}
