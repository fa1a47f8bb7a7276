//! Locks behind a real API server, beside what others write into the same objects.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use leasehold::backend::{Contents, LockBackend, Observed};
use leasehold::doctor::{Level, examine};
use leasehold::{Elector, ErrorKind, TimingSettings};
use leasehold_conformance::fixture::{Access, Fixture, Login, User, Users};
use leasehold_conformance::stores::kubernetes::{Admin, Kubernetes, Options};
use serde_json::{Value, json};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

/// Longer than anything takes, on a slow machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);

async fn lock(cluster: &Kubernetes, name: &str) -> Arc<dyn LockBackend> {
    leasehold::connect(&cluster.url(&cluster.endpoints(), name)).await.unwrap()
}

fn elector(lock: Arc<dyn LockBackend>, identity: &str) -> Elector {
    let timing = TimingSettings::lease_duration(Duration::from_secs(6));
    Elector::builder(lock).identity(identity).timing(timing).build().unwrap()
}

/// A Lease as client-go writes it.
fn by_client_go(name: &str, holder: &str, transitions: u32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-02T03:04:05.000001Z",
            "renewTime": "2026-01-02T03:04:07.123456Z",
            "leaseTransitions": transitions,
        },
    })
}

async fn stored(admin: &Admin, name: &str) -> Value {
    admin.do_it("GET", &format!("{LEASES}/{name}"), None).await.unwrap()
}

async fn store(admin: &Admin, object: &Value) {
    let name = object["metadata"]["name"].as_str().unwrap();
    admin.do_it("PUT", &format!("{LEASES}/{name}"), Some(object)).await.unwrap();
}

fn holder(observed: &Observed) -> Option<(String, bool)> {
    let holder = observed.record()?.holder.clone()?;
    Some((holder.identity, holder.incarnation.is_some()))
}

