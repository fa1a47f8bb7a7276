//! What others chose: identities, records, file names, arguments and variables, through every
//! command.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, Scene, alive, eventually, signal};
use leasehold::backend::{Change, Intent, LockBackend, Outcome, Record};
use leasehold::status::is_hidden;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Moves the cursor, rings, forges lines and fields, turns the direction of reading, hides.
const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;t\u{7}\r\n2026-11-30T00:00:00.000Z  INFO leading \
                       token=9\u{9b}31m\u{202e}\u{2066}\u{200b}\0\u{7f}\u{e0041}\" <b>&z";

fn leasehold(scene: &Scene) -> Command {
    common::command(Path::new(env!("CARGO_BIN_EXE_leasehold")), scene)
}

fn url(scene: &Scene, name: &str) -> String {
    format!("file:{}", scene.path(name).display())
}

/// Runs it to its end, which may not take long.
fn ended(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let waited = thread::scope(|scope| {
        let killer = scope.spawn(move || {
            let start = Instant::now();
            while alive(pid) && start.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(10));
            }
            if alive(pid) {
                signal(pid, Signal::KILL);
            }
        });
        let output = {
            let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
            let reader = scope.spawn(move || {
                let mut text = Vec::new();
                std::io::Read::read_to_end(&mut out, &mut text).unwrap();
                text
            });
            let mut stderr = Vec::new();
            std::io::Read::read_to_end(&mut err, &mut stderr).unwrap();
            Output { stdout: reader.join().unwrap(), stderr, status: child.wait().unwrap() }
        };
        killer.join().unwrap();
        output
    });
    assert!(waited.status.code().is_some(), "it did not end by itself: {waited:?}");
    common::no_panic(&waited.stderr);
    waited
}

/// Nothing of it moves a cursor or hides, no line is forged, and it is no defect.
fn check(what: &str, output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(bytes).expect("it is text");
        let hidden = text.chars().find(|c| !matches!(c, '\n' | '\t') && is_hidden(*c));
        assert_eq!(hidden, None, "{what}: {text:?}");
        let forged = text.lines().any(|line| line.starts_with("2026-11-30T00:00:00.000Z"));
        assert!(!forged && text.len() < 100_000, "{what}: {text:.2000}");
        assert!(!text.contains("panicked"), "{what}: {text:.2000}");
    }
    assert_ne!(output.status.code(), Some(101), "{what}: {output:?}");
}

fn record(identity: &str) -> Value {
    json!({
        "v": 1, "token": 7, "lease_duration_ms": 600_000, "acquired_ms": 1_700_000_000_000_u64,
        "renewed_ms": 4_000_000_000_000_u64, "nonce": "00000000000000000000000000000009",
        "holder": {
            "identity": identity, "incarnation": "00000000000000000000000000000007",
            "advertise": identity,
        },
    })
}

/// Writes a record as a lock in a file holds it: into the file of a released lock, with another
/// holder.
fn plant(scene: &Scene, name: &str, contents: &[u8]) {
    let lock = url(scene, name);
    let _ = fs::remove_file(scene.path(name));
    let made = ended(leasehold(scene).args(["run", "--lock", &lock, "--", "true"]));
    assert!(made.status.success(), "{made:?}");
    overwrite(scene, name, contents);
}

/// The same in the files of a lock that is in use: in its own, and in that of its present state.
fn overwrite(scene: &Scene, name: &str, record: &[u8]) {
    let contents = envelope(scene, name, record);
    for entry in fs::read_dir(scene.dir()).unwrap().flatten() {
        let found = entry.file_name().into_string().unwrap_or_default();
        let is_state = found.starts_with(&format!("{name}.")) && found.ends_with(".record");
        if found == name || is_state {
            fs::write(entry.path(), &contents).unwrap();
        }
    }
}

/// A record behind what the file says of itself, which must come first.
fn envelope(scene: &Scene, name: &str, record: &[u8]) -> Vec<u8> {
    let old = fs::read_to_string(scene.path(name)).unwrap();
    let end = old.find("},").map_or(0, |end| end + 2);
    [&old.as_bytes()[..end], &record[1..]].concat()
}

