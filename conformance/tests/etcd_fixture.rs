//! The cluster that other tests rely on does what it is told.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::fixture::etcd::{Etcd, Options, Tls};

/// Says whether the cluster accepts a write within a few seconds.
async fn accepts_writes(etcd: &Etcd) -> bool {
    etcd.etcdctl(&["--command-timeout=4s", "--dial-timeout=1s", "put", "k", "v"]).await.is_ok()
}

#[tokio::test]
async fn a_cluster_of_three_survives_one_member_and_not_two() {
    let mut etcd = Etcd::start(Options::default()).await.unwrap();
    assert!(accepts_writes(&etcd).await);
    let leader = etcd.leader().await.unwrap();
    etcd.freeze(leader).unwrap().required().unwrap();
    let next = etcd.leader().await.unwrap();
    assert_ne!(next, leader);
    etcd.thaw(leader).unwrap().required().unwrap();
    etcd.kill(next).unwrap().required().unwrap();
    let third = etcd.leader().await.unwrap();
    assert_ne!(third, next);
    assert!(accepts_writes(&etcd).await);
    etcd.kill(third).unwrap().required().unwrap();
    assert!(!accepts_writes(&etcd).await);
    etcd.restart(third).await.unwrap().required().unwrap();
    assert!(accepts_writes(&etcd).await);
    etcd.fail_over().await.unwrap().required().unwrap();
}

#[tokio::test]
async fn a_single_member_speaks_tls_and_asks_for_certificates() {
    let options = Options { members: 1, tls: Tls::Mutual, ..Options::default() };
    let mut etcd = Etcd::start(options).await.unwrap();
    assert!(accepts_writes(&etcd).await);
    let failed_over = etcd.fail_over().await.unwrap();
    assert!(failed_over.required().unwrap_err().to_string().contains("one member"));
}
