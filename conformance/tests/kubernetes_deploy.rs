//! What deploy/kubernetes ships, on a real API server: as much as a candidate needs, and no more.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{change, eventually, written};
use futures_util::StreamExt;
use leasehold::backend::{Change, Intent, LockBackend, Observed};
use leasehold::{Elector, ErrorKind, TimingSettings};
use leasehold_conformance::fixture::{Fixture, Users};
use leasehold_conformance::stores::kubernetes::{Admin, Kubernetes, Options};
use serde_json::{Value, json};

const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/jobs/roles/nightly-candidate";

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/jobs/leases/nightly";

/// Who asks, by a token that is bound to this pod.
struct Pod {
    name: &'static str,
    token: String,
}

/// The objects of a shipped file.
fn shipped(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

/// As `kubectl apply` makes what is not there.
async fn apply(admin: &Admin, object: &Value) {
    let (version, kind) =
        (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let root = if version == "v1" { "api" } else { "apis" };
    let mut path = format!("/{root}/{version}");
    if let Some(namespace) = object["metadata"]["namespace"].as_str() {
        write!(path, "/namespaces/{namespace}").unwrap();
    }
    let kind = kind.to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    admin.do_it("POST", &format!("{path}/{plural}"), Some(object)).await.unwrap();
}

async fn deployed(files: &[&str]) -> (Kubernetes, Admin) {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "jobs"}});
    apply(&admin, &namespace).await;
    for file in files {
        for object in shipped(file) {
            apply(&admin, &object).await;
        }
    }
    (cluster, admin)
}

/// A pod of the shipped Deployment, which no node runs, and what it would find in its file system.
async fn pod(admin: &Admin, name: &'static str) -> Pod {
    let template = &shipped("deployment.yaml")[0]["spec"]["template"];
    let object = json!({
        "metadata": {"name": name, "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    });
    let made = admin.do_it("POST", "/api/v1/namespaces/jobs/pods", Some(&object)).await.unwrap();
    let bound =
        json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": made["metadata"]["uid"]});
    let request = json!({"spec": {"boundObjectRef": bound, "expirationSeconds": 3600}});
    let path = "/api/v1/namespaces/jobs/serviceaccounts/nightly/token";
    let answer = admin.do_it("POST", path, Some(&request)).await.unwrap();
    Pod { name, token: answer["status"]["token"].as_str().unwrap().to_owned() }
}

async fn lock(cluster: &Kubernetes, pod: &Pod, name: &str) -> Arc<dyn LockBackend> {
    let ca = cluster.login().ca.unwrap();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://{}", cluster.endpoints()[0]), "certificate-authority": ca,
        }}],
        "users": [{"name": "u", "user": {"token": pod.token}}],
    });
    let file = cluster.directory().join(format!("{}.kubeconfig", pod.name));
    std::fs::write(&file, text.to_string()).unwrap();
    let url = format!("k8s://jobs/{name}?kubeconfig={}", file.display());
    leasehold::connect(&url).await.unwrap()
}

fn elector(lock: Arc<dyn LockBackend>, identity: &str) -> Elector {
    let timing = TimingSettings::lease_duration(Duration::from_secs(6));
    Elector::builder(lock).identity(identity).timing(timing).build().unwrap()
}

/// The lock with nobody in it, made by this candidate.
async fn adopted(lock: &dyn LockBackend) -> Observed {
    let seen = lock.read().await.unwrap();
    written(lock.write(&seen.version, &adoption()).await)
}

