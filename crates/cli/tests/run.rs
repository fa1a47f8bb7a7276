//! `leasehold run` and `leasehold status` over a lock in a file, as users start them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, Scene, alive, eventually, freeze, signal, state, thaw, without_caveat};
use rustix::process::Signal;

/// A lease that is short for a test and long for a busy machine.
const LEASE: [&str; 2] = ["--lease-duration", "3s"];

fn url(scene: &Scene) -> String {
    format!("file:{}", scene.path("lock").display())
}

fn leasehold(scene: &Scene) -> Command {
    common::command(env!("CARGO_BIN_EXE_leasehold").as_ref(), scene)
}

/// One supervisor; ended with the test.
struct Run {
    process: Child,
    log: PathBuf,
}

impl Run {
    fn start(scene: &Scene, name: &str, flags: &[&str], script: &str) -> Self {
        let log = scene.path(&format!("{name}.log"));
        let process = leasehold(scene)
            .args(["run", "--lock", &url(scene), "--identity", name])
            .args(LEASE)
            .args(flags)
            .args(["--", "sh", "-c", script])
            .env("NAME", name)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { process, log }
    }

    fn pid(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn logs(&self, what: &str) {
        eventually(what, || self.log().contains(what));
    }

    /// The guard: the only child.
    fn guard(&self) -> i32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")));
        let all: String = children.map(Result::unwrap).collect();
        all.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn ends(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code().unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "still runs: {}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs to its end.
fn output(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    common::no_panic(&output.stderr);
    output
}

#[test]
fn a_panic_of_a_process_under_test_fails_its_test() {
    let told = "echo 'leasehold: thread main panicked at x.rs:1:1: no' >&2";
    let fails = |test: &dyn Fn(&Scene)| {
        let run = || test(&Scene::new());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    };
    let shell = |scene: &Scene, line: &str| {
        let mut command = common::command("sh".as_ref(), scene);
        command.args(["-c", line]);
        command
    };
    assert!(fails(&|scene| drop(output(&mut shell(scene, told)))));
    assert!(fails(&|scene| drop(common::output(&mut shell(scene, told)))));
    let logged = |scene: &Scene, line: &str| {
        assert!(shell(scene, line).stderr(scene.log("it")).status().unwrap().success());
    };
    assert!(fails(&|scene| logged(scene, told)));
    assert!(!fails(&|scene| logged(scene, "echo fine >&2")));
}

fn code_and_error(command: &mut Command) -> (Option<i32>, String) {
    let output = output(command);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Writes its pid and its name, and stays until it is told to stop.
const STAYS: &str = r#"trap 'exit 0' TERM; echo "$NAME $LEASEHOLD_FENCING_TOKEN" >>"$PIDS.names"
    echo $$ >>"$PIDS"; while :; do sleep 0.02; done"#;

/// The same, deaf, with a child and an orphan in sessions of their own.
const FAMILY: &str = r#"
trap '' TERM
setsid sh -c 'echo $$ >>"$PIDS"; while :; do sleep 1000; done' &
( (setsid sh -c 'echo $$ >>"$PIDS"; while :; do sleep 1000; done' &) & )
echo $$ >>"$PIDS"; while :; do sleep 1000; done"#;

#[test]
fn the_exit_code_is_the_childs_own_and_its_variables_are_those_it_should_have() {
    let scene = Scene::new();
    let script = r#"env | grep ^LEASEHOLD; cat; exit 7"#;
    let mut command = leasehold(&scene);
    command.env("LEASEHOLD_LOCK", url(&scene)).env("LEASEHOLD_IDENTITY", "me");
    command.env("LEASEHOLD_ONCE", "1").env("LEASEHOLD_PORT", "tcp://10.0.0.1:80");
    command.args(["run", "--", "sh", "-c", script]);
    command.stdin(fs::File::open("/proc/sys/kernel/ostype").unwrap());
    let output = output(&mut command);
    assert_eq!(output.status.code(), Some(7));
    let mut lines: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    lines.retain(|line| !line.starts_with("LEASEHOLD_TEST_MARK"));
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[0].starts_with("LEASEHOLD_FENCING_TOKEN="));
    assert_eq!(lines[1], "LEASEHOLD_HELD_IDENTITY=me");
    assert_eq!(lines[2], format!("LEASEHOLD_HELD_NAME={}", url(&scene)));
    assert_eq!(lines[3], "LEASEHOLD_PORT=tcp://10.0.0.1:80");
    assert_eq!(lines[4], "Linux");
}

#[test]
fn the_child_starts_with_the_signals_a_shell_would_give_it() {
    let scene = Scene::new();
    // No shell in between: a shell empties its mask itself.
    let run = ["run", "--lock", "file:x.lock", "--", "cat", "/proc/self/status"];
    let with = String::from_utf8(output(leasehold(&scene).args(run)).stdout).unwrap();
    let without = output(Command::new("cat").arg("/proc/self/status"));
    let without = String::from_utf8(without.stdout).unwrap();
    let line = |text: &str, name: &str| {
        text.lines().find(|line| line.starts_with(name)).unwrap().to_owned()
    };
    assert_eq!(line(&with, "SigBlk"), "SigBlk:\t0000000000000000");
    assert_eq!(line(&with, "SigIgn"), line(&without, "SigIgn"));
}

#[test]
fn a_child_that_dies_of_a_signal_gives_128_and_the_signal() {
    let scene = Scene::new();
    assert_eq!(Run::start(&scene, "a", &[], "kill -9 $$").ends(), 137);
}

#[test]
fn sigterm_hands_over_at_once_and_tokens_grow() {
    let scene = Scene::new();
    let mut first = Run::start(&scene, "first", &[], STAYS);
    scene.wait_for_pids(1);
    let second = Run::start(&scene, "second", &[], STAYS);
    second.logs("first leads with token");
    let start = Instant::now();
    signal(first.pid(), Signal::TERM);
    assert_eq!(first.ends(), 0, "the child's own code: it left by itself");
    let pids = scene.wait_for_pids(2);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "the lease was waited for: {:?}",
        start.elapsed()
    );
    assert!(!alive(pids[0]) && alive(pids[1]));
    let names = fs::read_to_string(scene.path("pids.names")).unwrap();
    let tokens: Vec<u64> =
        names.lines().map(|line| line.split_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(tokens[0] < tokens[1], "{names}");
}

#[test]
fn a_killed_supervisor_is_followed_at_once_and_never_before_its_family_is_dead() {
    let scene = Scene::new();
    let mut first = Run::start(&scene, "first", &[], FAMILY);
    let family = scene.wait_for_pids(3);
    let alive_then =
        family.iter().map(|pid| format!("[ -d /proc/{pid} ] && echo {pid} >>\"$PIDS.overlap\"; "));
    let witness = alive_then.collect::<String>() + STAYS;
    let second = Run::start(&scene, "second", &[], &witness);
    second.logs("first leads with token");
    let start = Instant::now();
    first.process.kill().unwrap();
    scene.wait_for_pids(4);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "the lease was waited for: {:?}",
        start.elapsed()
    );
    assert!(!scene.path("pids.overlap").exists());
    first.process.wait().unwrap();
}

#[test]
fn a_frozen_supervisor_loses_the_lease_and_its_family_before_another_leads() {
    let scene = Scene::new();
    let first = Run::start(&scene, "first", &[], FAMILY);
    let family = scene.wait_for_pids(3);
    let alive_then =
        family.iter().map(|pid| format!("[ -d /proc/{pid} ] && echo {pid} >>\"$PIDS.overlap\"; "));
    let witness = alive_then.collect::<String>() + STAYS;
    let second = Run::start(&scene, "second", &[], &witness);
    second.logs("first leads with token");
    freeze(first.pid());
    scene.wait_for_pids(4);
    assert!(!scene.path("pids.overlap").exists());
    thaw(first.pid());
    first.logs("second leads with token");
}

#[test]
fn a_killed_guard_is_replaced_and_the_candidate_contends_again() {
    let scene = Scene::new();
    let run = Run::start(&scene, "a", &[], FAMILY);
    let family = scene.wait_for_pids(3);
    signal(run.guard(), Signal::KILL);
    let all = scene.wait_for_pids(6);
    assert!(family.iter().all(|pid| !alive(*pid)));
    assert!(all[3..].iter().all(|pid| alive(*pid)));
    run.logs("the guard is lost");
}

#[test]
fn children_that_were_there_before_are_spared_and_reaped() {
    let scene = Scene::new();
    // A shell that becomes the supervisor, with a child of its own whose child is orphaned later.
    let script = format!(
        r#"sh -c 'echo $$ >"$PIDS.old"; sh -c "echo \$\$ >$PIDS.orphan; sleep 1.5; exit" &
            sleep 0.7' &
        sleep 1000 & echo $! >"$PIDS.sleep"
        exec {} run -q --lock {} -- sh -c 'echo $$ >>"$PIDS"; sleep 1000'"#,
        env!("CARGO_BIN_EXE_leasehold"),
        url(&scene)
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).envs(scene.envs()).stdin(Stdio::null());
    let run = Run { process: shell.spawn().unwrap(), log: PathBuf::new() };
    let read = |name: &str| -> i32 {
        fs::read_to_string(scene.path(name)).unwrap().trim().parse().unwrap()
    };
    let cmd = scene.wait_for_pids(1)[0];
    let (old, orphan, sleep) = (read("pids.old"), read("pids.orphan"), read("pids.sleep"));
    let guard = {
        let stat = fs::read_to_string(format!("/proc/{cmd}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(alive(sleep) && alive(orphan));
    signal(guard, Signal::KILL);
    scene.wait_for_pids(2);
    assert!(!alive(cmd) && alive(sleep));
    eventually("zombies are reaped", || state(old).is_none() && state(orphan).is_none());
    assert!(alive(sleep) && alive(run.pid()));
}

#[test]
fn the_lock_of_a_dead_process_can_be_had_at_once() {
    let scene = Scene::new();
    let mut first = Run::start(&scene, "first", &[], STAYS);
    let pid = scene.wait_for_pids(1)[0];
    first.process.kill().unwrap();
    eventually("the guard is done", || !alive(pid));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(Run::start(&scene, "second", &["--try"], "exit 6").ends(), 6);
}

#[test]
fn both_frozen_beyond_the_lease_exits_79_and_says_how_long() {
    let scene = Scene::new();
    let mut run = Run::start(&scene, "a", &[], FAMILY);
    scene.wait_for_pids(3);
    let guard = run.guard();
    freeze(guard);
    freeze(run.pid());
    thread::sleep(Duration::from_millis(4500));
    thaw(run.pid());
    assert_eq!(run.ends(), 79);
    assert!(run.log().contains("longer than the lease"), "{}", run.log());
    assert!(scene.pids().into_iter().all(|pid| !alive(pid)));
}

#[test]
fn a_signal_while_waiting_ends_it_at_once_and_starts_nothing() {
    let scene = Scene::new();
    let _first = Run::start(&scene, "first", &[], STAYS);
    scene.wait_for_pids(1);
    for (number, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut second = Run::start(&scene, "second", &[], STAYS);
        second.logs("first leads with token");
        let start = Instant::now();
        signal(second.pid(), number);
        assert_eq!(second.ends(), code);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    assert_eq!(scene.pids().len(), 1);
}

#[test]
fn a_child_that_drains_too_long_is_killed_and_a_second_request_kills_at_once() {
    let scene = Scene::new();
    let mut patient = Run::start(&scene, "patient", &["--drain-timeout", "300ms"], FAMILY);
    scene.wait_for_pids(3);
    signal(patient.pid(), Signal::TERM);
    assert_eq!(patient.ends(), 143);
    assert!(scene.pids().into_iter().all(|pid| !alive(pid)));

    let mut hasty = Run::start(&scene, "hasty", &[], FAMILY);
    scene.wait_for_pids(6);
    signal(hasty.pid(), Signal::INT);
    hasty.logs("signal 2");
    thread::sleep(Duration::from_millis(500));
    assert!(alive(scene.pids()[5]), "it drains");
    signal(hasty.pid(), Signal::INT);
    assert_eq!(hasty.ends(), 130);
    assert!(scene.pids().into_iter().all(|pid| !alive(pid)));
}

#[test]
fn what_drains_behind_a_shell_has_the_drain_timeout_too() {
    let scene = Scene::new();
    // The shell dies of SIGTERM at once; the worker needs longer than the stop grace.
    let script = r#"
    (trap 'sleep 1; echo done >"$PIDS.drained"; exit 0' TERM; echo $$ >>"$PIDS"
        while :; do sleep 0.05; done) &
    echo $$ >>"$PIDS"; wait"#;
    let mut run = Run::start(&scene, "a", &["--stop-grace", "100ms"], script);
    scene.wait_for_pids(2);
    signal(run.pid(), Signal::TERM);
    assert_eq!(run.ends(), 143);
    assert!(scene.path("pids.drained").exists(), "{}", run.log());
}

#[test]
fn a_short_timeout_takes_a_free_lock_and_declines_a_held_one() {
    let scene = Scene::new();
    assert_eq!(Run::start(&scene, "a", &["--timeout", "0s"], "exit 5").ends(), 5);
    let _holder = Run::start(&scene, "b", &[], STAYS);
    scene.wait_for_pids(1);
    assert_eq!(Run::start(&scene, "c", &["--timeout", "0s"], "exit 5").ends(), 75);
}

#[test]
fn variables_that_say_nothing_or_no_are_as_good_as_none_and_wrong_ones_are_named() {
    let scene = Scene::new();
    let run = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = leasehold(&scene);
        command.envs(variables.iter().copied());
        let arguments = [&["run", "--lock", "file:v.lock"], flags, &["--", "sh", "-c", "exit 5"]];
        code_and_error(command.args(arguments.concat()))
    };
    let empty = [("LEASEHOLD_TIMEOUT", ""), ("LEASEHOLD_TRY", ""), ("LEASEHOLD_IDENTITY", "")];
    assert_eq!(run(&empty, &[]).0, Some(5));
    assert_eq!(run(&[("LEASEHOLD_RESTART", "0")], &["--once"]).0, Some(5));
    assert_eq!(run(&[("LEASEHOLD_TRY", "1")], &["--timeout", "3s"]).0, Some(5));
    for (name, value) in [("LEASEHOLD_TIMEOUT", "soon"), ("LEASEHOLD_ONCE", "perhaps")] {
        let (code, text) = run(&[(name, value)], &[]);
        assert_eq!(code, Some(64));
        assert!(text.contains(name) && text.contains(value), "{text}");
    }
}

#[test]
fn a_directory_that_may_not_be_written_is_denied() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    // A copy, since the checkout may lie where only its owner can go.
    let program = scene.path("leasehold");
    fs::copy(env!("CARGO_BIN_EXE_leasehold"), &program).unwrap();
    let locks = scene.path("locks");
    fs::create_dir(&locks).unwrap();
    for (path, mode) in [(scene.dir(), 0o755), (&locks, 0o555), (&program, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // Permission bits do not bind root.
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let lock = format!("file:{}", locks.join("l").display());
    let (code, text) = code_and_error(command.args(["run", "--lock", &lock, "--", "true"]));
    assert_eq!(code, Some(77), "{text}");
    assert!(text.contains("Permission denied"), "{text}");
}

#[test]
fn a_lock_in_memory_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    let (code, text) = code_and_error(command.args(["run", "--lock", "mem:x", "--", "true"]));
    assert_eq!(code, Some(78));
    assert!(text.contains("every process would lead"), "{text}");
}

#[test]
fn restart_contends_again_when_the_child_ends() {
    let scene = Scene::new();
    let mut run = Run::start(&scene, "a", &["--restart"], "echo $$ >>\"$PIDS\"; exit 3");
    scene.wait_for_pids(2);
    signal(run.pid(), Signal::TERM);
    run.ends();
}

#[test]
fn a_lock_that_is_held_can_be_declined() {
    let scene = Scene::new();
    let _first = Run::start(&scene, "first", &[], STAYS);
    scene.wait_for_pids(1);
    assert_eq!(Run::start(&scene, "b", &["--try"], STAYS).ends(), 75);
    assert_eq!(Run::start(&scene, "b", &["--timeout", "200ms"], STAYS).ends(), 75);
    let flags = ["--try", "--conflict-exit-code", "3"];
    assert_eq!(Run::start(&scene, "b", &flags, STAYS).ends(), 3);
    assert_eq!(scene.pids().len(), 1);
}

#[test]
fn a_lost_leadership_ends_a_run_that_leads_once() {
    let scene = Scene::new();
    let first = Run::start(&scene, "first", &["--once"], FAMILY);
    scene.wait_for_pids(3);
    // Without its directory no renewal succeeds, and nobody else can take the lock either.
    let (there, away) = (scene.path("lock"), scene.path("away"));
    fs::rename(&there, away).unwrap();
    fs::create_dir(&there).unwrap();
    let mut first = first;
    assert_eq!(first.ends(), 76, "{}", first.log());
    assert!(scene.pids().into_iter().all(|pid| !alive(pid)));
}

#[test]
fn bad_input_ends_with_a_sentence_and_the_right_code() {
    let scene = Scene::new();
    let corrupt = scene.path("corrupt");
    fs::write(&corrupt, "{\"v\":1,").unwrap();
    let newer = scene.path("newer");
    fs::write(&newer, "{\"v\":2}").unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", "--lock", "file:x.lock"], 64, "CMD"),
        (&["run", "--", "true"], 64, "--lock"),
        (&["frobnicate"], 64, "frobnicate"),
        (&["run", "--lock", "redis://u:secret@h/k", "--", "true"], 64, "LEASEHOLD_LOCK"),
        (
            &["run", "--lock", "file:x.lock", "--lease-duration", "soon", "--", "true"],
            64,
            "--lease-duration",
        ),
        (&["run", "--lock", "no-scheme", "--", "true"], 78, "scheme"),
        (&["run", "--lock", "zk://h/x", "--", "true"], 78, "zk"),
        (&["run", "--lock", "file:x.lock?ttl=3", "--", "true"], 78, "ttl"),
        (&["run", "--lock", "file:/proc/lock", "--", "true"], 78, "file system"),
        (&["run", "--lock", "file:/no/such/directory/lock", "--", "true"], 78, "does not exist"),
        (
            &["run", "--lock", "file:x.lock", "--renew-deadline", "20s", "--", "true"],
            78,
            "nearest valid set",
        ),
        (&["run", "--lock", "file:x.lock", "--", "/no/such/command"], 127, "not found"),
        (&["run", "--lock", "file:x.lock", "--", "/etc/passwd"], 126, "not executable"),
    ];
    for (arguments, code, word) in cases {
        let (got, text) = code_and_error(leasehold(&scene).args(*arguments));
        assert_eq!(got, Some(*code), "{arguments:?}: {text}");
        assert!(text.contains(word), "{arguments:?}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
    for (path, contents) in [(&corrupt, "{\"v\":1,"), (&newer, "{\"v\":2}")] {
        let lock = format!("file:{}", path.display());
        let (got, text) =
            code_and_error(leasehold(&scene).args(["run", "--lock", &lock, "--", "true"]));
        assert_eq!(got, Some(78), "{text}");
        assert_eq!(fs::read_to_string(path).unwrap(), contents, "nothing is overwritten");
        let status = output(leasehold(&scene).args(["status", "--lock", &lock]));
        assert_eq!(status.status.code(), Some(78));
    }
}

#[test]
fn status_says_who_leads_and_does_not_trust_an_old_stamp() {
    let scene = Scene::new();
    let url = url(&scene);
    let status = |form: &[&str]| {
        let output = output(leasehold(&scene).args(["status", "--lock", &url]).args(form));
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(status(&[]).0, 75);
    let mut run = Run::start(&scene, "node-a", &[], STAYS);
    scene.wait_for_pids(1);
    let (code, text) = status(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("node-a leads (token "), "{text}");
    let (code, text) = status(&["-o", "json"]);
    assert_eq!(code, 0, "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((json["v"].as_u64(), json["state"].as_str()), (Some(1), Some("held")));
    assert_eq!(json["leader"]["identity"], "node-a");
    assert_eq!(json["leader"]["lease_duration_ms"], 3000);

    freeze(run.pid());
    eventually("the stamp is old", || status(&[]).0 == 69);
    assert!(status(&[]).1.contains("one read cannot tell"), "{}", status(&[]).1);
    thaw(run.pid());
    signal(run.pid(), Signal::TERM);
    run.ends();
    // Released, or taken anew in the moment it was told to go: either way nobody is left.
    let (code, text) = status(&[]);
    assert!(code == 75 && text.starts_with("nobody leads"), "{code}: {text}");
}

#[test]
fn logs_are_json_lines_if_asked_and_stdout_is_the_childs_alone() {
    let scene = Scene::new();
    let arguments =
        ["run", "--log-format", "json", "-v", "--lock", "file:x.lock", "--", "echo", "hello"];
    let output = output(leasehold(&scene).args(arguments));
    assert_eq!(output.stdout, b"hello\n");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.lines().count() >= 2, "{text}");
    for line in text.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
    let mut quiet = leasehold(&scene);
    quiet.args(["run", "-q", "--lock", "file:x.lock", "--", "true"]).stderr(Stdio::piped());
    let mut child = quiet.spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert_eq!(without_caveat(&text), "");
}

#[test]
fn what_is_left_behind_is_named_before_it_is_stopped() {
    let scene = Scene::new();
    let script = "setsid sleep 1000 & sleep 0.3";
    let output =
        output(leasehold(&scene).args(["run", "--lock", "file:x.lock", "--", "sh", "-c", script]));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let line = text.lines().find(|line| line.contains("left 1 process behind")).unwrap();
    assert!(line.contains(" sleep)") && line.contains("stopping what is left"), "{line}");
}

#[test]
fn an_absurd_lease_is_honoured_and_said() {
    let scene = Scene::new();
    let mut holder = Run::start(&scene, "absurd", &[], STAYS);
    scene.wait_for_pids(1);
    // Freeze the holder with its guard, and stretch the lease in the file's record.
    let guard = holder.guard();
    freeze(guard);
    freeze(holder.pid());
    let record = fs::read_dir(scene.dir()).unwrap().map(|entry| entry.unwrap().path());
    let record = record
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "record"))
        .unwrap();
    let text = fs::read_to_string(&record).unwrap();
    let stretched = text.replace("\"lease_duration_ms\":3000", "\"lease_duration_ms\":360000000");
    assert_ne!(text, stretched);
    fs::write(&record, stretched).unwrap();
    let waiting = Run::start(&scene, "waiting", &[], STAYS);
    waiting.logs("to seize the lock");
    thread::sleep(Duration::from_secs(4));
    assert_eq!(scene.pids().len(), 1, "nobody shortens it");
    thaw(guard);
    thaw(holder.pid());
    assert_eq!(holder.ends(), 79, "both were frozen beyond the lease they knew");
}
