//! The cluster that other tests rely on does what it is told.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use leasehold_conformance::fixture::{Cluster, Cuts, Fixture};
use leasehold_conformance::stores::etcd::{Etcd, Options, Tls};

/// Says whether the cluster accepts a write within a few seconds.
async fn accepts_writes(etcd: &Etcd) -> bool {
    etcd.etcdctl(&["--command-timeout=4s", "--dial-timeout=1s", "put", "k", "v"]).await.is_ok()
}

#[tokio::test]
async fn a_cluster_of_three_survives_one_member_and_not_two() {
    let mut etcd = Etcd::start(Options::default()).await.unwrap();
    assert!(accepts_writes(&etcd).await);
    let leader = etcd.leader().await.unwrap();
    etcd.freeze(leader).unwrap();
    let next = etcd.leader().await.unwrap();
    assert_ne!(next, leader);
    etcd.thaw(leader).unwrap();
    etcd.kill(next).unwrap();
    let third = etcd.leader().await.unwrap();
    assert_ne!(third, next);
    assert!(accepts_writes(&etcd).await);
    etcd.kill(third).unwrap();
    assert!(!accepts_writes(&etcd).await);
    etcd.restart(third).await.unwrap();
    assert!(accepts_writes(&etcd).await);
    etcd.fail_over().await.unwrap();
}

#[tokio::test]
async fn a_single_member_speaks_tls_and_asks_for_certificates() {
    let options = Options { members: 1, tls: Tls::Mutual, ..Options::default() };
    let mut etcd = Etcd::start(options).await.unwrap();
    assert!(accepts_writes(&etcd).await);
    let failed_over = etcd.fail_over().await.unwrap_err();
    assert!(failed_over.to_string().contains("one member"), "{failed_over}");
}

/// A member that is cut off hears nobody, and nobody hears it; etcd goes on without it and takes it
/// back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_cut_off_and_rejoins() {
    let etcd = Etcd::start(Options { can_cut: true, ..Options::default() }).await.unwrap();
    let leader = etcd.leader().await.unwrap();
    etcd.cut_off(leader).unwrap();
    let alone =
        async |etcd: &Etcd| etcd.metric(leader, "etcd_server_has_leader", &[]).await.unwrap() < 0.5;
    let began = std::time::Instant::now();
    while !alone(&etcd).await {
        assert!(began.elapsed().as_secs() < 30, "it still has a leader");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_ne!(etcd.leader().await.unwrap(), leader);
    etcd.rejoin(leader).unwrap();
    let began = std::time::Instant::now();
    while alone(&etcd).await {
        assert!(began.elapsed().as_secs() < 30, "it does not rejoin");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_fixture_cannot_do_is_said() {
    let etcd = Etcd::start(Options { members: 1, ..Options::default() }).await.unwrap();
    let cut = etcd.cut_off(0).unwrap_err();
    assert!(cut.to_string().contains("without relays"), "{cut}");
}
