//! Users, permissions and certificates.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::time::Duration;

use common::{change, cluster, elector, next, open, renew, take, written};
use leasehold::{Contents, Error, ErrorKind, Intent, LockBackend};
use leasehold_conformance::fixture::certificates::{Authority, Validity};
use leasehold_conformance::fixture::etcd::{Etcd, Options, Tls};
use leasehold_conformance::fixture::{Access, Fixture, User};

const PASSWORD: &str = "p@ss/word?1";

async fn user(etcd: &mut Etcd, name: &str, access: Access) -> User {
    let user = User { name: name.to_owned(), password: PASSWORD.to_owned() };
    etcd.grant(&user, "jobs", access).await.unwrap().required().unwrap();
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

fn denied(error: &Error, says: &str) {
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert!(!error.to_string().contains(PASSWORD), "{error}");
}

/// Reading and writing the election's own prefix is all that a candidate needs, and reading all an observer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permission_on_the_elections_prefix_is_enough_and_all_of_it_is_needed() {
    let mut etcd = Etcd::start(Options { members: 1, ..Options::default() }).await.unwrap();
    let open_to_all = common::lock(&etcd, "jobs");
    let candidate = user(&mut etcd, "candidate", Access::ReadWrite).await;
    let observer = user(&mut etcd, "observer", Access::Read).await;
    let writer = user(&mut etcd, "writer", Access::Write).await;

    let ours = open(&url_of(&etcd, &candidate, "jobs"));
    let empty = ours.read().await.unwrap();
    let mut watch = ours.watch(&empty);
    let taken = take(&ours, "a", 5).await;
    assert_eq!(next(&mut watch).await.version, taken.version);
    let renewed = written(renew(&ours, &taken.version, 5).await);

    let seeing = open(&url_of(&etcd, &observer, "jobs"));
    assert_eq!(seeing.read().await.unwrap().version, renewed.version);
    let mut watch = seeing.watch(&empty);
    assert_eq!(next(&mut watch).await.version, renewed.version);
    denied(&renew(&seeing, &renewed.version, 5).await.unwrap_err(), "readwrite");
    let release = change(Intent::Release, "a", 5);
    denied(&seeing.write(&renewed.version, &release).await.unwrap_err(), "readwrite");
    written(ours.write(&renewed.version, &release).await);
    let error = seeing.write(&empty.version, &change(Intent::Take, "o", 5)).await.unwrap_err();
    denied(&error, "readwrite");

    let blind = open(&url_of(&etcd, &writer, "jobs"));
    denied(&blind.read().await.unwrap_err(), "permission denied");
    denied(
        &blind.write(&empty.version, &change(Intent::Take, "w", 5)).await.unwrap_err(),
        "readwrite",
    );

    let elsewhere = open(&url_of(&etcd, &candidate, "other"));
    denied(&elsewhere.read().await.unwrap_err(), "permission denied");
    denied(&open_to_all.read().await.unwrap_err(), "name one");
    let wrong = User { password: "wrong".into(), ..candidate.clone() };
    denied(&open(&url_of(&etcd, &wrong, "jobs")).read().await.unwrap_err(), "password");
    assert_eq!(ours.read().await.unwrap().contents, Contents::Absent, "nobody wrote");
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
        etcd.restart(member).await.unwrap().required().unwrap();
        // A change of anybody's rights makes older logins void.
        user(&mut etcd, &format!("another{member}"), Access::Read).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(held.check().is_ok(), "after member {member}: {:?}", leader.status());
    }
    println!("{:?}", leader.status().counters);
    assert!(held.resign().await.unwrap());
}

/// A request under way while anybody's rights change is refused and asked to log in again. It does, and nobody notices.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_do_not_fit_are_named() {
    let options = Options { members: 1, tls: Tls::Mutual, ..Options::default() };
    let etcd = Etcd::start(options).await.unwrap();
    let endpoints = etcd.endpoints().join(",");
    let authority = etcd.authority().unwrap();
    let ca = authority.certificate().display();
    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::new(other.path(), "stranger").unwrap();
    let wrong_ca = stranger.certificate().display();
    let good = authority.client("good", Validity::Valid).unwrap();
    let old = authority.client("old", Validity::Expired).unwrap();
    let theirs = stranger.client("theirs", Validity::Valid).unwrap();
    let with = |ca: &dyn std::fmt::Display,
                pair: &leasehold_conformance::fixture::certificates::Pair| {
        let (cert, key) = (pair.certificate.display(), pair.key.display());
        format!("etcds://{endpoints}/jobs?ca={ca}&cert={cert}&key={key}")
    };
    open(&with(&ca, &good)).read().await.unwrap();
    // A server's refusal of ours may be lost with its connection; ours of a server is known.
    for (what, is_ours, url) in [
        ("wrong CA", true, with(&wrong_ca, &good)),
        ("expired certificate", false, with(&ca, &old)),
        ("certificate of another CA", false, with(&ca, &theirs)),
        ("no certificate", false, format!("etcds://{endpoints}/jobs?ca={ca}")),
        ("the system's CAs", true, format!("etcds://{endpoints}/jobs")),
    ] {
        let error = open(&url).read().await.unwrap_err();
        println!("{what}: {error}");
        assert!(error.kind() == ErrorKind::Denied || !is_ours, "{what}: {error}");
        assert!(error.to_string().contains("certificate"), "{what}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_server_is_named() {
    let options = Options { members: 1, tls: Tls::Expired, ..Options::default() };
    let etcd = Etcd::start(options).await.unwrap();
    let error = open(&etcd.url(&etcd.endpoints(), "jobs")).read().await.unwrap_err();
    println!("expired server: {error}");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("xpired"), "{error}");
}

/// Plain text to TLS and the other way round: it is said, and tried no faster than anything else that fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_up_of_tls_and_plain_text_is_named_and_not_hammered() {
    let options = Options { members: 1, tls: Tls::Server, ..Options::default() };
    let secret = Etcd::start(options).await.unwrap();
    let plain = cluster(1).await;
    let endpoints = secret.endpoints().join(",");
    let ca = secret.authority().unwrap().certificate().display();
    for url in [
        format!("etcd://{endpoints}/jobs"),
        format!("etcds://{}/jobs?ca={ca}", plain.endpoints().join(",")),
    ] {
        let error = open(&url).read().await.unwrap_err();
        println!("{url}: {error}");
        assert!(error.to_string().contains("TLS"), "{error}");
        let candidate = elector(open(&url), "a", 15);
        let campaign = tokio::time::timeout(Duration::from_secs(7), candidate.campaign()).await;
        assert!(campaign.is_err(), "it cannot lead");
        let counters = candidate.status().counters;
        assert!((2..=5).contains(&counters.reads), "one try every 2 s: {counters:?}");
    }
}
