//! The election of two real schedulers, as the command shows it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};

use common::{PATIENCE, Running, eventually, leasehold, output};
use leasehold_conformance::stores::kubernetes::{Kubernetes, Options};
use serde_json::Value;

/// `leasehold watch`.
struct Watch {
    lines: Receiver<Value>,
    _process: Running,
}

impl Watch {
    fn of(url: &str) -> Self {
        let mut watch = leasehold(&["watch", "--lock", url, "-o", "json"]);
        let mut child = watch.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { lines, _process: Running(child) }
    }

    /// The next leader it tells of, and whether nobody led before that.
    fn leader(&self) -> (String, bool) {
        let mut was_free = false;
        loop {
            let said = self.lines.recv_timeout(PATIENCE).expect("it tells of a leader");
            println!("{said}");
            if said["state"] == "held" {
                assert_eq!(said["leader"]["token"], Value::Null, "a token of client-go");
                return (said["leader"]["identity"].as_str().unwrap().to_owned(), was_free);
            }
            was_free |= said["state"] == "nobody";
        }
    }
}

/// The answer of `leasehold status`, and its exit code.
fn status(url: &str) -> (Value, Option<i32>) {
    let output = output(&mut leasehold(&["status", "--lock", url, "-o", "json"]));
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_who_schedules_and_watch_sees_the_hand_over() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let kubeconfig = cluster.kubeconfig().unwrap().display().to_string();
    let url = format!("k8s://kube-system/kube-scheduler?kubeconfig={kubeconfig}");
    let first = cluster.scheduler("first").unwrap();
    eventually("one schedules", async || first.led()).await;
    let second = cluster.scheduler("second").unwrap();
    eventually("the other contends", async || second.contends()).await;

    let (answer, code) = status(&url);
    println!("{answer}");
    assert_eq!(code, Some(0));
    let leader = &answer["leader"];
    assert_eq!((&answer["state"], &leader["token"]), (&"held".into(), &Value::Null));
    assert!(leader["since_ms"].is_u64() && leader["renewed_ms"].is_u64(), "{leader}");
    let before = leader["identity"].as_str().unwrap().to_owned();
    let mut listed = leasehold(&["list", &format!("k8s://kube-system/?kubeconfig={kubeconfig}")]);
    let listed = String::from_utf8(output(&mut listed).stdout).unwrap();
    println!("{listed}");
    assert!(listed.contains("k8s://kube-system/kube-scheduler") && listed.contains(&before));

    let watch = Watch::of(&url);
    assert_eq!(watch.leader(), (before.clone(), false));
    first.ask_to_end().unwrap();
    let (after, was_free) = watch.leader();
    assert!(was_free && after != before, "{before} gave it back, and {after} leads");
    eventually("the other schedules", async || second.led()).await;
    let (answer, code) = status(&url);
    assert_eq!((answer["leader"]["identity"].as_str(), code), (Some(&*after), Some(0)));
}
