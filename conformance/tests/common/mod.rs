//! What the tests on real servers share.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its share")]
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use leasehold::backend::{
    BoxStream, Change, Contents, Holder, Incarnation, Intent, LockBackend, Nonce, Observed,
    Outcome, Record, Version,
};
use leasehold::stores::etcd::{EtcdLock, EtcdUrl};
use leasehold::timing::Wall;
use leasehold::url::LockUrl;
use leasehold::{Elector, Error, TimingSettings};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::process::command_under_test;
use leasehold_conformance::stores::etcd::{Etcd, Options};

/// Longer than anything takes, on a slow machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub async fn cluster(members: usize) -> Etcd {
    Etcd::start(Options { members, ..Options::default() }).await.unwrap()
}

/// The project's own command, as a user starts it.
pub fn leasehold(words: &[&str]) -> Command {
    let program = command_under_test().expect("the command is built: cargo build -p leasehold-cli");
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    command
}

/// Runs the command to its end. It may not panic, whatever becomes of it.
pub fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked at"), "{errors}");
    output
}

/// A process that is killed with this.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lock of that name, over all members.
pub fn lock(etcd: &Etcd, name: &str) -> EtcdLock {
    open(&etcd.url(&etcd.endpoints(), name))
}

/// Nothing is contacted, so any runtime will do.
pub fn open(url: &str) -> EtcdLock {
    let url = LockUrl::parse(url).unwrap();
    let opening = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(EtcdUrl::try_from(&url).unwrap().lock()).unwrap()
    };
    std::thread::spawn(opening).join().unwrap()
}

pub fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    u128::from_ne_bytes(bytes)
}

/// A write by a candidate of that identity, with a nonce of its own.
pub fn change(intent: Intent, identity: &str, seconds: u64) -> Change {
    let holder = Holder {
        identity: identity.to_owned(),
        incarnation: Some(Incarnation(1)),
        advertise: None,
    };
    let record = Record {
        holder: (intent != Intent::Release).then_some(holder),
        token: 1,
        lease_duration: Duration::from_secs(seconds),
        nonce: Nonce(random()),
        acquired: Wall(1),
        renewed: Wall(1),
        extra: serde_json::Map::new(),
    };
    Change { intent, record }
}

/// Takes a free lock, which must succeed.
pub async fn take(lock: &EtcdLock, identity: &str, seconds: u64) -> Observed {
    let seen = lock.read().await.unwrap();
    assert_eq!(seen.contents, Contents::Absent);
    written(lock.write(&seen.version, &change(Intent::Take, identity, seconds)).await)
}

pub async fn renew(lock: &EtcdLock, at: &Version, seconds: u64) -> Result<Outcome, Error> {
    lock.write(at, &change(Intent::Renew, "renewer", seconds)).await
}

pub fn written(outcome: Result<Outcome, Error>) -> Observed {
    match outcome {
        Ok(Outcome::Written(observed)) => observed,
        other => panic!("{other:?}"),
    }
}

pub fn token(observed: &Observed) -> u64 {
    observed.record().unwrap().token
}

pub fn identity(observed: &Observed) -> Option<&str> {
    Some(observed.record()?.holder.as_ref()?.identity.as_str())
}

/// The next item, which must come in time.
pub async fn next(stream: &mut BoxStream<'static, Result<Observed, Error>>) -> Observed {
    let next = tokio::time::timeout(PATIENCE, stream.next());
    next.await.expect("nothing came").expect("it ended").unwrap()
}

/// Waits until something holds; returns how long that took.
pub async fn eventually<F: Future<Output = bool>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

/// A candidate of ours with defaults for this lease duration.
pub fn elector(lock: EtcdLock, identity: &str, seconds: u64) -> Elector {
    let timing = TimingSettings {
        lease_duration: Some(Duration::from_secs(seconds)),
        ..TimingSettings::default()
    };
    Elector::builder(Arc::new(lock)).identity(identity).timing(timing).build().unwrap()
}

/// The median and the largest, for people.
pub fn spread(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}
