//! `leasehold list`, and what it says of client-go's elections, on a real API server.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::time::Duration;

use leasehold::k8s::Form;
use leasehold::{Elector, ErrorKind, TimingSettings, connect};
use leasehold_cli::args::OutputFormat;
use leasehold_cli::list;
use leasehold_cli::output::Paint;
use leasehold_conformance::fixture::{Access, Fixture, Login, User, Users};
use leasehold_conformance::stores::kubernetes::{Kubernetes, Options};
use serde_json::{Value, json};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";

/// As client-go 0.22 writes it.
const ANNOTATION: &str = "{\"holderIdentity\":\"old_1\",\"leaseDurationSeconds\":15,\
    \"acquireTime\":\"2026-01-02T03:04:05Z\",\
    \"renewTime\":\"2026-01-02T03:04:07Z\",\"leaderTransitions\":2}";

fn told(found: &[leasehold::doctor::Listed], form: OutputFormat) -> String {
    list::told(found, form, Paint(false)).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elections_of_a_namespace_are_listed_whoever_leads() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let (admin, server) = (cluster.admin().await.unwrap(), cluster.endpoints()[0].clone());
    let url = |form, name: &str| cluster.url_through(form, &server, name).unwrap();
    let timing = TimingSettings::lease_duration(Duration::from_secs(6));
    let ours = connect(&url(Form::Lease, "nightly")).await.unwrap();
    let elector = Elector::builder(ours).identity("node-a").timing(timing).build().unwrap();
    let held = elector.campaign().await.unwrap();
    let theirs = json!({"metadata": {"name": "scheduler"}, "spec": {
        "holderIdentity": "kube-x_1", "leaseDurationSeconds": 15, "leaseTransitions": 3,
        "acquireTime": "2026-01-02T03:04:05.000001Z", "renewTime": "2036-01-02T03:04:07.123456Z",
    }});
    admin.do_it("POST", LEASES, Some(&theirs)).await.unwrap();
    let annotated = json!({"metadata": {"name": "old", "annotations": {
        "control-plane.alpha.kubernetes.io/leader": ANNOTATION,
    }}});
    admin.do_it("POST", ENDPOINTS, Some(&annotated)).await.unwrap();
    let of_a_service = json!({"metadata": {"name": "web"}});
    admin.do_it("POST", ENDPOINTS, Some(&of_a_service)).await.unwrap();

    let text =
        told(&leasehold::doctor::list(&url(Form::Lease, "")).await.unwrap(), OutputFormat::Text);
    let ours = format!("k8s://default/nightly\n    node-a leads (token {}, since ", held.token());
    assert!(text.contains(&ours), "{text}");
    assert!(text.contains("k8s://default/scheduler\n    kube-x_1 leads (since "), "{text}");
    let json = told(
        &leasehold::doctor::list(&url(Form::Endpoints, "")).await.unwrap(),
        OutputFormat::Json,
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["lock"], "k8s+endpoints://default/old", "that of a Service is no lock");
    assert_eq!(json["leader"]["identity"], "old_1");
    assert_eq!(json["leader"]["token"], Value::Null, "no token is client-go's");
    assert_eq!(json["state"], "unknown", "its last sign of life is long ago: {json}");
    let error = leasehold::doctor::list(&url(Form::Lease, "nightly")).await.unwrap_err();
    assert!(error.to_string().contains("k8s://namespace/ to list"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_put_together_and_who_may_not_list_is_told_what_is_missing() {
    let options = Options { strangers: true, ..Options::default() };
    let cluster = Kubernetes::start(options).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    // One page is five hundred.
    for number in 0..503 {
        let lease = json!({"metadata": {"name": format!("n{number:03}")}, "spec": {
            "holderIdentity": "x", "leaseDurationSeconds": 15,
        }});
        admin.do_it("POST", LEASES, Some(&lease)).await.unwrap();
    }
    let server = cluster.endpoints()[0].clone();
    let all = leasehold::doctor::list(&cluster.url_through(Form::Lease, &server, "").unwrap())
        .await
        .unwrap();
    let of_ours = all.iter().filter(|listed| listed.name.starts_with("k8s://default/n")).count();
    assert_eq!(of_ours, 503);
    let user = User { name: "candidate".to_owned(), password: "candidate-token".to_owned() };
    cluster.grant(&user, "nightly", Access::ReadWrite).await.unwrap();
    let login = Login { user: Some(user), ..cluster.login() };
    let error = leasehold::doctor::list(&cluster.url_as("", &login).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let text = error.to_string();
    assert!(text.contains("a Role in default with the verb list on leases"), "{text}");
    assert!(!text.contains("candidate-token"), "{text}");
    // What a candidate is told is what a candidate needs.
    let one = connect(&cluster.url_as("other", &login).unwrap()).await.unwrap();
    let text = one.read().await.unwrap_err().to_string();
    assert!(text.contains("get, create, update and watch"), "{text}");
}
