//! `leasehold doctor` on real clusters.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use std::ffi::OsString;

use common::{change, cluster, elector, lock, open};
use leasehold::backend::{Intent, LockBackend};
use leasehold_cli::args::{self, Action};
use leasehold_cli::doctor::{self, Report};
use leasehold_conformance::fixture::certificates::{Authority, Validity};
use leasehold_conformance::fixture::{Access, Fixture, User, Users};
use leasehold_conformance::stores::etcd::{Etcd, Options, Tls};
use serde_json::Value;

/// What the command prints, and its exit code.
async fn doctor(url: &str, more: &[&str]) -> Report {
    let words = [&["leasehold", "doctor", "--lock", url], more].concat();
    let Action::Doctor(args) = args::parse(words.into_iter().map(OsString::from)).unwrap().action
    else {
        panic!("another action");
    };
    let report = doctor::report(&args).await;
    println!("{}\nexit {}\n", report.text, report.code);
    report
}

fn shows(report: &Report, code: u8, says: &[&str]) {
    assert_eq!(report.code, code, "{}", report.text);
    for says in says {
        assert!(report.text.contains(says), "{says:?} is missing:\n{}", report.text);
    }
}

fn url(etcd: &Etcd) -> String {
    etcd.url(&etcd.endpoints(), "jobs/nightly")
}

/// Keys and leases that are there, by the store's own tool.
async fn everything(etcd: &Etcd) -> String {
    let keys = etcd.etcdctl(&["get", "", "--prefix", "--keys-only"]).await.unwrap();
    let leases = etcd.etcdctl(&["lease", "list"]).await.unwrap();
    format!("{keys} {leases}")
}

/// From a whole cluster to one member that is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_counted_and_losses_named() {
    let mut etcd = cluster(3).await;
    let whole = doctor(&url(&etcd), &[]).await;
    shows(
        &whole,
        0,
        &[
            "leads the cluster",
            "follows",
            "3 members, 2 must agree: 1 may fail",
            "no defect is known that an upgrade fixes",
            "it may end leases that were renewed",
            "-> no release is without it",
            "not the store of a Kubernetes cluster",
            "may read and write jobs/nightly/",
            "it is free",
            "a read that a majority confirms",
            "asked for 15s, the cluster grants 15s; its shortest is 2s",
            "of 5 pairs of writes, one of each was accepted",
            "frees the lock 16s after",
            "3 x request timeout 2s = 8s <= renew deadline 10s",
            "no problems, 1 warning",
        ],
    );
    assert_eq!(everything(&etcd).await, " found 0 leases", "something was left behind");

    let two = etcd.endpoints()[..2].to_vec();
    let unnamed = doctor(&etcd.url(&two, "jobs/nightly"), &[]).await;
    let says = ["2 must agree: 1 may fail", "warning  members           the URL does not name m2"];
    shows(&unnamed, 0, &says);

    let leader = etcd.leader().await.unwrap();
    etcd.kill(leader).unwrap();
    etcd.leader().await.unwrap();
    let one_gone = doctor(&url(&etcd), &[]).await;
    shows(
        &one_gone,
        0,
        &[
            "warning  member",
            "Connection refused",
            "warning  quorum",
            "not one may fail (2 of 3 can be reached)",
            "one of each was accepted",
        ],
    );

    etcd.kill((leader + 1) % 3).unwrap();
    let two_gone = doctor(&url(&etcd), &["-o", "json"]).await;
    let json: Value = serde_json::from_str(&two_gone.text).unwrap();
    assert_eq!((two_gone.code, &json["exit_code"]), (69, &Value::from(69)));
    assert_eq!(json["timing"]["lease_duration_ms"], 15_000);
    let quorum = json["findings"].as_array().unwrap().iter().find(|one| one["subject"] == "quorum");
    let quorum = quorum.unwrap();
    assert_eq!(quorum["level"], "problem");
    assert!(quorum["text"].as_str().unwrap().contains("nobody can lead"), "{quorum}");
    assert!(!two_gone.text.contains("compare-and-swap"), "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_even_count_and_a_single_member_are_warned_of() {
    let two = doctor(&url(&cluster(2).await), &[]).await;
    shows(&two, 0, &["warning  quorum", "no more than 1 would", "-> run an odd number of members"]);
    let extra = vec!["--election-timeout=3000".to_owned(), "--heartbeat-interval=300".to_owned()];
    let options = Options { members: 1, extra, ..Options::default() };
    let slow = Etcd::start(options).await.unwrap();
    let one = doctor(&url(&slow), &["--lease-duration", "3s"]).await;
    shows(
        &one,
        0,
        &[
            "warning  quorum            1 member, 1 must agree: not one may fail",
            "asked for 3s, the cluster grants 5s; its shortest is 5s",
            "-> choose a lease duration of 5s",
        ],
    );
    let short = doctor(&url(&slow), &["--lease-duration", "1s"]).await;
    shows(&short, 78, &["problem  timing", "lease duration 1s is below 2s"]);
}

