//! What a real API server refuses, and what becomes of a lock then: rights, policies, webhooks,
//! namespaces, odd numbers.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{PATIENCE, change, eventually};
use leasehold::backend::{Holder, Intent, LockBackend, Observed, Outcome};
use leasehold::doctor::{Level, examine};
use leasehold::{Elector, Error, ErrorKind, TimingSettings, connect};
use leasehold_conformance::fixture::{Access, Fixture, Login, User, Users};
use leasehold_conformance::stores::kubernetes::{Admin, Kubernetes, Options};
use serde_json::{Value, json};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

async fn lock(cluster: &Kubernetes, name: &str) -> Arc<dyn LockBackend> {
    connect(&cluster.url(&cluster.endpoints(), name)).await.unwrap()
}

async fn stored(admin: &Admin, name: &str) -> Value {
    admin.do_it("GET", &format!("{LEASES}/{name}"), None).await.unwrap()
}

async fn is_absent(admin: &Admin, name: &str) -> bool {
    admin.ask("GET", &format!("{LEASES}/{name}"), None).await.unwrap().0 == 404
}

/// The lock as this user, who may do so much with it.
async fn as_user(cluster: &mut Kubernetes, name: &str, access: Access) -> String {
    let user = User { name: format!("{name}-user"), password: format!("{name}-user-token") };
    cluster.grant(&user, name, access).await.unwrap();
    let login = Login { user: Some(user), ..cluster.login() };
    let url = cluster.url_as(name, &login).unwrap();
    let lock = connect(&url).await.unwrap();
    eventually("the rights come into force", async || lock.read().await.is_ok()).await;
    url
}

/// A policy that refuses every write of Leases whose name begins so, without a reason: with code
/// 422.
async fn refuse(admin: &Admin, prefix: &str) {
    let policy = json!({"metadata": {"name": "no"}, "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{
            "apiGroups": ["coordination.k8s.io"], "apiVersions": ["*"], "resources": ["leases"],
            "operations": ["CREATE", "UPDATE"],
        }]},
        "validations": [{"expression": format!("!object.metadata.name.startsWith('{prefix}')")}],
    }});
    let binding = json!({"metadata": {"name": "no"}, "spec": {"policyName": "no",
        "validationActions": ["Deny"]}});
    let policies = format!("{ADMISSION}/validatingadmissionpolicies");
    admin.do_it("POST", &policies, Some(&policy)).await.unwrap();
    let bindings = format!("{ADMISSION}/validatingadmissionpolicybindings");
    admin.do_it("POST", &bindings, Some(&binding)).await.unwrap();
    eventually("the policy is in force", async || {
        let lease = json!({"metadata": {"name": format!("{prefix}-probe")}});
        admin.ask("POST", &format!("{LEASES}?dryRun=All"), Some(&lease)).await.unwrap().0 == 422
    })
    .await;
}

async fn allow(admin: &Admin) {
    let binding = format!("{ADMISSION}/validatingadmissionpolicybindings/no");
    admin.do_it("DELETE", &binding, None).await.unwrap();
}

async fn adopted(lock: &dyn LockBackend) -> Observed {
    let absent = lock.read().await.unwrap();
    let mut adopt = change(Intent::Adopt, "nobody", 15);
    adopt.record.holder = None;
    match lock.write(&absent.version, &adopt).await.unwrap() {
        Outcome::Written(observed) => observed,
        Outcome::Conflict => panic!("it was made by another"),
    }
}

