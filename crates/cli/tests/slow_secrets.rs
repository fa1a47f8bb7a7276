//! Secrets in every place where one can be, every command, every form of a log: none comes out,
//! also of what fails.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::Scene;

/// The marked secret, and the parts of it that an encoding or a cut would leave.
const SECRET: &str = "S3CRETx9";
const MARKS: [&str; 3] = ["S3CRET", "x9@", "s3cret"];

fn leasehold(scene: &Scene) -> Command {
    let mut command = common::command(Path::new(env!("CARGO_BIN_EXE_leasehold")), scene);
    command.env("RUST_BACKTRACE", "1");
    command
}

/// Ends what would wait for ever.
fn ran(mut command: Command, arguments: &[&str]) -> Output {
    let program = command.get_program().to_owned();
    let mut timed = Command::new("timeout");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    timed.current_dir(command.get_current_dir().unwrap());
    timed.args(["-s", "KILL", "30"]).arg(program).args(arguments);
    command.stdin(std::process::Stdio::null());
    timed.output().unwrap()
}

fn check(what: &str, output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(bytes);
        for mark in MARKS {
            assert!(!text.contains(mark), "{what}: {text}");
        }
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
    let code = output.status.code();
    assert!(code.is_some_and(|code| code != 101), "{what}: {output:?}");
}

/// URLs with the secret where people put one, rightly and wrongly.
fn urls() -> Vec<String> {
    [
        "etcd://u:SECRET@127.0.0.1:1/x",
        "etcd://u:SECRET%40h/x",
        "etcd://u%3ASECRET%40h/x",
        "etcd://u%3ASECRET@h/x",
        "etcd://u:SECRET",
        "etcd://u:SECRET@",
        "etcd://:SECRET@h/x",
        "etcd://u:SECRET@/x",
        "etcd://u:SECRET/x",
        "etcd://u:SEC/RET@h/x",
        "etcd://u:p/SECRET@h/x",
        "etcd://u:1/SECRET@h/x",
        "etcd://u:p@SECRET@h/x",
        "etcd://u:p@x/SECRET@h/x",
        "etcd://u:p?SECRET@h/x",
        "etcd://u:1?SECRET=1@h/x",
        "etcd://u:p#SECRET@h/x",
        "etcd://u:SECRET@[::1/x",
        "etcd://u:SECRET@[::1]:1/x",
        "etcd://[u:SECRET@h/x",
        "etcd://u:SECRET@h:99999/x",
        "etcd://u:SECRET@h,v:SECRET@i/x",
        "etcd://h,u:SECRET@i/x",
        "etcd://u:SECRET%zz@h/x",
        "etcd://u:%ff%feSECRET@h/x",
        "etcd://u:SECRET@h/x?password=SECRET",
        "etcd://h:1/x?password=SECRET",
        "etcd://h:1/x?PassWord=SECRET",
        "etcd://h:1/x?%70assword=SECRET",
        "etcd://h:1/x?user=u&secret=SECRET",
        "etcd://h:1/x?user=u&passphrase=SECRET",
        "etcd:u:SECRET@h/x",
        "etcd:/u:SECRET@h/x",
        "etcd//u:SECRET@h/x",
        "://u:SECRET@h/x",
        "//u:SECRET@h/x",
        "u:SECRET@h/x",
        ":SECRET@h/x",
        "redis://:SECRET@h/x",
        "rediss://u:SECRET@h:6379/0",
        "http://u:SECRET@h/x",
        "s3://KEY:SECRET@bucket/key",
        "k8s://u:SECRET@ns/x",
        "k8s://u:SECRET%40ns/x",
        "k8s+endpoints://:SECRET@/x",
        "zk://u:SECRET@h/x",
        "file://u:SECRET@h/x",
        " etcd://u:SECRET@h/x",
        "etcd://u:SECRET@h/x ",
        "etcd://u:SECRET@h/x\n",
        "\netcd://u:SECRET@h/x",
        "etcd://u:SECRET\n@h/x",
        "etcd://u:SECRET\u{1b}[2J@h/x",
        "etcd ://u:SECRET@h/x",
        "\"etcd://u:SECRET@h/x\"",
        "'etcd://u:SECRET@h/x'",
        "lock=etcd://u:SECRET@h/x",
        "etcd://u:SECRET@h",
        "etcd://u:SECRET@h/registry/x",
        "etcds://u:SECRET@h/x?ca=/no/such/file",
        "etcds://u:SECRET@h/x?cert=/dev/null&key=/dev/null",
        "mem://u:SECRET@h",
    ]
    .map(|url| url.replace("SECRET", SECRET).replace("SEC/RET", "S3CR/S3CRET"))
    .to_vec()
}

/// Words for the commands that take a lock; with the lock on the command line, or from the
/// environment.
const COMMANDS: [&[&str]; 8] = [
    &["run", "--try", "--request-timeout", "100ms", "-v", "-v"],
    &["run", "--try", "--request-timeout", "100ms", "--log-format", "json"],
    &["status", "--request-timeout", "300ms"],
    &["status", "--request-timeout", "300ms", "-o", "json"],
    &["doctor"],
    &["explain"],
    &["bench", "--rounds", "1", "--timeout", "300ms"],
    &["demo", "--plain", "--seconds", "1"],
];

