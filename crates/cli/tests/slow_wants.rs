//! A machine that gives too little, and standard streams that are not there: a message and a
//! documented exit code.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::Scene;

/// The exit codes of the README, and those of CMD `true`.
const DOCUMENTED: [i32; 9] = [0, 64, 69, 75, 76, 77, 78, 79, 80];

/// Runs `leasehold` with these words from a shell that did this before.
fn after(scene: &Scene, before: &str, words: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_leasehold");
    let mut command = common::command(Path::new("sh"), scene);
    // Whatever hangs is ended, and seen by its exit code.
    command.args(["-c", &format!("{before}; exec timeout -s KILL 30 '{program}' {words}")]);
    command.output().unwrap()
}

fn check(what: &str, output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().unwrap_or(-1);
    assert!(DOCUMENTED.contains(&code), "{what}: {code} {errors}");
    assert!(!errors.contains("panicked"), "{what}: {errors}");
}

fn commands(lock: &str) -> Vec<String> {
    [
        "run --lock LOCK -- true",
        "run --lock LOCK --try --log-format json -- true",
        "status --lock LOCK",
        "status --lock LOCK -o json",
        "list file:.",
        "doctor --lock LOCK",
        "explain --lock LOCK",
        "bench --lock LOCK --rounds 1 --timeout 10s",
        "demo --plain --seconds 1",
        "completions bash",
        "man run",
        "--help",
        "--version",
        "frob",
    ]
    .map(|words| words.replace("LOCK", lock))
    .to_vec()
}

#[test]
fn too_few_descriptors_are_said_to_be_too_few() {
    let scene = Scene::new();
    let lock = format!("file:{}", scene.path("lock").display());
    for words in commands(&lock) {
        for limit in [4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 28, 32, 40, 64, 140, 200] {
            let output = after(&scene, &format!("ulimit -n {limit}"), &words);
            if limit < 6 && output.status.code() == Some(127) {
                // Not even libraries could be loaded.
                continue;
            }
            check(&format!("ulimit -n {limit}: {words}"), &output);
            if limit == 10 && (words.starts_with("run") || words.starts_with("bench")) {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(errors.contains("ulimit -n"), "{words}: {errors}");
                assert_eq!(output.status.code(), Some(78), "{words}: {errors}");
            }
        }
    }
}

#[test]
fn streams_that_are_closed_or_full_are_no_defect() {
    let scene = Scene::new();
    let lock = format!("file:{}", scene.path("lock").display());
    for words in commands(&lock) {
        for streams in [
            "exec <&-",
            "exec >&-",
            "exec 2>&-",
            "exec <&- >&- 2>&-",
            "exec 2>/dev/full",
            "exec >/dev/full",
            "exec >/dev/full 2>&1",
        ] {
            let output = after(&scene, streams, &words);
            check(&format!("{streams}: {words}"), &output);
            let answers = !words.starts_with("run") && words != "frob";
            if streams == "exec >/dev/full" && answers {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(80), "{words}: {errors}");
                assert!(errors.contains("cannot write"), "{words}: {errors}");
            }
        }
    }
}

#[test]
fn an_environment_without_anything_is_enough() {
    let scene = Scene::new();
    let lock = format!("file:{}", scene.path("lock").display());
    let program = env!("CARGO_BIN_EXE_leasehold");
    for words in commands(&lock) {
        let mut command = Command::new("env");
        command.current_dir(scene.dir()).arg("-i").arg(program).args(words.split(' '));
        let output = command.output().unwrap();
        check(&words, &output);
        let expected = match words.split(' ').next() {
            Some("frob") => Some(64),
            // Nobody leads.
            Some("status") => Some(75),
            _ => None,
        };
        assert!(expected.is_none() || output.status.code() == expected, "{words}: {output:?}");
    }
    // No name of its own, or an empty one.
    for name in ["''", "$(printf '\\033[2J')"] {
        let line = format!("exec -a {name} '{program}' status --lock {lock}");
        let output =
            common::command(Path::new("bash"), &scene).args(["-c", &line]).output().unwrap();
        check(name, &output);
        assert_eq!(output.status.code(), Some(75), "{output:?}");
    }
}

/// As a user who may have few processes, where the test may become one.
#[test]
fn too_few_processes_are_an_error_and_no_panic() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::new();
    let program = scene.path("leasehold");
    std::fs::copy(env!("CARGO_BIN_EXE_leasehold"), &program).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(scene.dir(), permissions(0o777)).unwrap();
    let lock = format!("file:{}", scene.path("lock").display());
    // A user whom nothing else runs as, as far as anybody knows.
    let user = 3_000_000_000 + std::process::id();
    for words in commands(&lock) {
        for limit in [1, 2, 3, 4, 6] {
            let line = format!(
                "exec timeout -s KILL 30 setpriv --reuid {user} --regid {user} --clear-groups \
                 prlimit --nproc={limit} '{}' {words}",
                program.display()
            );
            let output =
                common::command(Path::new("sh"), &scene).args(["-c", &line]).output().unwrap();
            check(&format!("ulimit -u {limit}: {words}"), &output);
        }
    }
}