/// What each command that reads a lock says, in either form.
fn told(scene: &Scene, name: &str, what: &str) -> Vec<(String, Output)> {
    let lock = url(scene, name);
    let place = format!("file:{}", scene.dir().display());
    let mut all = Vec::new();
    for form in ["text", "json"] {
        for arguments in [
            vec!["status", "--lock", &lock, "-o", form],
            vec!["list", &place, "-o", form],
            vec!["doctor", "--lock", &lock, "-o", form],
            vec!["explain", "--lock", &lock, "-o", form],
            vec!["run", "--try", "--lock", &lock, "--log-format", form, "-v", "-v", "--", "true"],
        ] {
            let output = ended(leasehold(scene).args(&arguments));
            let what = format!("{what}: {arguments:?}");
            check(&what, &output);
            all.push((arguments[0].to_owned(), output));
        }
        let mut watch = leasehold(scene);
        watch.args(["watch", "--lock", &lock, "-o", form]);
        let output = for_a_while(&mut watch);
        check(&format!("{what}: watch"), &output);
        all.push(("watch".to_owned(), output));
    }
    all
}

/// Runs it until it has said something, or has ended.
fn for_a_while(command: &mut Command) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    let errors = tempfile::NamedTempFile::new().unwrap();
    command.stdout(file.reopen().unwrap()).stderr(errors.reopen().unwrap());
    let mut child = Kept(command.spawn().unwrap());
    let start = Instant::now();
    while fs::read(file.path()).unwrap().is_empty() && child.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it says nothing");
        thread::sleep(Duration::from_millis(10));
    }
    if child.0.try_wait().unwrap().is_none() {
        signal(i32::try_from(child.0.id()).unwrap(), Signal::TERM);
    }
    let status = child.0.wait().unwrap();
    let read = |file: &tempfile::NamedTempFile| fs::read(file.path()).unwrap();
    common::no_panic(&read(&errors));
    Output { stdout: read(&file), stderr: read(&errors), status }
}

struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_hostile_identity_is_shown_on_its_line() {
    let scene = Scene::new();
    for identity in [HOSTILE.to_owned(), "x".repeat(10_000), "\u{202e}".repeat(1000), String::new()]
    {
        plant(&scene, "lock", &serde_json::to_vec(&record(&identity)).unwrap());
        let what = format!("identity {identity:.20?}");
        for (command, output) in told(&scene, "lock", &what) {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            match command.as_str() {
                "status" => assert_eq!(text.lines().count(), 1, "{text}"),
                "run" => assert_eq!(output.status.code(), Some(75), "{output:?}"),
                _ => {}
            }
        }
    }
}

#[test]
fn hostile_names_of_files_and_locks_are_shown_on_their_line() {
    let scene = Scene::new();
    let name = "f\u{1b}[2J\r\n\u{9b}31m\u{202e}g";
    fs::write(scene.path(name), "x").unwrap();
    fs::write(scene.dir().join(OsStr::from_bytes(b"not\xffutf8\x1b")), "x").unwrap();
    let place = format!("file:{}", scene.dir().display());
    let listed = ended(leasehold(&scene).args(["list", &place]));
    check("list", &listed);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert_eq!((listed.status.code(), text.lines().count()), (Some(78), 4), "{text}");
    assert_eq!(text.matches("broken: ").count(), 2, "{text}");
    let escaped = leasehold::url::LockUrl::escape(name);
    let lock = format!("file:{}/{escaped}", scene.dir().display());
    fs::remove_file(scene.path(name)).unwrap();
    for arguments in [
        vec!["run", "--lock", &lock, "-v", "-v", "--", "true"],
        vec![
            "run",
            "--lock",
            &lock,
            "--log-format",
            "json",
            "--identity",
            HOSTILE_ARGUMENT,
            "--",
            "true",
        ],
        vec!["status", "--lock", &lock],
        vec!["status", "--lock", &lock, "-o", "json"],
        vec!["doctor", "--lock", &lock],
        vec!["explain", "--lock", &lock],
        vec!["bench", "--lock", &lock, "--rounds", "1"],
        vec!["demo", "--plain", "--seconds", "1", "--lock", &lock],
        vec!["run", "--lock", &lock, "--", HOSTILE_ARGUMENT],
    ] {
        check(&format!("{arguments:?}"), &ended(leasehold(&scene).args(&arguments)));
    }
}