#[test]
fn no_url_from_the_environment_is_repeated() {
    let scene = Scene::new();
    for (at, url) in urls().into_iter().enumerate() {
        for (of, words) in
            COMMANDS.iter().chain(&[&["list"][..], &["list", "-o", "json"]]).enumerate()
        {
            // Each URL through some commands, each command with some URLs.
            if of > 0 && at % 9 != of - 1 {
                continue;
            }
            let mut command = leasehold(&scene);
            command.env("LEASEHOLD_LOCK", &url);
            let mut words = words.to_vec();
            if words[0] == "run" {
                words.extend(["--", "env"]);
            }
            let output = ran(command, &words);
            check(&format!("{url:?} {words:?}"), &output);
            // A lock in memory has no host, and its name is what follows it.
            let is_refused = output.status.code() != Some(0) || url.starts_with("mem:");
            assert!(is_refused, "{url:?} {words:?}");
        }
    }
}

#[test]
fn no_url_on_the_command_line_is_repeated_and_those_with_a_password_are_refused() {
    let scene = Scene::new();
    for (at, url) in urls().into_iter().enumerate() {
        for (of, words) in [
            &["status", "--lock", &url][..],
            &["run", "--lock", &url, "--", "env"],
            &["explain", "--lock", &url],
            &["list", &url],
            // Where it does not belong.
            &["status", &url],
            &["run", &url],
            &[&url],
            &["--lock", &url],
            &["status", "--lok", &url],
            &["status", &format!("--lok={url}")],
            &["status", "--lock", "file:x", &url],
            &["status", "--lock", "file:x", "-o", &url],
            &["status", "--lock", "file:x", "--request-timeout", &url],
            &["man", &url],
            &["completions", &url],
            &["explain", "--candidates", &url],
        ]
        .into_iter()
        .enumerate()
        {
            if of > 1 && at % 7 != of % 7 {
                continue;
            }
            let output = ran(leasehold(&scene), words);
            check(&format!("{words:?}"), &output);
            let code = output.status.code();
            // It must have been told of the password, if nothing else is wrong with it.
            let is_file = ["file:", "mem:"].iter().any(|local| url.starts_with(local));
            if words[0] != "man" && !is_file {
                let expected = [Some(64), Some(78)];
                assert!(expected.contains(&code), "{words:?}: {output:?}");
            }
        }
    }
    for url in [
        "etcd://u:S3CRETx9%40h/x",
        "etcd://u%3AS3CRETx9@h/x",
        "redis://:S3CRETx9@h",
        "etcd:u:S3CRETx9@h/x",
    ] {
        let output = ran(leasehold(&scene), &["status", "--lock", url]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{url}: {text}");
        assert!(text.contains("LEASEHOLD_LOCK"), "{url}: {text}");
    }
}

#[test]
fn the_command_sees_no_secret_of_ours() {
    let scene = Scene::new();
    let lock = format!("file:{}", scene.path("lock").display());
    for shown in
        [&["run", "--", "env"][..], &["run", "-v", "-v", "--log-format", "json", "--", "env"]]
    {
        let mut command = leasehold(&scene);
        command.env("LEASEHOLD_LOCK", &lock).env("LEASEHOLD_IDENTITY", "node");
        let output = ran(command, shown);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("LEASEHOLD_HELD_IDENTITY=node"), "{text}");
        assert!(!text.contains("LEASEHOLD_LOCK="), "{text}");
    }
}

/// What is not meant for a login: still not repeated.
#[test]
fn secrets_in_files_and_variables_are_not_repeated() {
    let scene = Scene::new();
    let file = scene.path("secret");
    for contents in [
        SECRET.to_owned(),
        format!("{SECRET}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"),
        format!("token: {SECRET}: ["),
        format!("{{\"v\":1,\"{SECRET}\":"),
    ] {
        fs::write(&file, &contents).unwrap();
        let path = file.display();
        for url in [
            format!("etcd://u@127.0.0.1:1/x?password_file={path}"),
            "etcd://u@127.0.0.1:1/x?password_env=MARKED".to_owned(),
            format!("etcds://127.0.0.1:1/x?ca={path}"),
            format!("etcds://127.0.0.1:1/x?cert={path}&key={path}"),
            format!("k8s://ns/x?kubeconfig={path}"),
        ] {
            for words in COMMANDS.iter().chain(&[&["list"][..]]) {
                let mut command = leasehold(&scene);
                command.env("LEASEHOLD_LOCK", &url).env("MARKED", SECRET);
                let mut words = words.to_vec();
                if words[0] == "run" {
                    words.extend(["--", "true"]);
                }
                check(&format!("{url} {words:?}"), &ran(command, &words));
            }
        }
    }
}
