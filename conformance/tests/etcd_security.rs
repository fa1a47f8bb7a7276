//! Users, permissions and certificates.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{change, elector, open, renew, take, written};
use leasehold::ErrorKind;
use leasehold::backend::{Holder, Intent, LockBackend};
use leasehold_conformance::fixture::certificates::{Authority, Validity};
use leasehold_conformance::fixture::{Access, Fixture, User, Users};
use leasehold_conformance::stores::etcd::{Etcd, Options, Tls};

const PASSWORD: &str = "p@ss/word?1";

async fn user(etcd: &mut Etcd, name: &str, access: Access) -> User {
    let user = User { name: name.to_owned(), password: PASSWORD.to_owned() };
    etcd.grant(&user, "jobs", access).await.unwrap();
    user
}

/// The lock, for a user whose password is in a file.
fn url_of(etcd: &Etcd, user: &User, name: &str) -> String {
    let file = etcd.directory().join(format!("{}.password", user.name));
    std::fs::write(&file, format!("{}\n", user.password)).unwrap();
    let url = etcd.url(&etcd.endpoints(), name);
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}user={}&password_file={}", user.name, file.display())
}

/// Logins run out, and are lost with a member: nobody may notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_logs_in_again() {
    let extra = vec!["--auth-token-ttl=2".to_owned()];
    let options = Options { members: 3, extra, ..Options::default() };
    let mut etcd = Etcd::start(options).await.unwrap();
    let candidate = user(&mut etcd, "candidate", Access::ReadWrite).await;
    let leader = elector(open(&url_of(&etcd, &candidate, "jobs")), "a", 15);
    let held = leader.campaign().await.unwrap();
    for member in 0..3 {
        etcd.restart(member).await.unwrap();
        // A change of anybody's rights makes older logins void.
        user(&mut etcd, &format!("another{member}"), Access::Read).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(held.check().is_ok(), "after member {member}: {:?}", leader.status());
    }
    println!("{:?}", leader.status().counters);
    assert!(held.resign().await.unwrap());
}

/// A request under way while anybody's rights change is refused and asked to log in again. It does,
/// and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_rights_costs_no_request() {
    let mut etcd = Etcd::start(Options { members: 1, ..Options::default() }).await.unwrap();
    let candidate = user(&mut etcd, "candidate", Access::ReadWrite).await;
    let ours = open(&url_of(&etcd, &candidate, "jobs"));
    let changing = tokio::spawn(async move {
        for number in 0..8 {
            user(&mut etcd, &format!("other{number}"), Access::Read).await;
        }
        etcd
    });
    let mut rounds = 0;
    while !changing.is_finished() {
        let taken = take(&ours, "a", 15).await;
        let renewed = written(renew(&ours, &taken.version, 15).await);
        written(ours.write(&renewed.version, &change(Intent::Release, "a", 15)).await);
        rounds += 1;
    }
    println!("{rounds} terms while rights changed");
    drop(changing.await.unwrap());
}

/// The certificate names the user; no password is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_a_login() {
    let options = Options { members: 1, tls: Tls::Mutual, ..Options::default() };
    let mut etcd = Etcd::start(options).await.unwrap();
    user(&mut etcd, "candidate", Access::ReadWrite).await;
    let named = |name: &str| {
        let pair = etcd.authority().unwrap().client(name, Validity::Valid).unwrap();
        let (ca, endpoints) = (etcd.authority().unwrap().certificate(), etcd.endpoints().join(","));
        let (cert, key) = (pair.certificate.display(), pair.key.display());
        open(&format!("etcds://{endpoints}/jobs?ca={}&cert={cert}&key={key}", ca.display()))
    };
    let taken = take(&named("candidate"), "a", 5).await;
    written(renew(&named("candidate"), &taken.version, 5).await);
    let error = named("stranger").read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

