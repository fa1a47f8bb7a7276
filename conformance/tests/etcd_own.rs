//! `leasehold conformance` on a store that goes away.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use common::{cluster, eventually};
use leasehold::ErrorKind;
use leasehold_conformance::failed::Failed;
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::own::{self, Own, Ran, Says};
use leasehold_conformance::stop::Stop;

/// Runs these cases; what is said goes to `see` as it comes.
fn run(url: &str, cases: &str, mut see: impl FnMut(&str)) -> Result<Ran, Failed> {
    let own =
        Own { url: url.to_owned(), filter: Some(cases.to_owned()), seed: 1, ..Own::default() };
    own::run(&own, |says| match says {
        Says::Verdict(text) => {
            println!("{text}");
            see(text);
        }
        Says::Progress(text) => println!("({text})"),
    })
}

/// No verdict is won on a store that is away, and nobody waits for the rest of the cases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_fails_no_case() {
    let mut etcd = cluster(1).await;
    let url = etcd.url(&etcd.endpoints(), "jobs");
    let (sender, begun) = std::sync::mpsc::channel();
    let running = tokio::task::spawn_blocking(move || {
        let mut verdicts = Vec::new();
        let ran = run(&url, "BA3,BA1", |text| {
            let _ = sender.send(());
            verdicts.push(text.to_owned());
        });
        (ran, verdicts)
    });
    tokio::task::block_in_place(|| begun.recv()).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    etcd.kill(0).unwrap();
    let (ran, verdicts) = running.await.unwrap();
    let failed = ran.unwrap_err();
    println!("{failed}");
    let Failed::Store(error) = &failed else { panic!("{failed:?}") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(failed.to_string().contains("run them again"), "{failed}");
    let is_failure = |text: &&String| text.contains(" fail ");
    assert_eq!(verdicts.iter().find(is_failure), None);
}

/// A store that answers all the time is judged, and each verdict is told before the last case ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_are_told_as_they_come() {
    let etcd = cluster(3).await;
    let url = etcd.url(&etcd.endpoints(), "jobs");
    let running = tokio::task::spawn_blocking(move || {
        let mut said = Vec::new();
        let ran =
            run(&url, "Q3,Q4,BA1", |text| said.push((std::time::Instant::now(), text.to_owned())));
        (ran.unwrap(), said)
    });
    let (ran, said) = running.await.unwrap();
    assert!(ran.as_expected);
    let at = |words: &str| said.iter().position(|(_, text)| text.contains(words)).unwrap();
    assert!(at("Q3") < at("BA1") && at("BA1") < at("not tested"));
    assert!(said[at("Q3")].0 < said[at("BA1")].0);
    assert_eq!(ran.report.lines.iter().filter(|line| line.case.id == "Q4").count(), 1);
}

/// What is for servers of the suite's own is refused before anybody is asked, with what can be
/// chosen.
#[test]
fn a_case_that_kills_servers_is_a_wrong_choice() {
    for cases in ["SV4", "SV4,UP5"] {
        let failed = run("etcd://127.0.0.1:1/jobs", cases, |_| {}).unwrap_err();
        let Failed::Usage(why) = &failed else { panic!("{failed:?}") };
        assert!(why.contains("SV4") && why.contains("Q1 Q2"), "{why}");
        assert!(matches!(failed, Failed::Usage(_)), "{failed:?}");
    }
}

/// What makes no sense here says so, too, once the store was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_tested_here_is_a_wrong_choice() {
    let etcd = cluster(1).await;
    let url = etcd.url(&etcd.endpoints(), "jobs");
    let running = tokio::task::spawn_blocking(move || run(&url, "EX4,FE4", |_| {}));
    let failed = running.await.unwrap().unwrap_err();
    let Failed::Usage(why) = &failed else { panic!("{failed:?}") };
    assert!(why.contains("EX4: ") && why.contains("Choose of: Q1"), "{why}");
}

/// Whoever stops a run finds the store as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_stopped_leaves_nothing() {
    let etcd = cluster(1).await;
    let url = etcd.url(&etcd.endpoints(), "jobs");
    let stop = Stop::default();
    let own = Own {
        url,
        filter: Some("BA,EX,HO".to_owned()),
        seed: 1,
        stop: stop.clone(),
        ..Own::default()
    };
    let running = tokio::task::spawn_blocking(move || own::run(&own, |_| {}));
    let keys = || async {
        etcd.etcdctl(&["get", "", "--prefix", "--keys-only"]).await.unwrap().trim().to_owned()
    };
    eventually("cases began", || async { !keys().await.is_empty() }).await;
    assert!(stop.ask(15));
    let stopped = std::time::Instant::now();
    let ran = running.await.unwrap();
    assert!(matches!(ran, Err(Failed::Stopped(15))), "{ran:?}");
    assert!(matches!(ran, Err(Failed::Stopped(15))), "{ran:?}");
    assert!(stopped.elapsed() < std::time::Duration::from_secs(15), "{:?}", stopped.elapsed());
    eventually("its keys are gone", || async { keys().await.is_empty() }).await;
}
