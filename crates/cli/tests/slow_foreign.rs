//! Work that no signal of ours reaches: another user's, and what sleeps uninterruptibly. The lease
//! is not kept for it, and it is named.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fleet::rounds::HASTY;
use fleet::world::{World, new_user};
use fleet::{Fleet, PATIENCE, guard_of, is_alive, serially, signal, try_signal, wall};
use rustix::process::Signal;

const LEASE: Duration = Duration::from_secs(6);

/// What a supervisor may take beyond the lease, on a slow machine.
const SLACK: Duration = Duration::from_secs(10);

/// What cannot be signalled; ended with the test.
struct Foreign {
    pid: i32,
    user: u32,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        try_signal(self.pid, Signal::KILL);
    }
}

/// A leader whose work has started a process of another user, and that process.
fn with_a_foreign_process() -> (Fleet, Foreign, u64) {
    let (ours, theirs) = (new_user(), new_user());
    let flags = [HASTY, &["--lease-duration", "6s"]].concat();
    let mut fleet = Fleet::acting(World::User(ours), &flags, &["foreign", &theirs.to_string()]);
    // Whoever runs it becomes the owner, and stays it.
    let become_them = fleet.dir().join("become");
    fs::copy("/usr/bin/setpriv", &become_them).unwrap();
    chown(&become_them, Some(theirs), None).unwrap();
    fs::set_permissions(&become_them, Permissions::from_mode(0o4755)).unwrap();
    fleet.start("a");
    let first = fleet.wait_start(0, PATIENCE);
    let uid = format!("Uid:\t{theirs}\t{theirs}\t");
    let foreign = fleet.marked().into_iter().find(|pid| {
        fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| text.contains(&uid))
    });
    let foreign = foreign.expect(
        "set-user-ID programs have an effect where temporary files are (no nosuid: set TMPDIR)",
    );
    (fleet, Foreign { pid: foreign, user: theirs }, first.token)
}

/// Clock ticks that a process has used.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// What supervisor and guard burn in a second: less than a tenth of a core each, of 100 ticks.
fn assert_idle(pids: &[i32]) {
    let before: Vec<u64> = pids.iter().map(|pid| ticks(*pid)).collect();
    std::thread::sleep(Duration::from_secs(1));
    for (pid, before) in pids.iter().zip(before) {
        let used = ticks(*pid).saturating_sub(before);
        assert!(used < 10, "{pid} used {used} ticks in a second");
    }
}

/// Ends in time with 79, does not renew meanwhile, names what is left.
fn assert_given_up(fleet: Fleet, foreign: &Foreign, since: Duration) {
    assert_named(fleet, foreign.pid, since, &["sleep", &foreign.user.to_string()]);
}

fn assert_named(mut fleet: Fleet, foreign: i32, since: Duration, words: &[&str]) {
    let supervisor = fleet.pid(0);
    let watched: Vec<i32> =
        [Some(supervisor), guard_of(supervisor)].into_iter().flatten().collect();
    // Both graces, and as much again.
    std::thread::sleep(Duration::from_millis(2_500));
    let stored = fleet.stored();
    assert_idle(&watched);
    std::thread::sleep(Duration::from_secs(1));
    assert!(stored == fleet.stored(), "it renews for what it cannot kill: {}", fleet.logs());
    let code = fleet.wait_exit(0, LEASE + SLACK);
    println!("what cannot be killed: ended with {code:?} after {:?}", wall().saturating_sub(since));
    let log = fleet.log_of("a");
    assert_eq!(code, Some(79), "{log}");
    assert!(is_alive(foreign), "the test was about a process that lives");
    for word in [&[foreign.to_string().as_str()], words].concat() {
        assert!(log.contains(word), "does not name {word}: {log}");
    }
    assert!(!log.contains("INFO released"), "{log}");
}

#[test]
fn left_behind_by_work_that_ended_it_is_named_and_the_lease_runs_out() {
    let _one = serially();
    let (fleet, foreign, token) = with_a_foreign_process();
    fleet.leave(token);
    assert_given_up(fleet, &foreign, wall());
}

