//! `leasehold list` on a real etcd, with elections of ours and of others.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use common::{cluster, elector, lock};
use leasehold::ErrorKind;
use leasehold_cli::args::OutputFormat;
use leasehold_cli::list;
use leasehold_cli::output::Paint;
use leasehold_conformance::fixture::{Access, Fixture, Login, User, Users};
use leasehold_conformance::stores::etcd::Etcd;

/// A key as Go's candidates and `etcdctl elect` put it.
async fn stranger(etcd: &Etcd, election: &str, value: &str) {
    let granted = etcd.etcdctl(&["lease", "grant", "600"]).await.unwrap();
    let lease = granted.split(' ').nth(1).unwrap().to_owned();
    let key = format!("{election}/{}", lease.trim_start_matches('0'));
    etcd.etcdctl(&["put", &key, value, "--lease", &lease]).await.unwrap();
}

fn told(found: &[leasehold::doctor::Listed], form: OutputFormat) -> String {
    list::told(found, form, Paint(false)).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elections_under_a_prefix_are_listed_whoever_leads() {
    let etcd = cluster(1).await;
    let at = |path: &str| etcd.url(&etcd.endpoints(), path);
    assert_eq!(told(&leasehold::doctor::list(&at("")).await.unwrap(), OutputFormat::Text), "");
    let leader = elector(lock(&etcd, "jobs/nightly"), "node-a", 15);
    let held = leader.campaign().await.unwrap();
    stranger(&etcd, "jobs/weekly", "host-7").await;
    stranger(&etcd, "jobs", "host-8").await;
    stranger(&etcd, "jobs-of-others", "host-9").await;
    etcd.etcdctl(&["put", "jobs/nightly-config", "{}"]).await.unwrap();
    etcd.etcdctl(&["put", "jobs/x/2a", "no lease, no candidate"]).await.unwrap();
    let text = told(&leasehold::doctor::list(&at("jobs")).await.unwrap(), OutputFormat::Text);
    let [first, of_first, second, of_second, third, of_third] =
        text.lines().collect::<Vec<_>>().try_into().unwrap();
    // Ours waits for what is below it, and says so.
    assert!(first.ends_with("/jobs") && of_first.contains("rename one of them"), "{text}");
    assert!(second.ends_with("/jobs/nightly"), "{text}");
    let leads = format!("    node-a leads (token {}, since ", held.token());
    assert!(of_second.starts_with(&leads), "{text}");
    assert!(third.ends_with("/jobs/weekly"), "{text}");
    assert!(of_third.starts_with("    host-7 leads (token "), "{text}");
    let json =
        told(&leasehold::doctor::list(&at("jobs/nightly")).await.unwrap(), OutputFormat::Json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["leader"]["token"], held.token());
    assert_eq!(leasehold::doctor::list(&at("")).await.unwrap().len(), 4);
    assert!(held.resign().await.unwrap());
    assert_eq!(
        leasehold::doctor::list(&at("jobs/nightly")).await.unwrap().len(),
        0,
        "it has no keys any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_elections_than_one_answer_holds_are_listed() {
    let etcd = cluster(1).await;
    let granted = etcd.etcdctl(&["lease", "grant", "600"]).await.unwrap();
    let lease = granted.split(' ').nth(1).unwrap().to_owned();
    let mut client = leasehold::stores::etcd::etcd_client::Client::connect(etcd.endpoints(), None)
        .await
        .unwrap();
    let id = i64::from_str_radix(&lease, 16).unwrap();
    let put = leasehold::stores::etcd::etcd_client::PutOptions::new().with_lease(id);
    // One page is a thousand keys.
    for number in 0..1100 {
        client.put(format!("many/{number:04}/config"), "", None).await.unwrap();
        if number % 100 == 0 {
            client.put(format!("many/{number:04}/{id:x}"), "x", Some(put.clone())).await.unwrap();
        }
    }
    let found = leasehold::doctor::list(&etcd.url(&etcd.endpoints(), "many")).await.unwrap();
    assert_eq!(found.len(), 11);
    assert!(found[10].name.ends_with("/many/1000"), "{}", found[10].name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_list_is_told_what_to_grant_and_kubernetes_is_left_alone() {
    let etcd = cluster(1).await;
    etcd.etcdctl(&["put", "/registry/leases/kube-system/x", "object"]).await.unwrap();
    let error = leasehold::doctor::list(&etcd.url(&etcd.endpoints(), "")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("store of a Kubernetes cluster"), "{error}");
    let user = User { name: "observer".to_owned(), password: "s3cret".to_owned() };
    etcd.grant(&user, "jobs", Access::Read).await.unwrap();
    let login = Login { user: Some(user), ..Login::default() };
    assert_eq!(
        leasehold::doctor::list(&etcd.url_as("jobs", &login).unwrap()).await.unwrap().len(),
        0
    );
    let error =
        leasehold::doctor::list(&etcd.url_as("jobs-of-others", &login).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let says = "etcdctl role grant-permission ROLE read 'jobs-of-others/' --prefix=true";
    assert!(error.to_string().contains(says), "{error}");
    assert!(!error.to_string().contains("s3cret"));
}