/// The next state that the watch tells; it must come.
async fn next(
    watch: &mut leasehold::backend::BoxStream<'static, Result<Observed, leasehold::Error>>,
) -> Observed {
    let next = tokio::time::timeout(PATIENCE, watch.next()).await;
    next.expect("nothing came").expect("it ended").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_of_client_go_is_shown_waited_out_and_taken_over() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    admin.do_it("POST", LEASES, Some(&by_client_go("go", "kube-x_1", 3))).await.unwrap();
    let seen = lock(&cluster, "go").await.read().await.unwrap();
    assert_eq!(holder(&seen), Some(("kube-x_1".to_owned(), false)));
    let record = seen.record().unwrap();
    assert_eq!(record.lease_duration, Duration::from_secs(15));
    // A label that somebody sets is no sign of life.
    let mut labelled = stored(&admin, "go").await;
    labelled["metadata"]["labels"] = json!({"a": "b"});
    store(&admin, &labelled).await;
    let again = lock(&cluster, "go").await.read().await.unwrap();
    assert_ne!(again.version, seen.version);
    assert_eq!(again.record().unwrap().nonce, record.nonce);
    // It is released: ours leads at once, and its labels stay.
    let a = elector(lock(&cluster, "go").await, "a");
    let waiting = tokio::spawn(async move { (a.campaign().await.unwrap(), a) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished(), "it leads beside client-go");
    let mut released = stored(&admin, "go").await;
    released["spec"]["holderIdentity"] = "".into();
    released["spec"]["leaseDurationSeconds"] = 1.into();
    store(&admin, &released).await;
    let (held, _a) = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    let ours = stored(&admin, "go").await;
    assert_eq!(ours["spec"]["leaseTransitions"], 4);
    assert_eq!(ours["metadata"]["labels"]["a"], "b");
    assert!(ours["spec"]["holderIdentity"].as_str().unwrap().starts_with("a_"));
    let released: u64 = ours["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(held.token() <= released, "a token is above the version that it replaced, not below");
    assert!(held.resign().await.unwrap());
    let free = stored(&admin, "go").await;
    assert_eq!(free["spec"]["holderIdentity"], "");
    assert_eq!(free["spec"]["leaseDurationSeconds"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_lease_is_deleted_or_erased_asserts_it_again() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let [a, b] = [elector(lock(&cluster, "x").await, "a"), elector(lock(&cluster, "x").await, "b")];
    let held = a.campaign().await.unwrap();
    let waiting = tokio::spawn(async move { b.campaign().await.map(|held| held.token()) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    admin.do_it("DELETE", &format!("{LEASES}/x"), None).await.unwrap();
    let read = lock(&cluster, "x").await;
    let named = async || holder(&read.read().await.unwrap()).map(|(name, _)| name);
    let began = std::time::Instant::now();
    while named().await.as_deref() != Some("a") {
        assert!(began.elapsed() < PATIENCE, "the deleted Lease is not asserted again");
        assert!(held.check().is_ok(), "a deletion ended the term");
    }
    // What a late client-go does: it releases what is not its own any more.
    let mut erased = stored(&admin, "x").await;
    erased["spec"]["holderIdentity"] = "".into();
    erased["spec"]["renewTime"] = "2026-01-02T03:04:07.123456Z".into();
    // The leader may have renewed in between, as client-go may find; then it asks again.
    while admin.ask("PUT", &format!("{LEASES}/x"), Some(&erased)).await.unwrap().0 == 409 {
        let revision = stored(&admin, "x").await["metadata"]["resourceVersion"].clone();
        erased["metadata"]["resourceVersion"] = revision;
    }
    while named().await.as_deref() != Some("a") {
        assert!(began.elapsed() < PATIENCE, "the erased Lease is not asserted again");
        assert!(held.check().is_ok(), "an erased claim ended the term");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        held.check().is_ok() && !waiting.is_finished(),
        "an erased claim was taken for a release"
    );
    let token = held.token();
    assert!(held.resign().await.unwrap());
    let next = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(next > token, "{next} after {token}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_every_state_and_goes_on_after_its_history_is_gone() {
    let mut cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let watched = lock(&cluster, "w").await;
    let absent = watched.read().await.unwrap();
    let mut watch = watched.watch(&absent);
    let created = by_client_go("w", "one", 0);
    let soon = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        admin.do_it("POST", LEASES, Some(&created)).await.unwrap();
    };
    let (first, ()) = tokio::join!(next(&mut watch), soon);
    assert_eq!(holder(&first), Some(("one".to_owned(), false)));
    let mut second = stored(&admin, "w").await;
    second["spec"]["holderIdentity"] = "two".into();
    store(&admin, &second).await;
    assert_eq!(holder(&next(&mut watch).await), Some(("two".to_owned(), false)));
    admin.do_it("DELETE", &format!("{LEASES}/w"), None).await.unwrap();
    let gone = next(&mut watch).await;
    assert_eq!(gone.contents, Contents::Absent);
    assert!(gone.token_floor > first.token_floor, "a deletion says as of when");
    admin.do_it("POST", LEASES, Some(&by_client_go("w", "three", 0))).await.unwrap();
    assert_eq!(holder(&next(&mut watch).await), Some(("three".to_owned(), false)));
    drop(watch);
    // A restarted server remembers nothing of what was.
    cluster.restart(0).await.unwrap();
    let mut resumed = watched.watch(&first);
    assert_eq!(holder(&next(&mut resumed).await), Some(("three".to_owned(), false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_says_what_is_missing() {
    let options = Options { strangers: true, ..Options::default() };
    let cluster = Kubernetes::start(options).await.unwrap();
    let subjects =
        |found: &leasehold::doctor::Examination, level: fn(Level) -> bool| -> Vec<String> {
            let chosen = found.findings.iter().filter(|finding| level(finding.level));
            chosen.map(|finding| format!("{}: {}", finding.subject, finding.text)).collect()
        };
    let is_problem = |level| matches!(level, Level::Problem(_));
    let all = examine(&cluster.url(&cluster.endpoints(), "d"), TimingSettings::default()).await;
    assert_eq!(subjects(&all, is_problem), Vec::<String>::new());
    let raced = subjects(&all, |level| level == Level::Good).join("\n");
    assert!(raced.contains("of 6 pairs of writes, one of each was accepted"), "{raced}");
    let left = cluster.admin().await.unwrap().do_it("GET", LEASES, None).await.unwrap();
    assert!(!left.to_string().contains("leasehold-doctor"), "the scratch object is left: {left}");
    // A candidate has what it needs, and may not race.
    let user = |name: &str| User { name: name.to_owned(), password: format!("{name}-token") };
    let login = |cluster: &Kubernetes, user: User| Login { user: Some(user), ..cluster.login() };
    for (name, access, says) in [
        ("candidate", Access::ReadWrite, "compare-and-swap: not tested"),
        ("observer", Access::Read, "permission: create, update is missing"),
    ] {
        cluster.grant(&user(name), "d", access).await.unwrap();
        let url = cluster.url_as("d", &login(&cluster, user(name))).unwrap();
        let found = examine(&url, TimingSettings::default()).await;
        let told = subjects(&found, |level| level != Level::Good).join("\n");
        assert!(told.contains(says), "{name}: {told}");
        let problems = subjects(&found, is_problem);
        assert_eq!(problems.is_empty(), access == Access::ReadWrite, "{name}: {problems:?}");
    }
    let nobody = cluster.url_as("d", &login(&cluster, user("nobody"))).unwrap();
    let error = leasehold::connect(&nobody).await.unwrap().read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!error.to_string().contains("nobody-token"), "{error}");
}