#[test]
fn after_a_request_to_stop_it_is_named_and_the_lease_runs_out() {
    let _one = serially();
    let (fleet, foreign, _) = with_a_foreign_process();
    signal(fleet.pid(0), Signal::TERM);
    assert_given_up(fleet, &foreign, wall());
}

#[test]
fn after_the_guard_was_killed_it_is_named_and_the_lease_runs_out() {
    let _one = serially();
    let (fleet, foreign, _) = with_a_foreign_process();
    signal(guard_of(fleet.pid(0)).unwrap(), Signal::KILL);
    assert_given_up(fleet, &foreign, wall());
}

/// A second request, while it waits for what it cannot kill, is heard.
#[test]
fn a_request_to_stop_is_heard_while_something_cannot_be_killed() {
    let _one = serially();
    let (mut fleet, _foreign, token) = with_a_foreign_process();
    fleet.leave(token);
    std::thread::sleep(Duration::from_secs(2));
    signal(fleet.pid(0), Signal::TERM);
    assert_eq!(fleet.wait_exit(0, LEASE + SLACK), Some(79), "{}", fleet.logs());
}

/// A guard without supervisor cannot tell anybody; it must keep the lock for the lease, not for
/// ever, and idly.
#[test]
fn a_guard_alone_keeps_the_lock_for_the_lease_and_no_longer() {
    let _one = serially();
    let (mut fleet, _foreign, token) = with_a_foreign_process();
    fleet.start("b");
    std::thread::sleep(Duration::from_millis(500));
    let (supervisor, guard) = (fleet.pid(0), guard_of(fleet.pid(0)).unwrap());
    signal(supervisor, Signal::KILL);
    let killed = wall();
    std::thread::sleep(Duration::from_secs(2));
    assert_idle(&[guard]);
    let next = fleet.wait_start(token, LEASE + SLACK);
    let gap = next.at.saturating_sub(killed);
    println!("a guard alone with another user's process: next work after {gap:?}");
    // Its last renewal may have been a retry period before.
    assert!(gap > LEASE.mul_f64(0.6), "{gap:?}: something lives: {}", fleet.logs());
    while is_alive(guard) {
        assert!(wall().saturating_sub(killed) < LEASE + SLACK, "the guard stays for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A file system of its own, which can be frozen: who writes to it sleeps, and no signal wakes it.
struct FileSystem {
    mounted: PathBuf,
    _dir: tempfile::TempDir,
}

impl FileSystem {
    fn frozen() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        let this = Self { mounted: dir.path().join("frozen"), _dir: dir };
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        fs::create_dir(&this.mounted).unwrap();
        let run = |program: &str, arguments: &[&Path]| {
            let output = Command::new(program).args(arguments).output();
            let output =
                output.unwrap_or_else(|error| panic!("this test needs {program}: {error}"));
            assert!(output.status.success(), "this test freezes a loop device: {output:?}");
        };
        run("mkfs.ext4", &[Path::new("-q"), &image]);
        run("mount", &[Path::new("-oloop"), &image, &this.mounted]);
        run("fsfreeze", &[Path::new("-f"), &this.mounted]);
        this
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.mounted).status();
        for _ in 0..100 {
            let unmounted =
                Command::new("umount").arg(&self.mounted).stderr(Stdio::null()).status();
            if unmounted.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn in_uninterruptible_sleep_it_is_named_and_the_lease_runs_out() {
    let _one = serially();
    let flags = [HASTY, &["--lease-duration", "6s"]].concat();
    let frozen = FileSystem::frozen();
    let file = frozen.mounted.join("file").display().to_string();
    let mut fleet = Fleet::acting(World::Here, &flags, &["frozen", &file]);
    fleet.start("a");
    let first = fleet.wait_start(0, PATIENCE);
    let state = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let sleeper = fleet.marked().into_iter().find(|pid| state(pid).contains(") D "));
    fleet.leave(first.token);
    let sleeper = sleeper.expect("a write to a frozen file system sleeps uninterruptibly");
    assert_named(fleet, sleeper, wall(), &["perl", "state D"]);
    drop(frozen);
}