/// As [`HOSTILE`], without what no argument can hold.
const HOSTILE_ARGUMENT: &str =
    "a\u{1b}[2J\u{7}\r\n2026-11-30T00:00:00.000Z  INFO leading\u{9b}31m\u{202e}\u{200b}";

#[test]
fn hostile_arguments_and_variables_are_repeated_in_a_line() {
    let scene = Scene::new();
    let lock = url(&scene, "lock");
    for arguments in [
        vec![HOSTILE_ARGUMENT],
        vec!["status", HOSTILE_ARGUMENT],
        vec!["status", "--lock", HOSTILE_ARGUMENT],
        vec!["status", "--lock", &lock, "-o", HOSTILE_ARGUMENT],
        vec!["run", "--lock", &lock, "--lease-duration", HOSTILE_ARGUMENT, "--", "true"],
        vec!["run", "--lock", &lock, HOSTILE_ARGUMENT],
        vec!["list", HOSTILE_ARGUMENT],
        vec!["man", HOSTILE_ARGUMENT],
        vec!["completions", HOSTILE_ARGUMENT],
        vec!["explain", "--candidates", HOSTILE_ARGUMENT],
        vec!["demo", "--plain", "--seconds", HOSTILE_ARGUMENT],
        vec!["demo", "--plain", "--svg", "/no/such\u{1b}[2J\nx/y.svg"],
    ] {
        let output = ended(leasehold(&scene).args(&arguments));
        check(&format!("{arguments:?}"), &output);
        assert!([64, 78, 80].contains(&output.status.code().unwrap()), "{arguments:?}: {output:?}");
    }
    for name in ["LEASEHOLD_LOCK", "LEASEHOLD_REQUEST_TIMEOUT", "LEASEHOLD_OUTPUT"] {
        let mut command = leasehold(&scene);
        command.arg("status").env("LEASEHOLD_LOCK", &lock).env(name, HOSTILE_ARGUMENT);
        let output = ended(&mut command);
        check(name, &output);
        assert!([64, 78].contains(&output.status.code().unwrap()), "{name}: {output:?}");
    }
    let long = "x".repeat(100_000);
    let output = ended(leasehold(&scene).args(["status", "--lock", &lock, "-o", &long]));
    check("a long argument", &output);
}

