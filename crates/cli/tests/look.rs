//! `explain`, `watch`, `list`, `bench` and what is generated, as users start them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::{PATIENCE, Scene, denied, eventually, freeze, signal, thaw, without_caveat};
use leasehold::TimingSettings;
use leasehold::timing::{StoreTraits, Timing};
use rustix::process::Signal;
use serde_json::Value;

fn leasehold(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = common::command(Path::new(env!("CARGO_BIN_EXE_leasehold")), scene);
    command.args(arguments);
    command
}

fn ran(scene: &Scene, arguments: &[&str]) -> (String, String, i32) {
    let output = common::output(&mut leasehold(scene, arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

fn url(scene: &Scene) -> String {
    format!("file:{}", scene.path("lock").display())
}

#[test]
fn every_number_of_explain_is_that_of_the_validated_timing() {
    let scene = Scene::new();
    let lock = url(&scene);
    for lease in [1, 15, 3600] {
        let duration = format!("{lease}s");
        let (text, _, code) =
            ran(&scene, &["explain", "--lock", &lock, "--lease-duration", &duration, "-o", "json"]);
        assert_eq!(code, 0, "{text}");
        let json: Value = serde_json::from_str(&text).unwrap();
        let timing: Timing =
            TimingSettings::lease_duration(Duration::from_secs(lease)).build().unwrap();
        let worst = timing.leaderless(StoreTraits { push: true, by_server: false });
        let ms = |duration: Duration| Value::from(u64::try_from(duration.as_millis()).unwrap());
        assert_eq!(json["leaderless"]["crash_ms"], ms(worst.crash));
        assert_eq!(
            json["leaderless"]["crash_with_dead_watch_ms"],
            ms(worst.crash_with_dead_watch.unwrap())
        );
        assert_eq!(json["leaderless"]["sees_deaths"], true);
        assert_eq!(json["told_to_stop_ms"], ms(timing.renew_deadline()));
        assert_eq!(json["killed_ms"], ms(timing.renew_deadline() + timing.stop_grace()));
        assert_eq!(json["ride_through_ms"], ms(timing.bounds().ride_through));
    }
}

#[test]
fn explain_fits_a_terminal_and_is_coloured_only_when_asked() {
    let scene = Scene::new();
    for arguments in
        [vec!["explain"], vec!["explain", "--lease-duration", "1h", "--candidates", "9999"]]
    {
        let (text, _, code) = ran(&scene, &arguments);
        assert_eq!(code, 0);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line:?}");
        }
        assert!(!text.contains('\u{1b}'), "colour in a pipe");
    }
    let (text, _, _) = ran(&scene, &["explain", "--color", "always"]);
    assert!(text.contains("\u{1b}[32m"), "{text}");
    let (text, _, _) = ran(&scene, &["explain", "--color", "never"]);
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn what_explain_proposes_instead_of_an_invalid_timing_is_valid() {
    let scene = Scene::new();
    let (text, _, code) = ran(&scene, &["explain", "--request-timeout", "9s"]);
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("one lost reply would end the term"), "{text}");
    let proposed = text.split("nearest valid set:").nth(1).unwrap();
    let mut arguments = vec!["explain"];
    arguments.extend(proposed.split_whitespace());
    let (text, errors, code) = ran(&scene, &arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}{errors}");
    let (text, _, code) = ran(&scene, &["explain", "--request-timeout", "9s", "-o", "json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["valid"]), (78, &Value::from(false)));
}

/// A process, ended with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

fn watch(scene: &Scene) -> (Running, Receiver<Value>) {
    let mut command = leasehold(scene, &["watch", "--lock", &url(scene), "-o", "json"]);
    command.stdout(Stdio::piped()).stderr(scene.log("watch"));
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    (Running(child), receiver)
}

fn leader(scene: &Scene, name: &str) -> Running {
    let lock = url(scene);
    let mut command = leasehold(scene, &["run", "--lock", &lock, "--identity", name]);
    command.args(["--lease-duration", "1s", "--", "sh", "-c", "echo $$ >> $PIDS; exec sleep 60"]);
    Running(command.stdout(Stdio::null()).stderr(scene.log(name)).spawn().unwrap())
}

#[test]
fn watch_tells_of_a_leader_of_a_frozen_one_and_of_its_end() {
    let scene = Scene::new();
    let (watcher, told) = watch(&scene);
    let next = || told.recv_timeout(PATIENCE).expect("something is told");
    assert_eq!(next()["state"], "nobody");
    let mut led = leader(&scene, "node-a");
    let held = next();
    assert_eq!((&held["state"], &held["leader"]["identity"]), (&"held".into(), &"node-a".into()));
    assert_eq!(held["leader"]["lease_duration_ms"], 1000);
    scene.wait_for_pids(1);
    freeze(led.pid());
    // Its lease is over, and nobody can vouch for anything: not "nobody", and not the old leader.
    assert_eq!(next()["state"], "unknown");
    thaw(led.pid());
    signal(led.pid(), Signal::TERM);
    led.0.wait().unwrap();
    let mut last = next();
    while last["state"] != "nobody" {
        last = next();
    }
    signal(watcher.pid(), Signal::TERM);
    let mut watcher = watcher;
    assert_eq!(watcher.0.wait().unwrap().code(), Some(143));
}

#[test]
fn watch_ends_quietly_when_nobody_reads_it() {
    let scene = Scene::new();
    let lock = url(&scene);
    let mut command = leasehold(&scene, &["watch", "--lock", &lock]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Running(child);
    let mut out = BufReader::new(child.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.ends_with("nobody leads\n"), "{line}");
    drop(out);
    eventually("it ends", || child.0.try_wait().unwrap().is_some());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let mut errors = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(without_caveat(&errors), "");
}

#[test]
fn list_shows_the_locks_of_a_directory() {
    let scene = Scene::new();
    std::fs::write(scene.path("notes"), "nothing").unwrap();
    let _led = leader(&scene, "node-a");
    scene.wait_for_pids(1);
    let place = format!("file:{}", scene.dir().display());
    let (text, errors, code) = ran(&scene, &["list", &place]);
    // The notes, and the file of the pids, are no locks: shown as broken ones, since they may have
    // been.
    assert_eq!(code, 78, "{errors}");
    assert!(text.contains("/lock\n    node-a leads (token "), "{text}");
    assert!(text.contains("/notes\n    broken: "), "{text}");
    assert_eq!(text.lines().count(), 6, "{text}");
    std::fs::create_dir(scene.path("empty")).unwrap();
    let (text, errors, code) = ran(&scene, &["list", &format!("{place}/empty")]);
    assert_eq!((text.as_str(), errors.as_str(), code), ("", "leasehold: there is no lock\n", 0));
    let (_, errors, _) = ran(&scene, &["-q", "list", &format!("{place}/empty")]);
    assert_eq!(errors, "");
    let (_, errors, code) = ran(&scene, &["list", "mem:x"]);
    assert_eq!(code, 78);
    assert!(errors.contains("file:DIRECTORY"), "{errors}");
}

#[test]
fn bench_measures_each_and_leaves_nothing_behind() {
    let scene = Scene::new();
    let (text, errors, code) =
        ran(&scene, &["bench", "--lock", &url(&scene), "--rounds", "3", "-o", "json"]);
    assert_eq!(code, 0, "{errors}");
    let json: Value = serde_json::from_str(&text).unwrap();
    for (kind, least) in [("read", 3), ("take", 3), ("renew", 3), ("release", 4), ("hand_over", 3)]
    {
        assert!(json[kind]["count"].as_u64().unwrap() >= least, "{kind}: {text}");
        assert!(json[kind]["p50_us"].as_u64() <= json[kind]["max_us"].as_u64(), "{text}");
    }
    let left: Vec<_> = std::fs::read_dir(scene.dir()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_signal_ends_bench_and_doctor_and_leaves_nothing_behind() {
    let scene = Scene::new();
    let lock = url(&scene);
    let left = || std::fs::read_dir(scene.dir()).unwrap().flatten().next();
    for (command, number, code) in [
        (&["bench", "--lock", &lock, "--rounds", "10000"][..], Signal::TERM, 143),
        (&["bench", "--lock", &lock, "--rounds", "10000"], Signal::INT, 130),
        (&["doctor", "--lock", &lock], Signal::TERM, 143),
    ] {
        let mut begun = leasehold(&scene, command);
        let mut child = begun.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("a scratch lock", || left().is_some());
        signal(child.id().try_into().unwrap(), number);
        let ended = child.wait().unwrap().code();
        // An examination may have ended by itself just before.
        assert!(ended == Some(code) || (command[0] == "doctor" && ended == Some(0)), "{ended:?}");
        assert!(left().is_none(), "{command:?}: {:?}", left());
    }
}

#[test]
fn bench_says_at_once_that_it_may_not_write() {
    let scene = Scene::new();
    let directory = scene.path("shared");
    std::fs::create_dir(&directory).unwrap();
    let lock = format!("file:{}", directory.join("lock").display());
    let output = common::output(denied(&scene, &directory).args(["bench", "--lock", &lock]));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(77), "{errors}");
    assert!(errors.contains("Permission denied") && !errors.contains("left over"), "{errors}");
}

#[cfg(feature = "k8s")]
#[test]
fn explain_needs_no_cluster() {
    let scene = Scene::new();
    for lock in ["k8s://ns/x", "k8s+endpoints://ns/x"] {
        let mut command = leasehold(&scene, &["explain", "--lock", lock]);
        let command = command.env("HOME", scene.dir()).env_remove("KUBECONFIG");
        let output = common::output(command);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{:?}", output.stderr);
        assert!(text.starts_with(&format!("{lock}: it tells of changes")), "{text}");
    }
    assert_eq!(ran(&scene, &["explain", "--lock", "k8s://UP/x"]).2, 78);
}

#[test]
fn explain_and_doctor_say_the_same_of_clocks() {
    let scene = Scene::new();
    let lock = url(&scene);
    let (explained, _, _) = ran(&scene, &["explain", "--lock", &lock]);
    let (examined, _, _) = ran(&scene, &["doctor", "--lock", &lock]);
    assert!(explained.contains("6.7%  the holder's clock may run this much slower"), "{explained}");
    assert!(examined.contains("holder's clock may run 6.7 % slower"), "{examined}");
}

#[test]
fn completions_and_the_manual_know_every_subcommand() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish"] {
        let (text, _, code) = ran(&scene, &["completions", shell]);
        assert_eq!(code, 0);
        assert!(text.contains("explain") && text.contains("lease-duration"), "{shell}");
    }
    let (text, _, code) = ran(&scene, &["man"]);
    assert!(code == 0 && text.contains(".TH leasehold") && text.contains("explain"), "{text}");
    let (text, _, code) = ran(&scene, &["man", "run"]);
    assert!(code == 0 && text.contains("lease"), "{text}");
    assert_eq!(ran(&scene, &["man", "frob"]).2, 64);
    let (text, _, code) = ran(&scene, &["--version"]);
    assert!(code == 0 && text.contains("locks: ") && text.contains("file"), "{text}");
}