fn adoption() -> Change {
    let mut adopt = change(Intent::Adopt, "nobody", 6);
    adopt.record.holder = None;
    adopt
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_the_shipped_manifests_lead_in_turn_and_in_their_own_name_only() {
    let files = ["rbac.yaml", "admission-policy.yaml", "flow-schema.yaml", "deployment.yaml"];
    let (cluster, admin) = deployed(&files).await;
    let [one, two] = [pod(&admin, "nightly-1").await, pod(&admin, "nightly-2").await];
    let [a, b] = [lock(&cluster, &one, "nightly").await, lock(&cluster, &two, "nightly").await];
    // Rights and policies come into force some time after they were stored.
    eventually("the rights come into force", async || a.read().await.is_ok()).await;
    adopted(a.as_ref()).await;
    let text = refusal(async || {
        let before = a.read().await.unwrap();
        a.write(&before.version, &change(Intent::Take, "nightly-2", 6)).await.err()
    })
    .await;
    assert!(text.contains("only in its own name: nightly-1_"), "{text}");
    assert!(!text.contains("Role"), "{text}");
    // They lead in turn.
    let [first, second] = [elector(a.clone(), "nightly-1"), elector(b.clone(), "nightly-2")];
    let held = tokio::time::timeout(Duration::from_secs(40), first.campaign()).await.unwrap();
    let held = held.unwrap();
    let waiting = tokio::spawn(async move { (second.campaign().await.unwrap(), second) });
    // Nobody else gives back what one holds.
    let seen = b.read().await.unwrap();
    let error = b.write(&seen.version, &change(Intent::Release, "x", 6)).await.unwrap_err();
    assert!(error.to_string().contains("only its holder gives this Lease back"), "{error}");
    assert!(held.check().is_ok());
    let token = held.token();
    assert!(held.resign().await.unwrap());
    let (next, _second) =
        tokio::time::timeout(Duration::from_secs(40), waiting).await.unwrap().unwrap();
    assert!(next.token() > token);
    // Another lock is out of reach.
    let other = lock(&cluster, &one, "other").await.read().await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Denied);
    assert!(other.to_string().contains("get, create, update and watch"), "{other}");
    assert!(!other.to_string().contains(&one.token), "{other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_of_the_shipped_role_is_needed() {
    let (cluster, admin) = deployed(&["rbac.yaml"]).await;
    let one = pod(&admin, "nightly-1").await;
    let a = lock(&cluster, &one, "nightly").await;
    eventually("the rights come into force", async || a.read().await.is_ok()).await;
    let verbs = ["get", "create", "update", "watch"];
    for missing in verbs {
        let left: Vec<&str> = verbs.into_iter().filter(|verb| *verb != missing).collect();
        let mut role = admin.do_it("GET", ROLE, None).await.unwrap();
        role["rules"][0]["verbs"] = json!(left);
        admin.do_it("PUT", ROLE, Some(&role)).await.unwrap();
        let said = match missing {
            "get" => refusal(async || a.read().await.err()).await,
            // A PUT of what is not there needs both.
            "create" | "update" => {
                refusal(async || {
                    admin.ask("DELETE", LEASE, None).await.unwrap();
                    let absent = a.read().await.unwrap();
                    a.write(&absent.version, &adoption()).await.err()
                })
                .await
            }
            _ => {
                let seen = a.read().await.unwrap();
                refusal(async || a.watch(&seen).next().await?.err()).await
            }
        };
        assert!(said.contains(&format!("cannot {missing} resource")), "{missing}: {said}");
        assert!(said.contains("get, create, update and watch"), "{missing}: {said}");
    }
}

/// What is said once the right is gone, which takes a moment.
async fn refusal(mut ask: impl AsyncFnMut() -> Option<leasehold::Error>) -> String {
    for _ in 0..400 {
        if let Some(error) = ask().await {
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
            return error.to_string();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is still allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_have_a_priority_level_of_their_own() {
    let (cluster, admin) = deployed(&["rbac.yaml", "flow-schema.yaml"]).await;
    let one = pod(&admin, "nightly-1").await;
    let a = lock(&cluster, &one, "nightly").await;
    eventually("the rights come into force", async || a.read().await.is_ok()).await;
    let ours = ["flow_schema=\"leasehold\"", "priority_level=\"leasehold\""];
    eventually("the level is used", async || {
        a.read().await.unwrap();
        let dispatched = "apiserver_flowcontrol_dispatched_requests_total";
        admin.metric(dispatched, &ours).await.unwrap() > 0.0
    })
    .await;
}