fn denied(result: Result<(), Error>, says: &str) {
    let error = result.expect_err("it may be taken");
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_never_take_is_told_so_and_nothing_is_stored() {
    let options = Options { strangers: true, ..Options::default() };
    let mut cluster = Kubernetes::start(options).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    for (name, access) in [("reader", Access::Read), ("writer", Access::ReadWrite)] {
        let url = as_user(&mut cluster, name, access).await;
        let own = connect(&url).await.unwrap();
        let check = async || match access {
            Access::Read => denied(
                own.may_take(&Holder::of_this_process()).await,
                "get, create, update and watch",
            ),
            _ => own.may_take(&Holder::of_this_process()).await.unwrap(),
        };
        // Of what is not there: it would be made.
        check().await;
        assert!(is_absent(&admin, name).await, "the trial was stored");
        // Of what is free, and of what another holds.
        let observed = adopted(lock(&cluster, name).await.as_ref()).await;
        for holder in ["", "another_1"] {
            let mut lease = stored(&admin, name).await;
            lease["spec"]["holderIdentity"] = holder.into();
            let path = format!("{LEASES}/{name}");
            let before = admin.do_it("PUT", &path, Some(&lease)).await.unwrap();
            check().await;
            assert_eq!(stored(&admin, name).await, before, "the trial was stored");
        }
        assert_ne!(own.read().await.unwrap().version, observed.version);
        let found = examine(&url, TimingSettings::default()).await;
        let is_problem = |level| matches!(level, Level::Problem(_));
        let subjects: Vec<&str> = found.findings.iter().map(|found| found.subject).collect();
        assert_eq!(subjects.contains(&"trial"), access != Access::Read, "{subjects:?}");
        let problems = found.findings.iter().filter(|found| is_problem(found.level)).count();
        assert_eq!(problems > 0, access == Access::Read, "{:?}", found.findings);
    }
    // A policy's refusal is one, with whatever code; others are not concerned.
    refuse(&admin, "no").await;
    denied(
        lock(&cluster, "no-1").await.may_take(&Holder::of_this_process()).await,
        "an admission policy or webhook",
    );
    assert!(is_absent(&admin, "no-1").await);
    lock(&cluster, "yes").await.may_take(&Holder::of_this_process()).await.unwrap();
    let found =
        examine(&cluster.url(&cluster.endpoints(), "no-1"), TimingSettings::default()).await;
    let trial = found.findings.iter().find(|found| found.subject == "trial").unwrap();
    assert_eq!(trial.level, Level::Problem(ErrorKind::Denied), "{trial:?}");
    allow(&admin).await;
    eventually("it may be taken", async || {
        lock(&cluster, "no-1").await.may_take(&Holder::of_this_process()).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_during_a_term_costs_neither_term_nor_candidate() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let timing = TimingSettings::lease_duration(Duration::from_secs(15));
    let elector = |lock, identity: &str| {
        Elector::builder(lock).identity(identity).timing(timing).build().unwrap()
    };
    let a = elector(lock(&cluster, "no").await, "a");
    let b = elector(lock(&cluster, "no").await, "b");
    let held = a.campaign().await.unwrap();
    let waiting = tokio::spawn(async move { b.campaign().await.map(|held| held.token()) });
    refuse(&admin, "no").await;
    // A renewal every two seconds is refused.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        held.check().expect("a refusal ended the term");
        assert!(!waiting.is_finished(), "a refusal ended the candidate");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = lock(&cluster, "no").await;
    let before = seen.read().await.unwrap();
    let error = seen.write(&before.version, &change(Intent::Renew, "x", 15)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "with code 422: {error}");
    allow(&admin).await;
    eventually("it renews again", async || {
        held.check().expect("it led on");
        seen.read().await.unwrap().version != before.version
    })
    .await;
    let token = held.token();
    assert!(held.resign().await.unwrap());
    let next = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(next > token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_gone_and_ignored_keeps_nobody_from_leading() {
    // It is there, and answers nobody.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let webhook = json!({"metadata": {"name": "gone"}, "webhooks": [{
        "name": "gone.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "timeoutSeconds": 3, "failurePolicy": "Ignore",
        "clientConfig": {"url": format!("https://{}/", gone.local_addr().unwrap())},
        "rules": [{
            "apiGroups": ["coordination.k8s.io"], "apiVersions": ["*"], "resources": ["leases"],
            "operations": ["CREATE", "UPDATE"],
        }],
    }]});
    let webhooks = format!("{ADMISSION}/validatingwebhookconfigurations");
    admin.do_it("POST", &webhooks, Some(&webhook)).await.unwrap();
    let slow = async || {
        let (began, lease) = (Instant::now(), json!({"metadata": {"name": "probe"}}));
        admin.ask("POST", &format!("{LEASES}?dryRun=All"), Some(&lease)).await.unwrap();
        began.elapsed() >= Duration::from_secs(3)
    };
    eventually("writes are slow", slow).await;
    // With the timing of this store.
    let backend = lock(&cluster, "slow").await;
    let elector = Elector::builder(backend.clone()).identity("a").build().unwrap();
    let held = tokio::time::timeout(PATIENCE, elector.campaign()).await.expect("it leads").unwrap();
    let first = backend.read().await.unwrap();
    eventually("it renews", async || {
        held.check().expect("it leads on");
        backend.read().await.unwrap().version != first.version
    })
    .await;
    assert!(slow().await, "the webhook is asked no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_leases_are_taken_or_named_by_their_cause() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let far = "9999-12-31T23:59:59.999999Z";
    for (name, spec) in [
        (
            "last",
            json!({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": i32::MAX}),
        ),
        (
            "far",
            json!({"holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": far,
                "renewTime": far}),
        ),
        ("bare", json!({})),
    ] {
        let lease = json!({"metadata": {"name": name}, "spec": spec});
        admin.do_it("POST", LEASES, Some(&lease)).await.unwrap();
        let found =
            examine(&cluster.url(&cluster.endpoints(), name), TimingSettings::default()).await;
        let odd = found.findings.iter().any(|found| found.text.contains("transitions is the last"));
        assert_eq!(odd, name == "last", "{:?}", found.findings);
        let timing = TimingSettings::lease_duration(Duration::from_secs(6));
        let elector = Elector::builder(lock(&cluster, name).await).identity("a").timing(timing);
        let elector = elector.build().unwrap();
        let held = tokio::time::timeout(PATIENCE, elector.campaign()).await.expect(name).unwrap();
        let lease = stored(&admin, name).await;
        let transitions = lease["spec"]["leaseTransitions"].as_i64().unwrap();
        assert!(transitions < i32::MAX.into(), "client-go could not take it: {lease}");
        assert!(held.resign().await.unwrap());
    }
    // A Lease of a node or an API server: no acquireTime, and all else.
    let node = json!({"metadata": {"name": "node"}, "spec": {
        "holderIdentity": "node", "leaseDurationSeconds": 40,
        "renewTime": "2026-01-02T03:04:07.123456Z",
    }});
    admin.do_it("POST", LEASES, Some(&node)).await.unwrap();
    let observed = lock(&cluster, "node").await.read().await.unwrap();
    let record = observed.record().unwrap();
    assert_eq!(record.lease_duration, Duration::from_secs(40));
    assert_eq!(record.renewed.0, 1_767_323_047_123);
    assert_eq!(observed.renewed(), Some(record.renewed), "it is shown");
    // What is missing or going away is named.
    let url = cluster.url(&cluster.endpoints(), "x");
    let elsewhere = |namespace: &str| url.replace("//default/", &format!("//{namespace}/"));
    let missing = connect(&elsewhere("nowhere")).await.unwrap();
    let absent = missing.read().await.unwrap();
    let mut adopt = change(Intent::Adopt, "nobody", 15);
    adopt.record.holder = None;
    let error = missing.write(&absent.version, &adopt).await.unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("kubectl create namespace"), "{error}");
    let namespace = json!({"metadata": {"name": "going"}});
    admin.do_it("POST", "/api/v1/namespaces", Some(&namespace)).await.unwrap();
    admin.do_it("DELETE", "/api/v1/namespaces/going", None).await.unwrap();
    let going = connect(&elsewhere("going")).await.unwrap();
    let absent = going.read().await.unwrap();
    let error = going.write(&absent.version, &adopt).await.unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("the namespace is being deleted"), "{error}");
    assert!(!error.contains("Role"), "{error}");
    // A version of the API that is not there.
    let (code, answer) = admin.ask("GET", "/apis/nothing.example.com/v1/x", None).await.unwrap();
    println!("{code}: {answer}");
}