#[test]
fn what_is_not_text_is_said_to_be_none() {
    let scene = Scene::new();
    let lock = url(&scene, "lock");
    let bad = OsString::from_vec(b"x\xff\x1b[2J".to_vec());
    for arguments in [
        vec![OsStr::new("status"), OsStr::new("--lock"), &bad],
        vec![
            OsStr::new("run"),
            OsStr::new("--identity"),
            &bad,
            OsStr::new("--lock"),
            OsStr::new(&lock),
            OsStr::new("--"),
            OsStr::new("true"),
        ],
        vec![&bad],
        vec![OsStr::new("list"), &bad],
        vec![OsStr::new("man"), &bad],
    ] {
        let output = ended(leasehold(&scene).args(&arguments));
        check(&format!("{arguments:?}"), &output);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
    }
    for name in ["LEASEHOLD_LOCK", "LEASEHOLD_IDENTITY", "NO_COLOR", "TERM", "HOME"] {
        let mut command = leasehold(&scene);
        command.args(["run"]).env("LEASEHOLD_LOCK", &lock).env(name, &bad);
        let output = ended(command.args(["--", "true"]));
        check(name, &output);
        let expected = if name.starts_with("LEASEHOLD_") { 64 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{name}: {output:?}");
    }
    // What belongs to CMD is its own.
    let mut command = leasehold(&scene);
    command.args(["run", "--lock", &lock, "--", "printf", "%s"]).arg(&bad);
    assert_eq!(ended(&mut command).stdout, bad.as_bytes());
}

/// Numbers that no candidate of ours writes, and what each command makes of the lock.
#[test]
fn numbers_that_cannot_be_shown_or_kept_are_said_to_be_such() {
    let scene = Scene::new();
    let held = |field: &str, value: Value| {
        let mut record = record("node-z");
        record[field] = value;
        serde_json::to_vec(&record).unwrap()
    };
    let readable = [
        held("acquired_ms", json!(4_611_686_018_427_387_904_u64)),
        held("acquired_ms", json!(u64::MAX)),
        held("renewed_ms", json!(u64::MAX)),
        held("renewed_ms", json!(253_402_300_800_000_u64)),
        held("lease_duration_ms", json!(u64::MAX)),
        held("lease_duration_ms", json!(u64::MAX / 2 + 1)),
        held("token", json!(0)),
        held("token", json!(1_u64 << 63)),
        held("extra", json!(vec!["x"; 10_000])),
    ];
    for contents in &readable {
        plant(&scene, "lock", contents);
        let what = String::from_utf8_lossy(contents).into_owned();
        let what = format!("{what:.300}");
        for (command, output) in told(&scene, "lock", &what) {
            let code = output.status.code().unwrap();
            match command.as_str() {
                "run" => assert!([75, 78].contains(&code), "{what}: {output:?}"),
                "status" => assert!([0, 69].contains(&code), "{what}: {output:?}"),
                "list" => assert_eq!(code, 0, "{what}: {output:?}"),
                _ => {}
            }
        }
    }
}

#[test]
fn records_that_are_none_are_broken_and_hide_no_other_lock() {
    let scene = Scene::new();
    let other = serde_json::to_vec(&record("node-other")).unwrap();
    plant(&scene, "other", &other);
    let deep = format!("{{\"v\":1,\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let with = |field: &str, value: &str| {
        let text = record("node-z").to_string();
        let at = text.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
        let end = at + text[at..].find([',', '}']).unwrap();
        format!("{}{value}{}", &text[..at], &text[end..])
    };
    let twice = with("token", "7,\"token\":8");
    for contents in [
        &b""[..],
        b"{}",
        b"null",
        b"[]",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe\x00",
        b"\0\0\0\0",
        b"garbage\x1b[2J\r\n",
        deep.as_bytes(),
        twice.as_bytes(),
        &vec![b' '; 10 << 20],
        format!("\"{}\"", "\u{9b}".repeat(1 << 20)).as_bytes(),
        with("v", "2").as_bytes(),
        with("v", "1e400").as_bytes(),
        with("v", "-1").as_bytes(),
        with("token", "-1").as_bytes(),
        with("token", "9223372036854775809").as_bytes(),
        with("token", "18446744073709551616").as_bytes(),
        with("token", "1.5").as_bytes(),
        with("token", "\"7\"").as_bytes(),
        with("renewed_ms", "-1").as_bytes(),
        with("renewed_ms", "\"x\\u001b\"").as_bytes(),
        with("lease_duration_ms", "0").as_bytes(),
        with("lease_duration_ms", "1e30").as_bytes(),
    ] {
        match contents.starts_with(b"{\"") {
            true => plant(&scene, "lock", contents),
            false => fs::write(scene.path("lock"), contents).unwrap(),
        }
        let what = format!("{:.100?}", String::from_utf8_lossy(contents));
        for (command, output) in told(&scene, "lock", &what) {
            let code = output.status.code().unwrap();
            let text = String::from_utf8(output.stdout.clone()).unwrap();
            match command.as_str() {
                "run" | "status" | "doctor" => assert_eq!(code, 78, "{what}: {output:?}"),
                "list" => {
                    assert_eq!(code, 78, "{what}: {output:?}");
                    assert!(text.contains("node-other"), "{what}: {text}");
                    assert!(
                        text.contains("broken: ") || text.contains("corrupt"),
                        "{what}: {text}"
                    );
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_leader_whose_record_is_replaced_by_a_poisoned_one_ends_with_a_documented_code() {
    for (contents, expected) in [
        (json!({ "acquired_ms": 4_611_686_018_427_387_904_u64 }), None),
        (json!({ "renewed_ms": u64::MAX, "lease_duration_ms": u64::MAX }), None),
        (json!({ "token": -1 }), Some(78)),
    ] {
        let scene = Scene::new();
        let log = scene.path("run.log");
        let mut command = leasehold(&scene);
        command.args(["run", "--lock", &url(&scene, "lock"), "--lease-duration", "2s"]);
        command.args(["--", "sh", "-c", "echo $$ >> $PIDS; exec sleep 60"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let mut led = Kept(command.spawn().unwrap());
        let cmd = scene.wait_for_pids(1)[0];
        let mut fields = record(HOSTILE);
        fields.as_object_mut().unwrap().extend(contents.as_object().unwrap().clone());
        // In place, as an editor does it: again and again, since the leader writes, too.
        let pid = i32::try_from(led.0.id()).unwrap();
        eventually("CMD is stopped", || {
            let record = serde_json::to_vec(&fields).unwrap();
            overwrite(&scene, "lock", &record);
            thread::sleep(Duration::from_millis(100));
            !alive(cmd)
        });
        let text = || fs::read_to_string(&log).unwrap();
        match expected {
            Some(code) => {
                // On a machine that is busy with other work CMD may die late, which is told by 79.
                let ended = led.0.wait().unwrap().code();
                assert!(ended == Some(code) || ended == Some(79), "{ended:?}: {}", text());
            }
            None => {
                eventually("it says who leads, or ends", || {
                    text().contains("waiting until") || !alive(pid)
                });
                signal(pid, Signal::TERM);
                let code = led.0.wait().unwrap().code();
                assert!([Some(143), Some(78), Some(79)].contains(&code), "{code:?}: {}", text());
            }
        }
        let output =
            Output { stdout: Vec::new(), stderr: text().into_bytes(), status: <_>::default() };
        check("the log of the leader", &output);
    }
}

#[test]
fn durations_that_are_none_are_refused_by_the_name_of_their_flag() {
    let scene = Scene::new();
    let lock = url(&scene, "lock");
    let flags = [
        ("run", "--lease-duration"),
        ("run", "--renew-deadline"),
        ("run", "--retry-period"),
        ("run", "--request-timeout"),
        ("run", "--stop-grace"),
        ("run", "--clock-margin"),
        ("run", "--drain-timeout"),
        ("run", "--loss-grace"),
        ("run", "--timeout"),
        ("status", "--request-timeout"),
        ("bench", "--timeout"),
        ("doctor", "--lease-duration"),
        ("explain", "--lease-duration"),
        ("explain", "--renew-deadline"),
    ];
    for (command, flag) in flags {
        for value in [
            "-1",
            "-1s",
            "1e9",
            "abc",
            "15S",
            "99999999999999999999h",
            "",
            " ",
            "0.1ns",
            "NaN",
            "--once",
        ] {
            let mut line = leasehold(&scene);
            line.args([command, flag, value]);
            if command != "explain" {
                line.args(["--lock", &lock]);
            }
            if command == "run" {
                line.args(["--", "true"]);
            }
            let output = ended(&mut line);
            check(&format!("{command} {flag} {value:?}"), &output);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{command} {flag} {value:?}: {text}");
            assert!(text.contains(flag), "{command} {flag} {value:?}: {text}");
        }
    }
}

#[test]
fn durations_at_the_ends_are_used_or_refused_and_never_overflow() {
    let scene = Scene::new();
    let lock = url(&scene, "lock");
    let timing = [
        "--lease-duration",
        "--renew-deadline",
        "--retry-period",
        "--request-timeout",
        "--stop-grace",
        "--clock-margin",
    ];
    let ends = [
        "0",
        "0s",
        "1ns",
        "1h",
        "18446744073709551615s",
        "584542046090years",
        "18446744073709551615ns",
    ];
    for flag in timing {
        for value in ends {
            for command in ["explain", "doctor", "run"] {
                let mut line = leasehold(&scene);
                line.args([command, flag, value, "--lock", &lock]);
                if command == "run" {
                    // A request that may take no time never succeeds.
                    line.args(["--try", "--", "true"]);
                }
                let output = ended(&mut line);
                check(&format!("{command} {flag} {value}"), &output);
                let code = output.status.code().unwrap();
                assert!([0, 69, 78].contains(&code), "{command} {flag} {value}: {output:?}");
                if value == "18446744073709551615s" {
                    assert_eq!(code, 78, "{command} {flag} {value}: {output:?}");
                }
            }
        }
    }
    // All at once.
    for value in ends {
        let output = ended(
            leasehold(&scene).arg("explain").args(timing.iter().flat_map(|flag| [*flag, value])),
        );
        check(value, &output);
        assert_eq!(output.status.code(), Some(78), "{value}: {output:?}");
    }
    for (flag, value) in [
        ("--drain-timeout", "18446744073709551615s"),
        ("--loss-grace", "18446744073709551615s"),
        ("--timeout", "18446744073709551615s"),
        ("--drain-timeout", "0"),
        ("--timeout", "1ns"),
    ] {
        let output =
            ended(leasehold(&scene).args(["run", flag, value, "--lock", &lock, "--", "true"]));
        check(flag, &output);
        let code = output.status.code().unwrap();
        assert!([0, 69, 75, 78].contains(&code), "{flag} {value}: {output:?}");
    }
}

/// 266 changes a second are no 266 lines.
#[test]
fn a_foreign_identity_that_changes_all_the_time_fills_no_log() {
    let scene = Scene::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lock = leasehold::file::FileLock::open(scene.path("lock")).unwrap();
    let mut version = leasehold::backend::Version::absent();
    let mut write = |count: u64| {
        let object = json!({ "nonce": format!("{count:032x}") });
        let mut fields = record(&format!("node-{count}"));
        fields.as_object_mut().unwrap().extend(object.as_object().unwrap().clone());
        let record = Record::from_json(&serde_json::to_vec(&fields).unwrap()).unwrap();
        let intent = if count == 0 { Intent::Adopt } else { Intent::Renew };
        match runtime.block_on(lock.write(&version, &Change { intent, record })).unwrap() {
            Outcome::Written(observed) => version = observed.version,
            Outcome::Conflict => panic!("nobody else writes"),
        }
    };
    write(0);
    write(1);
    let log = scene.path("run.log");
    let mut command = leasehold(&scene);
    command.args(["run", "--lock", &url(&scene, "lock"), "--", "true"]);
    command.stderr(fs::File::create(&log).unwrap());
    let mut waits = Kept(command.spawn().unwrap());
    let text = || fs::read_to_string(&log).unwrap();
    eventually("it waits", || text().contains("node-1"));
    let start = Instant::now();
    let mut count = 1;
    while start.elapsed() < Duration::from_secs(4) {
        count += 1;
        write(count);
        thread::sleep(Duration::from_millis(2));
    }
    let last = format!("node-{count}");
    eventually("the last is told", || text().contains(&last));
    let seconds = start.elapsed().as_secs();
    signal(i32::try_from(waits.0.id()).unwrap(), Signal::TERM);
    waits.0.wait().unwrap();
    let text = text();
    let lines = text.lines().filter(|line| line.contains("leads with")).count();
    assert!(count > 100, "{count}");
    assert!(u64::try_from(lines).unwrap() <= seconds + 8, "{lines} lines for {count}: {text}");
    assert!(text.contains("were not logged"), "{text}");
}
