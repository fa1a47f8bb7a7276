//! What an API server does with the requests that locks are made of: the backend rests on every
//! line of this.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use leasehold::k8s::Form;
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::stores::kubernetes::{Admin, Kubernetes, Options};
use serde_json::{Value, json};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";

/// One request; the status must be this. Returns the body.
async fn expect(admin: &Admin, what: (&str, &str), body: Option<Value>, code: u16) -> Value {
    let (method, path) = what;
    let (status, answer) = admin.ask(method, path, body.as_ref()).await.unwrap();
    assert_eq!(status, code, "{method} {path}: {answer}");
    answer
}

fn lease(name: &str, holder: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"holderIdentity": holder,
        "leaseDurationSeconds": 15}})
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn writes_of_leases_are_compared_and_swapped() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let one = format!("{LEASES}/one");
    // What is absent is created by a PUT that names no version, and what is there is not
    // overwritten by it.
    expect(&admin, ("GET", &one), None, 404).await;
    let created = expect(&admin, ("PUT", &one), Some(lease("one", "a")), 200).await;
    let refused = expect(&admin, ("PUT", &one), Some(lease("one", "b")), 422).await;
    assert!(refused["message"].as_str().unwrap().contains("must be specified for an update"));
    expect(&admin, ("POST", LEASES), Some(lease("one", "b")), 409).await;
    // A version that is gone is refused.
    let mut next = created.clone();
    next["spec"]["holderIdentity"] = "c".into();
    let second = expect(&admin, ("PUT", &one), Some(next.clone()), 200).await;
    assert!(revision(&second) > revision(&created));
    expect(&admin, ("PUT", &one), Some(next), 409).await;
    // The same content is no new version.
    let same = expect(&admin, ("PUT", &one), Some(second.clone()), 200).await;
    assert_eq!(revision(&same), revision(&second));
    // What was deleted is brought back by a version alone, and not by a version with its uid.
    let deleted = expect(&admin, ("DELETE", &one), None, 200).await;
    assert_eq!(deleted["status"], "Success");
    expect(&admin, ("PUT", &one), Some(second.clone()), 409).await;
    let mut without = second.clone();
    without["metadata"].as_object_mut().unwrap().remove("uid");
    let back = expect(&admin, ("PUT", &one), Some(without), 200).await;
    assert_ne!(back["metadata"]["uid"], second["metadata"]["uid"]);
    assert!(revision(&back) > revision(&second), "a resourceVersion grows across deletions");
    // A patch that names no version is let in: the backend sends none. Times have six digits.
    let mut wrong = back.clone();
    for (time, code) in [
        ("2026-01-02T03:04:05Z", 400),
        ("2026-01-02T03:04:05.123Z", 400),
        ("2026-01-02T03:04:05.123456789Z", 400),
        ("2026-01-02T03:04:05.123456Z", 200),
    ] {
        wrong["spec"]["renewTime"] = time.into();
        expect(&admin, ("PUT", &one), Some(wrong.clone()), code).await;
    }
    // A lease of no seconds is refused.
    let mut none = expect(&admin, ("GET", &one), None, 200).await;
    none["spec"]["leaseDurationSeconds"] = 0.into();
    expect(&admin, ("PUT", &one), Some(none), 422).await;
}

#[tokio::test]
async fn endpoints_are_overwritten_by_who_names_no_version() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let one = format!("{ENDPOINTS}/one");
    let annotated = |text: &str| json!({"metadata": {"name": "one", "annotations": {"a": text}}});
    let created = expect(&admin, ("POST", ENDPOINTS), Some(annotated("1")), 200).await;
    expect(&admin, ("POST", ENDPOINTS), Some(annotated("2")), 409).await;
    // So the backend creates by POST here, and names version and uid always.
    expect(&admin, ("PUT", &one), Some(annotated("3")), 200).await;
    expect(&admin, ("PUT", &one), Some(created), 409).await;
}

#[tokio::test]
async fn two_api_servers_show_one_state() {
    let options = Options { servers: 2, ..Options::default() };
    let cluster = Kubernetes::start(options).await.unwrap();
    let [one, other] = [0, 1].map(|server| {
        let address = cluster.endpoints()[server].clone();
        cluster.url_through(Form::Lease, &address, "shared").unwrap()
    });
    let [one, other] =
        [leasehold::connect(&one).await.unwrap(), leasehold::connect(&other).await.unwrap()];
    let raced = leasehold::doctor::race(&[one.as_ref(), other.as_ref()], 20).await.unwrap();
    assert_eq!(raced.writes, 21);
}
