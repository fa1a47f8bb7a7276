//! The command as a person runs it.

use std::path::Path;
use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leasehold-sim"))
        .args(arguments)
        .output()
        .expect("the command is built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The line without the rate, which differs from run to run.
fn closing(output: &Output) -> String {
    let text = stdout(output);
    let line = text.lines().last().expect("a line");
    assert!(line.ends_with(" per second and core"), "{line}");
    line.rsplit_once(", ").expect("a comma").0.to_owned()
}

#[test]
fn many_cores_do_the_same_as_one() {
    let one = sim(&["--seeds", "1000", "--threads", "1"]);
    let two = sim(&["--seeds", "1000", "--threads", "2"]);
    assert!(one.status.success() && two.status.success());
    assert_eq!(closing(&one), "1000 schedules, 0 violations");
    assert_eq!(closing(&two), closing(&one));
    assert_eq!(stdout(&one).lines().next(), stdout(&two).lines().next());
    // No progress line where nobody looks.
    assert_eq!(stderr(&one), "");
}

#[test]
fn a_violation_is_told_kept_shrunk_and_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let failures = directory.path().to_str().unwrap();
    let beyond = sim(&["--seeds", "3000", "--rates", "120", "--failures", failures]);
    assert_eq!(beyond.status.code(), Some(1));
    let text = stdout(&beyond);
    assert!(text.contains("shrunk to "), "{text}");
    let kept = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let replayed = sim(&["--replay", kept.to_str().unwrap()]);
    assert_eq!(replayed.status.code(), Some(1));
    assert!(stdout(&replayed).contains("VIOLATION"));
    let drawn = std::fs::read_to_string(kept.with_extension("svg")).unwrap();
    assert!(drawn.contains("two believe") || drawn.contains("two works run"), "{drawn}");
    assert!(drawn.trim_end().ends_with("</svg>"), "{drawn}");
}

/// What was found is told even if it cannot be kept: here a directory is where the file should be.
#[test]
fn a_violation_that_cannot_be_kept_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let failures = directory.path().to_str().unwrap();
    std::fs::create_dir(directory.path().join("no-deadline.json")).unwrap();
    let told = sim(&["--mutant", "no-deadline", "--failures", failures]);
    assert_eq!(told.status.code(), Some(64));
    assert!(stdout(&told).contains("killed by"), "{}", stdout(&told));
    assert!(stderr(&told).contains("no-deadline.json: "), "{}", stderr(&told));
}

#[test]
fn the_seed_of_a_mutant_is_shown_with_it() {
    let killed = stdout(&sim(&["--mutant", "no-deadline"]));
    let seed = killed.split("(seed ").nth(1).unwrap().split(',').next().unwrap();
    let shown = sim(&["--show", seed, "--mutant", "no-deadline"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(stdout(&shown).contains("VIOLATION"));
    assert!(sim(&["--show", seed]).status.success());
}

#[test]
fn a_closed_pipe_ends_it_without_a_word() {
    let arguments = ["--show", "1"];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold-sim"));
    let output = command.args(arguments).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(141), ""));
}

#[test]
fn a_mutant_is_killed_by_name() {
    let killed = sim(&["--mutant", "no-deadline"]);
    assert!(killed.status.success());
    assert_eq!(stdout(&killed).lines().last(), Some("1 mutants, 1 killed, 0 survived"));
    let survived = sim(&["--mutant", "no-deadline", "--budget", "0"]);
    assert_eq!(survived.status.code(), Some(1));
    assert_eq!(stdout(&survived).lines().last(), Some("1 mutants, 0 killed, 1 survived"));
}

#[test]
fn overlaps_begin_at_the_bound() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rates.svg");
    let plot = sim(&["--plot", file.to_str().unwrap(), "--seeds", "2000"]);
    assert!(plot.status.success(), "{}", stdout(&plot));
    assert!(std::fs::read_to_string(file).unwrap().contains("percent of the bound"));
}

#[test]
fn bad_input_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants/no-deadline.json");
    let good = std::fs::read_to_string(good).unwrap();
    let nobody = {
        let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
        value["candidates"] = serde_json::json!([]);
        file("nobody.json", &value.to_string())
    };
    let broken = file("broken.json", &good[..40]);
    let bogus = file("bogus.json", &good.replacen('{', "{\"bogus\": 1,", 1));
    let picture = file("picture.svg", &good);
    let far = {
        let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
        value["faults"][0]["node"] = serde_json::json!(77);
        file("far.json", &value.to_string())
    };
    let long = {
        let mut value: serde_json::Value = serde_json::from_str(&good).unwrap();
        value["end_ms"] = serde_json::json!(10_000_000);
        file("long.json", &value.to_string())
    };
    for (arguments, says) in [
        (&["--bogus"][..], "unexpected argument '--bogus'"),
        (&["--mutant", "nope"], "there are: constant-nonce"),
        (&["--seeds", "many"], "invalid digit"),
        (&["--replay", "no/such/file"], "no/such/file"),
        (&["--replay", &broken], "broken.json is not a schedule"),
        (&["--replay", &nobody], "0 candidates"),
        (&["--replay", &bogus], "unknown field `bogus`"),
        (&["--replay", &far], "at node 77, and there are"),
        (&["--replay", &long], "end_ms is 10000000; it may be 1 to 900000"),
        (&["--failures", "/proc/self", "--seeds", "1"], "/proc/self"),
        (&["--replay", &picture], "would overwrite the schedule"),
        (&["--replay", &nobody, "--svg", &nobody], "nobody.json"),
        (&["--replay", &nobody, "--seeds", "5"], "cannot be used with"),
        (&["--replay", &nobody, "--rates", "5"], "cannot be used with"),
        (&["--replay", &nobody, "--mutant", "no-deadline"], "cannot be used with"),
        (&["--show", "5", "--mutants"], "cannot be used with"),
        (&["--show", "5", "--threads", "2"], "cannot be used with"),
        (&["--show", "5", "--failures", "there"], "cannot be used with"),
        (&["--show", "5", "--mutant", "no-margin", "--mutant", "no-deadline"], "one '--mutant"),
        (&["--plot", "p.svg", "--minutes", "1"], "cannot be used with"),
        (&["--budget", "5"], "were not provided"),
        (&["--seeds", "0"], "0 is not in 1.."),
        (&["--threads", "100000"], "100000 is not in 1..=256"),
        (&["--from", "18446744073709551500", "--seeds", "1000"], "is not in 0..="),
        (&["--seeds", "1", "--failures", &nobody], "nobody.json: "),
        (&["--seeds", "1", "--plot", "no/such/plot.svg"], "no/such/plot.svg: "),
    ] {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
    }
}
