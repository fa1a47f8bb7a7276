//! `leasehold run` on a terminal: tmux gives it one, types, and shows what is on it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, Scene, alive, eventually, signal};
use rustix::process::Signal;

/// A terminal with an interactive shell in it; ended with the test.
struct Terminal {
    scene: Scene,
}

impl Terminal {
    fn open() -> Self {
        let terminal = Self { scene: Scene::new() };
        fs::write(terminal.scene.path("conf"), "set -g remain-on-exit on\n").unwrap();
        let session = [
            "new-session",
            "-d",
            "-x",
            "150",
            "-y",
            "50",
            "env",
            "PS1=READY> ",
            "bash",
            "--norc",
            "--noprofile",
            "-i",
        ];
        let output = terminal.tmux(&session);
        assert!(output.status.success(), "these tests need tmux: {output:?}");
        terminal.shows("READY>");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command
            .arg("-S")
            .arg(self.scene.path("tmux"))
            .arg("-f")
            .arg(self.scene.path("conf"))
            .args(arguments);
        command.envs(self.scene.envs()).env("SHELL", "/bin/sh").env_remove("TMUX");
        command.output().unwrap()
    }

    fn types(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.key("Enter");
    }

    fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    fn shows(&self, text: &str) {
        self.shows_times(text, 1);
    }