/// Whoever leads is shown, and notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_itself_is_not_touched() {
    let etcd = cluster(3).await;
    let leader = elector(lock(&etcd, "jobs/nightly"), "node-a", 15);
    let held = leader.campaign().await.unwrap();
    let before = lock(&etcd, "jobs/nightly").read().await.unwrap();
    let report = doctor(&url(&etcd), &[]).await;
    shows(&report, 0, &[&format!("node-a holds it with token {}, lease 15s", held.token())]);
    assert_eq!(lock(&etcd, "jobs/nightly").read().await.unwrap().version, before.version);
    assert!(held.check().is_ok());
    etcd.etcdctl(&["put", "jobs/nightly/immortal", "x"]).await.unwrap();
    assert!(held.resign().await.unwrap());
    let blocked = doctor(&url(&etcd), &[]).await;
    shows(&blocked, 78, &["problem  lock", "etcdctl del 'jobs/nightly/immortal'"]);
    let says = "jobs/nightly/immortal under jobs/nightly/ is no candidate's key";
    shows(&blocked, 78, &["warning  keys", says, "-> look at them with etcdctl get"]);
    assert!(!blocked.text.contains("fail-over"), "{}", blocked.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_of_a_kubernetes_cluster_is_refused() {
    let etcd = cluster(1).await;
    etcd.etcdctl(&["put", "/registry/pods/default/web", "x"]).await.unwrap();
    let refused = doctor(&url(&etcd), &[]).await;
    shows(&refused, 78, &["problem  kubernetes", "/registry/", "-> use an etcd of your own"]);
    assert!(!refused.text.contains("compare-and-swap"), "nothing was written");
    assert_eq!(everything(&etcd).await, "/registry/pods/default/web found 0 leases");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_missing_permission_is_named_with_what_grants_it() {
    let etcd = cluster(1).await;
    let file = etcd.directory().join("password");
    std::fs::write(&file, "secret").unwrap();
    let with = |user: &str| format!("{}?user={user}&password_file={}", url(&etcd), file.display());
    let users = ["candidate", "observer", "writer", "stranger"].map(|name| (name, with(name)));
    let access = [Access::ReadWrite, Access::Read, Access::Write, Access::ReadWrite];
    for ((name, _), access) in users.iter().zip(access) {
        let user = User { name: (*name).to_owned(), password: "secret".to_owned() };
        let lock = if *name == "stranger" { "elsewhere" } else { "jobs/nightly" };
        etcd.grant(&user, lock, access).await.unwrap();
    }
    let grants = "-> etcdctl role grant-permission ROLE readwrite 'jobs/nightly/' --prefix=true";
    for ((name, url), (code, says)) in users.iter().zip([
        (0, "this user may read and write jobs/nightly/"),
        (77, "write is missing"),
        (77, "read is missing"),
        (77, "read and write are missing"),
    ]) {
        println!("{name}");
        let report = doctor(url, &[]).await;
        shows(&report, code, &[says]);
        assert_eq!(report.text.contains(grants), code != 0, "{}", report.text);
        // A candidate is told the same.
        let lock = open(url);
        let refusals = match lock.read().await {
            Err(error) => error.to_string(),
            Ok(seen) => match lock.write(&seen.version, &change(Intent::Take, name, 5)).await {
                Err(error) => error.to_string(),
                Ok(_) => continue,
            },
        };
        let cure = grants.trim_start_matches("-> ");
        assert!(code != 0 && refusals.contains(cure), "{refusals}");
    }
    // What a candidate may do is enough for it, and not for a scratch lock.
    let candidate = doctor(&users[0].1, &[]).await;
    shows(
        &candidate,
        0,
        &[
            "warning  compare-and-swap  not tested: this user may not write beside the lock",
            "ROLE readwrite 'jobs/nightly.doctor-' --prefix=true",
            "this user may not see /registry/",
        ],
    );
    etcd.etcdctl(&[
        "role",
        "grant-permission",
        "candidate-role",
        "readwrite",
        "jobs/nightly.doctor-",
        "--prefix=true",
    ])
    .await
    .unwrap();
    shows(&doctor(&users[0].1, &[]).await, 0, &["one of each was accepted"]);
    shows(&doctor(&url(&etcd), &[]).await, 77, &["name one"]);
    std::fs::write(&file, "wrong").unwrap();
    let wrong = doctor(&users[0].1, &[]).await;
    shows(&wrong, 77, &["-> fix the user or its password"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_do_not_fit_are_denied() {
    let options = Options { members: 1, tls: Tls::Mutual, ..Options::default() };
    let etcd = Etcd::start(options).await.unwrap();
    shows(&doctor(&url(&etcd), &[]).await, 0, &["one of each was accepted"]);
    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::new(other.path(), "stranger").unwrap();
    let good = etcd.authority().unwrap().client("good", Validity::Valid).unwrap();
    let old = etcd.authority().unwrap().client("old", Validity::Expired).unwrap();
    let ours = etcd.authority().unwrap().certificate();
    for (ca, pair, says) in
        [(stranger.certificate(), &good, "UnknownIssuer"), (ours, &old, "CertificateExpired")]
    {
        let url = format!(
            "etcds://{}/jobs?ca={}&cert={}&key={}",
            etcd.endpoints().join(","),
            ca.display(),
            pair.certificate.display(),
            pair.key.display()
        );
        let report = doctor(&url, &[]).await;
        shows(&report, 77, &["problem  member", says, "-> look at the certificates"]);
    }
}