/// No server is needed to see that a file cannot be used, and waiting for one mends nothing.
#[tokio::test]
async fn certificates_and_keys_that_cannot_be_used_are_refused_before_anybody_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path(), "ours").unwrap();
    let (me, other) = (
        authority.client("me", Validity::Valid).unwrap(),
        authority.client("other", Validity::Valid).unwrap(),
    );
    let (ca, nothing) = (authority.certificate(), Path::new("/dev/null"));
    for (ca, certificate, key, says) in [
        (ca, &me.certificate, &other.key, "key: it does not belong to the certificate"),
        (ca, &me.certificate, &me.certificate, "key: there is no private key"),
        (ca, &me.key, &me.key, "cert: there is no certificate"),
        (nothing, &me.certificate, &me.key, "ca: there is no certificate"),
        (&me.key, &me.certificate, &me.key, "ca: there is no certificate"),
    ] {
        let [ca, certificate, key] = [ca, certificate, key].map(|file| file.display().to_string());
        let url = format!("etcds://h:2379/jobs?ca={ca}&cert={certificate}&key={key}");
        let error = leasehold::connect(&url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let (certificate, key) = (me.certificate.display(), me.key.display());
    let url = format!("etcds://h:2379/jobs?ca={}&cert={certificate}&key={key}", ca.display());
    leasehold::connect(&url).await.unwrap();
}

/// `etcdctl auth enable` and `disable` while a candidate leads and another waits, both with a
/// login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_is_switched_under_candidates_with_a_login() {
    let mut etcd = Etcd::start(Options { members: 1, ..Options::default() }).await.unwrap();
    let candidate = user(&mut etcd, "candidate", Access::ReadWrite).await;
    let url = url_of(&etcd, &candidate, "jobs");
    etcd.etcdctl(&["auth", "disable"]).await.unwrap();
    let leader = elector(open(&url), "a", 15);
    let held = leader.campaign().await.unwrap();
    let follower = elector(open(&url), "b", 15);
    let waiting = follower.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await });
    for switch in ["enable", "disable", "enable", "disable"] {
        etcd.etcdctl(&["auth", switch]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(held.check().is_ok(), "{switch}: {:?}", leader.status());
        assert!(!waiting.is_finished(), "{switch}: {:?}", follower.status());
        common::eventually("a newcomer reads", || async { open(&url).read().await.is_ok() }).await;
    }
    etcd.etcdctl(&["auth", "enable"]).await.unwrap();
    assert!(held.resign().await.unwrap());
    let next = tokio::time::timeout(common::PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(next.check().is_ok());
}

/// Without a login a cluster that asks for one refuses, which is a state: it says what to do, and
/// goes on when let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_is_enabled_under_candidates_without_a_login() {
    let mut etcd = Etcd::start(Options { members: 1, ..Options::default() }).await.unwrap();
    user(&mut etcd, "somebody", Access::ReadWrite).await;
    etcd.etcdctl(&["auth", "disable"]).await.unwrap();
    let leader = elector(common::lock(&etcd, "jobs"), "a", 15);
    let held = leader.campaign().await.unwrap();
    let follower = elector(common::lock(&etcd, "jobs"), "b", 15);
    let waiting = follower.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await });
    etcd.etcdctl(&["auth", "enable"]).await.unwrap();
    common::eventually("it is refused", || async { leader.status().store_error.is_some() }).await;
    let error = leader.status().store_error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("user=NAME and password_file=PATH"), "{error}");
    assert!(held.check().is_ok(), "a refusal ended a term");
    etcd.etcdctl(&["auth", "disable"]).await.unwrap();
    common::eventually("it goes on", || async { leader.status().store_error.is_none() }).await;
    assert!(held.check().is_ok() && !waiting.is_finished());
    assert!(held.resign().await.unwrap());
    drop(tokio::time::timeout(common::PATIENCE, waiting).await.unwrap().unwrap().unwrap());
}

/// Rights are proved without a write: of who may read only, of who may write, and of nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_a_user_may_take_is_told_without_a_write() {
    let mut etcd = Etcd::start(Options { members: 1, ..Options::default() }).await.unwrap();
    let nobody = common::lock(&etcd, "jobs");
    nobody.may_take(&Holder::of_this_process()).await.unwrap();
    let users = [
        (user(&mut etcd, "reader", Access::Read).await, false),
        (user(&mut etcd, "writer", Access::Write).await, false),
        (user(&mut etcd, "candidate", Access::ReadWrite).await, true),
    ];
    let holder = elector(open(&url_of(&etcd, &users[2].0, "jobs")), "a", 15);
    let state = async || {
        let keys = etcd.etcdctl(&["get", "", "--prefix", "-w", "fields"]).await.unwrap();
        let leases = etcd.etcdctl(&["lease", "list"]).await.unwrap();
        let kept = |line: &&str| !line.contains("RaftTerm");
        (keys.lines().filter(kept).map(str::to_owned).collect::<Vec<_>>(), leases)
    };
    for held in [false, true] {
        let held = if held { Some(holder.campaign().await.unwrap()) } else { None };
        let before = state().await;
        for (user, may) in &users {
            let told =
                open(&url_of(&etcd, user, "jobs")).may_take(&Holder::of_this_process()).await;
            assert_eq!(told.is_ok(), *may, "{user:?}: {told:?}");
            let elsewhere =
                open(&url_of(&etcd, user, "other")).may_take(&Holder::of_this_process()).await;
            for denied in [told.err(), elsewhere.err()].into_iter().flatten() {
                assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
                assert!(denied.to_string().contains("ROLE readwrite"), "{denied}");
            }
        }
        assert_eq!(
            nobody.may_take(&Holder::of_this_process()).await.unwrap_err().kind(),
            ErrorKind::Denied
        );
        // Keys, leases, and the revision of the store.
        assert_eq!(state().await, before, "something was written");
        drop(held);
    }
}