    fn shows_times(&self, text: &str, times: usize) {
        let start = Instant::now();
        while self.screen().matches(text).count() < times {
            assert!(start.elapsed() < PATIENCE, "no {text:?} {times} times:\n{}", self.screen());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it; what it logs stays off the screen.
    fn runs(&self, command: &str) {
        let binary = env!("CARGO_BIN_EXE_leasehold");
        let lock = self.scene.path("lock");
        self.types("clear");
        self.types(&format!("{binary} run -q --lock file:{} -- {command}", lock.display()));
    }

    /// The shell has the terminal again, and its line editing works.
    fn is_back(&self, word: &str) {
        // Beside the prompt before the command; what is typed earlier may be lost between two
        // modes.
        self.shows_times("READY>", 2);
        self.types(&format!("echo 'back '$((40+2)){word} $?"));
        self.shows(&format!("back 42{word}"));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn cat_reads_the_terminal_and_the_end_of_file_gives_it_back() {
    let terminal = Terminal::open();
    terminal.runs("sh -c 'echo begun; exec cat'");
    terminal.shows("begun\n");
    terminal.types("one line");
    terminal.shows_times("one line", 2);
    terminal.key("C-d");
    terminal.is_back("a");
}

#[test]
fn ctrl_c_reaches_the_command() {
    let terminal = Terminal::open();
    terminal.runs(
        r#"sh -c 'trap "echo caught; exit 5" INT; echo started; while :; do sleep 0.05; done'"#,
    );
    terminal.shows("started\n");
    terminal.key("C-c");
    terminal.shows("caught\n");
    terminal.shows_times("READY>", 2);
    terminal.types("echo code $?.");
    terminal.shows("code 5.");
}

#[test]
fn an_interactive_shell_has_job_control_and_the_terminal_comes_back() {
    let terminal = Terminal::open();
    terminal.runs("env 'PS1=INNER> ' sh -i");
    terminal.shows("\nINNER>");
    assert!(!terminal.screen().contains("job control turned off"), "{}", terminal.screen());
    terminal.types("sh -c 'echo begun; exec sleep 1000'");
    terminal.shows("begun\n");
    terminal.key("C-z");
    terminal.shows("Stopped");
    terminal.types("echo inner $((40+2))");
    terminal.shows("inner 42");
    // The stopped job is left to the guard.
    terminal.types("exit 0");
    terminal.shows("You have stopped jobs");
    terminal.types("exit 0");
    terminal.is_back("b");
}

#[test]
fn ctrl_z_does_not_suspend_a_leader() {
    let terminal = Terminal::open();
    terminal.runs("sh -c 'echo begun; exec cat'");
    terminal.shows("begun\n");
    terminal.types("before");
    terminal.shows_times("before", 2);
    terminal.key("C-z");
    terminal.types("after");
    terminal.shows_times("after", 2);
    terminal.key("C-d");
    terminal.is_back("c");
}

#[test]
fn the_terminal_comes_back_when_supervisor_or_guard_are_killed() {
    let terminal = Terminal::open();
    for (who, word) in [("grandparent", "d"), ("parent", "e")] {
        let script = r#"sh -c 'echo $PPID >$PIDS.guard
            cut -d" " -f4 /proc/$PPID/stat >$PIDS.supervisor; echo begun; sleep 1000'"#;
        terminal.runs(script);
        terminal.shows("begun\n");
        let read = |name: &str| -> i32 {
            let text = fs::read_to_string(terminal.scene.path(name)).unwrap();
            text.trim().parse().unwrap()
        };
        let (guard, supervisor) = (read("pids.guard"), read("pids.supervisor"));
        if who == "parent" {
            signal(guard, Signal::KILL);
            eventually("the guard is gone", || !alive(guard));
            // The supervisor contends again; until it leads, the terminal is its own.
            signal(supervisor, Signal::TERM);
        } else {
            signal(supervisor, Signal::KILL);
        }
        eventually("the supervisor is gone", || !alive(supervisor));
        eventually("the guard is gone", || !alive(guard));
        terminal.is_back(word);
    }
}

#[test]
fn in_the_background_it_leaves_the_terminal_alone() {
    let terminal = Terminal::open();
    terminal.runs("sh -c 'echo $$ >>$PIDS; sleep 1000' &");
    terminal.scene.wait_for_pids(1);
    terminal.is_back("f");
    terminal.types("kill %1; wait; echo done$((1+1))");
    terminal.shows("done2");
}

#[cfg(feature = "demo")]
#[test]
fn the_demonstration_fits_its_terminal_follows_it_and_gives_it_back() {
    let terminal = Terminal::open();
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.types("clear");
    terminal.types(&format!("{} demo; echo code $?.", env!("CARGO_BIN_EXE_leasehold")));
    terminal.shows("LEADS");
    let fits = |height: usize| {
        let screen = terminal.screen();
        screen.lines().count() == height
            && screen.lines().last().is_some_and(|last| last.ends_with("q quits"))
            && screen.contains("may pass in")
            && screen.contains("b bring back\n")
    };
    eventually("it fits", || fits(24));
    terminal.tmux(&["resize-window", "-x", "160", "-y", "50"]);
    eventually("it follows", || fits(50));
    terminal.tmux(&["resize-window", "-x", "40", "-y", "12"]);
    terminal.shows("The demonstration needs 80x18.\nThis terminal has 40x12.\n");
    assert!(!terminal.screen().contains("lease"));
    terminal.tmux(&["resize-window", "-x", "80", "-y", "18"]);
    eventually("it is large enough", || fits(18));
    terminal.tmux(&["resize-window", "-x", "160", "-y", "50"]);
    terminal.types("2r3r");
    terminal.shows_times("does not lead: it has nothing to give back", 1);
    terminal.key("1");
    terminal.key("k");
    terminal.shows("node-a    is killed");
    terminal.key("q");
    terminal.shows("never two leaders");
    terminal.shows("code 0.");
    terminal.is_back("g");
}

#[cfg(feature = "demo")]
#[test]
fn the_demonstration_names_a_leader_that_is_none_of_its_own() {
    let terminal = Terminal::open();
    let name = "a-very-long-candidate-name-of-somebody-else";
    let program = Path::new(env!("CARGO_BIN_EXE_leasehold"));
    let lock = format!("file:{}", terminal.scene.path("lock").display());
    let mut run = common::command(program, &terminal.scene);
    run.args(["run", "-q", "--lock", &lock, "--identity", name]);
    let mut run = run.args(["--", "sh", "-c", "echo $$ >>$PIDS; exec sleep 100"]).spawn().unwrap();
    terminal.scene.wait_for_pids(1);
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.types(&format!("{} demo --lock {lock}", program.display()));
    terminal.shows(&format!(" lease  {name}, token "));
    terminal.shows("leads, and is none of these three; its lease of 15s begins anew");
    terminal.shows_times("  follows a-very-long-c…\n", 3);
    assert!(!terminal.screen().contains("nobody has one"));
    terminal.key("q");
    terminal.shows("never two leaders");
    run.kill().unwrap();
    run.wait().unwrap();
}

#[cfg(feature = "demo")]
#[test]
fn the_demonstration_ends_where_nobody_can_ever_lead() {
    let terminal = Terminal::open();
    let demo = |program: &Path, lock: &Path, before: &str| {
        let (program, lock) = (program.display(), lock.display());
        terminal.types("clear");
        terminal.types(&format!("{before}{program} demo --lock file:{lock}; echo code $?."));
    };
    let foreign = terminal.scene.path("foreign");
    fs::write(&foreign, "hello").unwrap();
    demo(Path::new(env!("CARGO_BIN_EXE_leasehold")), &foreign, "");
    terminal.shows("code 78.");
    terminal.shows("leasehold: cannot read the lock: what is stored is unreadable");
    let directory = terminal.scene.path("shared");
    fs::create_dir(&directory).unwrap();
    let denied = common::denied(&terminal.scene, &directory);
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups ";
    let before = if rustix::process::geteuid().is_root() { nobody } else { "" };
    demo(Path::new(denied.get_program()), &directory.join("lock"), before);
    terminal.shows("code 77.");
    terminal.shows("Permission denied");
}

#[cfg(feature = "demo")]
#[test]
fn a_hangup_ends_the_demonstration_and_removes_its_directory() {
    let terminal = Terminal::open();
    let left = || fs::read_dir(terminal.scene.path("tmp")).unwrap().count();
    fs::create_dir(terminal.scene.path("tmp")).unwrap();
    // The shell is hung up too; what waits for the demonstration is not.
    let script = "trap '' HUP; (trap - HUP; exec env TMPDIR=$2 $1 demo); echo $? >$2.code";
    fs::write(terminal.scene.path("waits"), script).unwrap();
    let path = |name: &str| terminal.scene.path(name).display().to_string();
    let binary = env!("CARGO_BIN_EXE_leasehold");
    terminal.types(&format!("bash {} {binary} {}", path("waits"), path("tmp")));
    terminal.shows("LEADS");
    assert_eq!(left(), 1);
    terminal.tmux(&["kill-pane"]);
    let code = || fs::read_to_string(terminal.scene.path("tmp.code")).unwrap_or_default();
    eventually("it has ended", || code().ends_with('\n'));
    assert_eq!((code().trim(), left()), ("129", 0));
}
