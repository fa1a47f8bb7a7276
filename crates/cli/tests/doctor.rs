//! `leasehold doctor` over a lock in a file, as users start it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Scene, command, denied, eventually, without_caveat};
use serde_json::Value;

fn leasehold(scene: &Scene) -> Command {
    command(Path::new(env!("CARGO_BIN_EXE_leasehold")), scene)
}

/// What a command prints, and its exit code.
fn ran(command: &mut Command) -> (String, i32) {
    let output = common::output(command);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(without_caveat(&String::from_utf8_lossy(&output.stderr)), "");
    (text, output.status.code().unwrap())
}

fn doctor(scene: &Scene, url: &str, more: &[&str]) -> (String, i32) {
    ran(leasehold(scene).args(["doctor", "--lock", url]).args(more))
}

fn shows((text, code): &(String, i32), expected: i32, says: &[&str]) {
    assert_eq!(*code, expected, "{text}");
    for says in says {
        assert!(text.contains(says), "{says:?} is missing:\n{text}");
    }
}

fn url(scene: &Scene) -> String {
    format!("file:{}", scene.path("lock").display())
}

fn files(scene: &Scene) -> Vec<String> {
    let names = fs::read_dir(scene.dir()).unwrap().flatten();
    names.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn a_good_directory_is_found_good_and_left_as_it_was() {
    let scene = Scene::new();
    let found = doctor(&scene, &url(&scene), &[]);
    shows(
        &found,
        0,
        &[
            "ok       permission        this user may take the lock",
            "it is free",
            "is writable",
            "of 11 pairs of writes, one of each was accepted",
            "a write to the disk",
            "after 15.215s at most",
            "3 x request timeout 2s = 8s <= renew deadline 10s",
            "no problems",
        ],
    );
    assert_eq!(files(&scene), Vec::<String>::new(), "something was left behind");
    let (text, code) =
        doctor(&scene, &url(&scene), &["--output", "json", "--lease-duration", "60s"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["exit_code"], &json["v"]), (0, &Value::from(0), &Value::from(1)));
    assert_eq!(json["timing"]["renew_deadline_ms"], 40_000);
    let levels = json["findings"].as_array().unwrap().iter().map(|one| &one["level"]);
    assert!(levels.into_iter().all(|level| level != "problem"), "{text}");
}

#[test]
fn it_is_coloured_only_when_asked() {
    let scene = Scene::new();
    assert!(!doctor(&scene, &url(&scene), &[]).0.contains('\u{1b}'));
    let (text, _) = doctor(&scene, &url(&scene), &["--color", "always"]);
    assert!(text.contains("\u{1b}[32mok       \u{1b}[0mtiming"), "{text}");
}

#[test]
fn who_leads_is_shown_and_notices_nothing() {
    let scene = Scene::new();
    let mut leader = leasehold(&scene)
        .args(["run", "--lock", &url(&scene), "--identity", "node-a", "--lease-duration", "5s"])
        .args(["--", "sh", "-c", "echo $$ >> $PIDS; exec sleep 60"])
        .stdout(Stdio::null())
        .stderr(scene.log("leader"))
        .spawn()
        .unwrap();
    scene.wait_for_pids(1);
    let names = files(&scene);
    let found = doctor(&scene, &url(&scene), &[]);
    shows(&found, 0, &["node-a holds it with token", "lease 5s"]);
    assert_eq!(files(&scene).len(), names.len(), "{:?}", files(&scene));
    let (status, code) = ran(leasehold(&scene).args(["status", "--lock", &url(&scene)]));
    assert_eq!(code, 0, "{status}");
    leader.kill().unwrap();
    leader.wait().unwrap();
    eventually("its process is gone", || {
        doctor(&scene, &url(&scene), &[]).0.contains("it is free: the process of node-a is gone")
    });
}

#[test]
fn what_cannot_be_relied_on_has_its_exit_code() {
    let scene = Scene::new();
    for (lock, says) in [
        ("file:/proc/lock", "proc, which is not known to keep a lock"),
        ("file:/no/such/directory/lock", "create it first"),
    ] {
        shows(&doctor(&scene, lock, &[]), 78, &["problem  lock", says, "1 problem"]);
    }
    let invalid = doctor(&scene, &url(&scene), &["--request-timeout", "9s"]);
    shows(
        &invalid,
        78,
        &["problem  timing", "one lost reply would end the term", "-> the nearest"],
    );
    // What it proposes is typed as it is, and is valid.
    let proposed = invalid.0.split("nearest valid set: ").nth(1).unwrap().lines().next().unwrap();
    let proposed: Vec<&str> = proposed.split(' ').collect();
    shows(&doctor(&scene, &url(&scene), &proposed), 0, &["no problems"]);
    fs::write(scene.path("lock"), "not ours").unwrap();
    let corrupt = doctor(&scene, &url(&scene), &[]);
    shows(&corrupt, 78, &["problem  lock", "-> an operator must look at it"]);
    assert!(!corrupt.0.contains("fail-over"), "{}", corrupt.0);
    assert_eq!(fs::read(scene.path("lock")).unwrap(), b"not ours");
}

#[test]
fn a_directory_that_may_not_be_written_is_denied() {
    let scene = Scene::new();
    let directory = scene.path("shared");
    fs::create_dir(&directory).unwrap();
    let lock = format!("file:{}", directory.join("lock").display());
    let mut doctor = denied(&scene, &directory);
    let found = ran(doctor.args(["doctor", "--lock", &lock]));
    let says =
        ["problem  directory", "Permission denied", "-> a candidate needs to read and write"];
    shows(&found, 77, &says);
    assert!(!found.0.contains("compare-and-swap"), "{}", found.0);
}
