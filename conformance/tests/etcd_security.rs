//! Users, permissions and certificates.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{change, elector, open, renew, take, written};
use leasehold::{ErrorKind, Intent, LockBackend};
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
