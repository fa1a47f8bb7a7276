//! A run of the suite that a signal ends.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Running;
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes, on a slow machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// The files of its scratch locks go, and the exit code names the signal.
#[test]
fn a_signal_removes_what_the_cases_made() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().join("jobs").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold-conformance"));
        command.args([&url, "BA,EX,HO"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let began = Instant::now();
        while files(directory.path()).len() < 5 {
            assert!(began.elapsed() < PATIENCE, "no case began");
            sleep(Duration::from_millis(20));
        }
        let asked = Instant::now();
        kill_process(Pid::from_child(&running.0), signal).unwrap();
        let ended = loop {
            if let Some(ended) = running.0.try_wait().unwrap() {
                break ended;
            }
            assert!(asked.elapsed() < PATIENCE, "it goes on");
            sleep(Duration::from_millis(20));
        };
        assert_eq!(ended.code(), Some(code));
        assert_eq!(files(directory.path()), Vec::<String>::new());
    }
}
