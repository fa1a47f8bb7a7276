//! The example of an operator: two replicas of it on a real API server.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "only tests are here"
)]

mod common;
#[path = "../../crates/leasehold/examples/controller.rs"]
mod controller;

use std::net::SocketAddr;

use common::eventually;
use controller::MARK;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use leasehold::status::Role;
use leasehold::{Elector, Token};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::stores::kubernetes::{Admin, Kubernetes, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Starts one; it has its elector and its webhook.
async fn replica(cluster: &Kubernetes, identity: &str) -> (Elector, SocketAddr) {
    let url = cluster.url(&cluster.endpoints(), "operator");
    let elector = Elector::builder(leasehold::connect(&url).await.unwrap()).identity(identity);
    let elector = elector.build().unwrap();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig().unwrap()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let candidate = elector.clone();
    tokio::spawn(async move {
        controller::replica(client, candidate, listener).await.unwrap();
    });
    (elector, address)
}

fn leads(elector: &Elector) -> Option<Token> {
    match elector.status().role {
        Role::Leader(token) => Some(token),
        _ => None,
    }
}

async fn make(admin: &Admin, name: &str) {
    let object = json!({"metadata": {"name": name, "labels": {"example": "managed"}}});
    admin.do_it("POST", MAPS, Some(&object)).await.unwrap();
}

/// Waits until the object carries this token.
async fn is_marked(admin: &Admin, name: &str, token: Token) {
    eventually(&format!("{name} is reconciled in term {token}"), async || {
        let object = admin.do_it("GET", &format!("{MAPS}/{name}"), None).await.unwrap();
        object["metadata"]["annotations"][MARK].as_str() == Some(token.to_string().as_str())
    })
    .await;
}

/// Asks the webhook of a replica.
async fn reviewed(address: SocketAddr) -> Value {
    let review = json!({"request": {"uid": "u-1"}}).to_string();
    let request = format!(
        "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: \
         {}\r\nConnection: close\r\n\r\n{review}",
        review.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_reconciles_and_all_answer() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    make(&admin, "one").await;
    let (first, at_first) = replica(&cluster, "first").await;
    eventually("the first leads", async || leads(&first).is_some()).await;
    let token = leads(&first).unwrap();
    let (second, at_second) = replica(&cluster, "second").await;
    is_marked(&admin, "one", token).await;
    for address in [at_first, at_second] {
        let answer = reviewed(address).await;
        assert_eq!(
            (&answer["response"]["uid"], &answer["response"]["allowed"]),
            (&json!("u-1"), &json!(true))
        );
    }
    assert_eq!(leads(&second), None);
    first.shutdown();
    eventually("the second leads", async || leads(&second).is_some()).await;
    let next = leads(&second).unwrap();
    assert!(next > token);
    make(&admin, "two").await;
    for name in ["one", "two"] {
        is_marked(&admin, name, next).await;
    }
}
