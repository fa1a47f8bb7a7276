//! The guard and its supervisor, with real processes and no lock.
//!
//! A supervisor is a subreaper of its whole process, so each test drives one in a process of its
//! own: this test binary again, told by its environment to run only [`driver`].

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test; its driver reports on stdout"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, Scene, alive, eventually, freeze, signal, state, thaw};
use leasehold_cli::boot::{Time, now};
use leasehold_cli::guard::supervise::{Guarded, News, Spec};
use leasehold_cli::guard::{Event, Exit, Instants, cgroup, names};
use rustix::process::Signal;

/// What a supervisor under test is told, line by line, on standard input.
fn instants(line: &str) -> Instants {
    let mut at =
        line.split(' ').skip(1).map(|ms| now() + Duration::from_millis(ms.parse().unwrap()));
    let mut next = || -> Time { at.next().unwrap() };
    Instants { stop_at: next(), kill_at: next(), dead_by: next() }
}

/// Not a test: the supervisor that the tests start.
#[test]
fn driver() {
    let Ok(command) = std::env::var("LEASEHOLD_TEST_DRIVER") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (lines, mut line) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || {
        for text in std::io::stdin().lines() {
            lines.send(text.unwrap()).unwrap();
        }
    });
    runtime.block_on(async {
        let first = line.recv().await.unwrap();
        let pids = std::path::PathBuf::from(std::env::var_os("PIDS").unwrap());
        let spec = Spec {
            program: env!("CARGO_BIN_EXE_leasehold").into(),
            command: ["sh", "-c", &command].map(Into::into).to_vec(),
            env: vec![("CMD_ONLY".into(), "1".into())],
            env_remove: vec!["LEASEHOLD_TEST_DRIVER".into(), "LEASEHOLD_TEST_CGROUP".into()],
            grace: Duration::from_millis(300),
            cgroup: match std::env::var("LEASEHOLD_TEST_CGROUP").as_deref() {
                Ok("require") => cgroup::Mode::Require,
                _ => cgroup::Mode::Off,
            },
        };
        let mut children =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child()).unwrap();
        let liveness = std::fs::File::create(pids.with_extension("liveness")).unwrap().into();
        let mut guarded = Guarded::start(&spec, Some(liveness), instants(&first)).await.unwrap();
        println!("\nguard {}", guarded.guard());
        loop {
            tokio::select! {
                news = guarded.next() => match news {
                    Some(News::Event(event)) => print_event(event),
                    Some(News::Ended(ended)) => {
                        let overrun = ended.overrun().map_or(0, |(least, _)| least.as_millis());
                        let (lost, dead, left) = (ended.guard_lost, ended.dead, names(&ended.left));
                        println!("\nended lost={lost} overrun={overrun} dead={dead} left={left}");
                        return;
                    }
                    None => unreachable!("nothing comes after the end, and the driver is gone by \
                                          then"),
                },
                _ = children.recv() => guarded.reap_orphans(),
                Some(line) = line.recv() => match line.split(' ').next().unwrap() {
                    "extend" => guarded.extend(instants(&line)),
                    "terminate" => guarded.terminate(),
                    "leave" => guarded.leave(),
                    "signal" => guarded.signal(line[7..].parse().unwrap()),
                    "kill" => guarded.kill(),
                    other => panic!("{other}"),
                },
            }
        }
    });
}

fn print_event(event: Event) {
    match event {
        Event::Started(pid) => println!("\nstarted {pid}"),
        Event::Exited { exit: Exit::Code(code), .. } => println!("\nexited code {code}"),
        Event::Exited { exit: Exit::Signal(number), .. } => println!("\nexited signal {number}"),
        Event::LeftBehind { count, one } => println!("\nleft behind {count} {one}"),
        Event::Stopped(number) => println!("\nstopped {number}"),
        Event::GuardSilent => println!("\nsilent"),
        Event::GuardLost => println!("\nlost"),
        Event::StopRenewing => println!("\nstop renewing"),
        Event::Left(left) => println!("\nleft {}", names(&left)),
        Event::Overdue => println!("\noverdue"),
    }
}

/// A supervisor process under test.
struct Supervisor {
    scene: Scene,
    process: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    guard: i32,
    cmd: i32,
}

impl Supervisor {
    /// Starts `command` in a shell, to be stopped, killed and dead at these milliseconds from now.
    fn start(command: &str, times: &str) -> Self {
        Self::start_in(command, times, "off")
    }

    fn start_in(command: &str, times: &str, cgroup: &str) -> Self {
        common::default_dispositions();
        let scene = Scene::new();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "driver", "--nocapture", "--test-threads=1"])
            .envs(scene.envs())
            .env("LEASEHOLD_TEST_DRIVER", command)
            .env("LEASEHOLD_TEST_CGROUP", cgroup)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let output = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let stdin = process.stdin.take().unwrap();
        let mut supervisor = Self { scene, process, stdin, lines, guard: 0, cmd: 0 };
        supervisor.tell(&format!("start {times}"));
        supervisor.guard = supervisor.expect("guard ").parse().unwrap();
        supervisor.cmd = supervisor.expect("started ").parse().unwrap();
        supervisor
    }

    fn pid(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// The rest of the next line that begins so.
    fn expect(&self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {start:?}"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    fn expect_end(&self, start: &str) {
        let rest = self.expect("ended ");
        assert!(rest.starts_with(start), "{rest}");
        self.assert_all_dead();
    }

    /// At this very moment nothing of CMD lives.
    fn assert_all_dead(&self) {
        let pids = self.scene.pids();
        assert!(!pids.is_empty());
        for pid in pids {
            assert!(!alive(pid), "{pid} lives");
        }
        assert!(!alive(self.cmd));
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const LONG: &str = "600000 600000 600000";

/// CMD, a background child, one in a session of its own, and one orphaned in a session of its own,
/// all deaf to SIGTERM.
const FAMILY: &str = r#"
trap '' TERM
echo $$ >>"$PIDS"
sh -c 'echo $$ >>"$PIDS"; while :; do sleep 1000; done' &
setsid sh -c 'echo $$ >>"$PIDS"; while :; do sleep 1000; done' &
( (setsid sh -c 'echo $$ >>"$PIDS"; while :; do sleep 1000; done' &) & )
while :; do sleep 1000; done
"#;

#[test]
fn at_the_second_instant_everything_is_killed() {
    let supervisor = Supervisor::start(FAMILY, "700 1500 20000");
    supervisor.scene.wait_for_pids(4);
    supervisor.expect_end("lost=false overrun=0");
}

#[test]
fn at_the_first_instant_cmd_is_told_to_stop_and_its_exit_is_reported() {
    let script = r#"trap 'exit 7' TERM; echo $$ >>"$PIDS"; while :; do sleep 0.05; done"#;
    let supervisor = Supervisor::start(script, "1500 600000 600000");
    supervisor.scene.wait_for_pids(1);
    assert_eq!(supervisor.expect("exited "), "code 7");
    supervisor.expect_end("lost=false overrun=0");
}

#[test]
fn renewals_move_both_instants() {
    let mut supervisor = Supervisor::start(FAMILY, "2000 2500 600000");
    supervisor.scene.wait_for_pids(4);
    for _ in 0..30 {
        supervisor.tell("extend 2000 2500 600000");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(supervisor.scene.pids().into_iter().all(alive));
    supervisor.tell("extend 0 0 600000");
    supervisor.expect_end("lost=false overrun=0");
}

#[test]
fn a_killed_supervisor_leaves_nothing_behind() {
    let mut supervisor = Supervisor::start(FAMILY, LONG);
    supervisor.scene.wait_for_pids(4);
    supervisor.process.kill().unwrap();
    eventually("the guard is gone", || !alive(supervisor.guard));
    supervisor.assert_all_dead();
}

#[test]
fn a_killed_guard_is_replaced_by_the_supervisor() {
    let supervisor = Supervisor::start(FAMILY, LONG);
    supervisor.scene.wait_for_pids(4);
    signal(supervisor.guard, Signal::KILL);
    supervisor.expect("lost");
    supervisor.expect_end("lost=true overrun=0");
}

#[test]
fn a_guard_frozen_alone_changes_nothing_while_renewals_succeed() {
    let mut supervisor = Supervisor::start(FAMILY, "3000 3500 600000");
    supervisor.scene.wait_for_pids(4);
    freeze(supervisor.guard);
    // More than its socket holds, and past the first instants.
    for _ in 0..500 {
        for _ in 0..4 {
            supervisor.tell("extend 3000 3500 600000");
        }
        thread::sleep(Duration::from_millis(10));
    }
    supervisor.tell("extend 600000 600000 600000");
    thread::sleep(Duration::from_millis(200));
    thaw(supervisor.guard);
    thread::sleep(Duration::from_millis(300));
    assert!(supervisor.scene.pids().into_iter().all(alive));
    // The newest deadline reached it, and it still obeys.
    supervisor.tell("terminate");
    supervisor.tell("kill");
    supervisor.expect_end("lost=false overrun=0");
}

#[test]
fn a_guard_frozen_beyond_the_second_instant_is_replaced() {
    let mut supervisor = Supervisor::start(FAMILY, LONG);
    supervisor.scene.wait_for_pids(4);
    freeze(supervisor.guard);
    supervisor.tell("extend 100 200 20000");
    supervisor.expect_end("lost=true overrun=0");
    assert!(!alive(supervisor.guard));
}

#[test]
fn a_frozen_supervisor_changes_nothing_for_the_guard() {
    let supervisor = Supervisor::start(FAMILY, "1500 2000 600000");
    supervisor.scene.wait_for_pids(4);
    freeze(supervisor.pid());
    eventually("the guard is done", || !alive(supervisor.guard));
    supervisor.assert_all_dead();
    thaw(supervisor.pid());
    supervisor.expect_end("lost=false overrun=0");
}

#[test]
fn both_frozen_beyond_the_lease_is_measured() {
    let supervisor = Supervisor::start(FAMILY, "1500 1600 1800");
    supervisor.scene.wait_for_pids(4);
    freeze(supervisor.guard);
    freeze(supervisor.pid());
    thread::sleep(Duration::from_millis(2500));
    assert!(supervisor.scene.pids().into_iter().all(alive));
    thaw(supervisor.pid());
    let rest = supervisor.expect("ended ");
    supervisor.assert_all_dead();
    let overrun: u64 = rest.split(['=', ' ']).nth(3).unwrap().parse().unwrap();
    assert!(overrun >= 500, "{rest}");
}

#[test]
fn what_cmd_leaves_behind_is_told_to_stop_and_then_killed() {
    let script = r#"
        echo $$ >>"$PIDS"
        setsid sh -c 'trap "echo told >>$PIDS.told; exit" TERM; echo $$ >>"$PIDS"
            while :; do sleep 0.05; done' &
        (setsid sh -c 'trap "" TERM; echo $$ >>"$PIDS"; while :; do sleep 1000; done' &)
        while [ "$(wc -l <"$PIDS")" -lt 3 ]; do sleep 0.02; done
        exit 3"#;
    let supervisor = Supervisor::start(script, LONG);
    assert_eq!(supervisor.expect("exited "), "code 3");
    supervisor.expect_end("lost=false overrun=0");
    let told = std::fs::read_to_string(supervisor.scene.path("pids.told")).unwrap();
    assert_eq!(told, "told\n");
}

#[test]
fn a_stop_request_reaches_a_stopped_command_and_signals_are_forwarded() {
    let script = r#"
        trap 'echo usr1 >>"$PIDS.usr1"' USR1; trap 'exit 9' TERM
        echo $$ >>"$PIDS"; while :; do sleep 0.05; done"#;
    let mut supervisor = Supervisor::start(script, LONG);
    supervisor.scene.wait_for_pids(1);
    supervisor.tell("signal 10");
    eventually("the signal arrived", || supervisor.scene.path("pids.usr1").exists());
    freeze(supervisor.cmd);
    assert_eq!(state(supervisor.cmd), Some('T'));
    supervisor.tell("terminate");
    assert_eq!(supervisor.expect("exited "), "code 9");
    supervisor.expect_end("lost=false overrun=0");
}

#[test]
fn cmd_inherits_no_descriptor_and_only_its_own_variables() {
    let script = r#"
        echo $$ >>"$PIDS"; ls -l /proc/$$/fd >"$PIDS.fds"; env >"$PIDS.env""#;
    let supervisor = Supervisor::start(script, LONG);
    assert_eq!(supervisor.expect("exited "), "code 0");
    supervisor.expect_end("lost=false overrun=0");
    let read = |name: &str| std::fs::read_to_string(supervisor.scene.path(name)).unwrap();
    // The socket, the timers, the liveness lock: the list ends in the target of each descriptor.
    for line in read("pids.fds").lines() {
        let ours = ["socket:", "anon_inode:", "liveness"].iter().any(|word| line.contains(word));
        assert!(!ours, "{line}");
    }
    let env = read("pids.env");
    assert!(env.contains("CMD_ONLY=1") && !env.contains("LEASEHOLD_TEST_DRIVER"), "{env}");
}

#[test]
fn processes_that_keep_forking_into_new_sessions_do_not_escape() {
    let script = r#"
        trap '' TERM; echo $$ >>"$PIDS"
        hop='echo $$ >>"$PIDS"; sleep 0.01; setsid sh -c "$HOP" & exit 0'
        HOP=$hop; export HOP
        for i in 1 2 3; do setsid sh -c "$HOP" & done
        while :; do sleep 1000; done"#;
    let supervisor = Supervisor::start(script, "1500 2000 600000");
    supervisor.scene.wait_for_pids(20);
    supervisor.expect_end("lost=false overrun=0");
    let count = supervisor.scene.pids().len();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(supervisor.scene.pids().len(), count, "one still forks");
}

#[test]
fn a_command_that_cannot_run_ends_with_the_codes_of_a_shell() {
    let supervisor = Supervisor::start("exec /nonexistent/command", LONG);
    assert_eq!(supervisor.expect("exited "), "code 127");
    supervisor.expect("ended lost=false overrun=0");
}

#[test]
fn a_stopped_command_is_reported_once_and_a_signal_that_ends_it_reaches_it() {
    for number in [1, 3, 10, 12, 15] {
        let script = r#"echo $$ >>"$PIDS"; exec sleep 1000"#;
        let mut supervisor = Supervisor::start(script, LONG);
        supervisor.scene.wait_for_pids(1);
        freeze(supervisor.cmd);
        assert_eq!(supervisor.expect("stopped "), "19");
        supervisor.tell(&format!("signal {number}"));
        assert_eq!(supervisor.expect("exited "), format!("signal {number}"));
        supervisor.expect_end("lost=false overrun=0 dead=true");
    }
}

/// A signal that the parent had blocked must not leave us deaf, and CMD starts with nothing
/// blocked.
#[test]
fn a_signal_that_the_parent_blocked_is_heard() {
    let scene = Scene::new();
    let script =
        r#"grep SigBlk /proc/self/status >"$PIDS.mask"; echo $$ >>"$PIDS"; exec sleep 1000"#;
    let spawn = |scene: &Scene| {
        let mut command = common::command(env!("CARGO_BIN_EXE_leasehold").as_ref(), scene);
        command.args(["run", "-q", "--lock", "file:x.lock", "--", "sh", "-c", script]);
        command.spawn().unwrap()
    };
    // Of this thread alone, and inherited.
    let all = nix::sys::signal::SigSet::all();
    let mut process = thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            all.thread_block().unwrap();
            spawn(&scene)
        });
        blocked.join().unwrap()
    });
    scene.wait_for_pids(1);
    let mask = std::fs::read_to_string(scene.path("pids.mask")).unwrap();
    assert_eq!(mask, "SigBlk:\t0000000000000000\n");
    signal(process.id().try_into().unwrap(), Signal::TERM);
    let mut code = None;
    eventually("it has ended", || {
        code = process.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(143));
}

#[test]
fn a_command_has_the_priority_that_its_user_chose_and_the_guard_none_that_is_worse() {
    let nice = |pid: i32| -> i32 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        fields.split(' ').nth(16).unwrap().parse().unwrap()
    };
    let supervisor = Supervisor::start(r#"echo $$ >>"$PIDS"; exec sleep 1000"#, LONG);
    supervisor.scene.wait_for_pids(1);
    let own = nice(supervisor.pid());
    assert_eq!(nice(supervisor.cmd), own);
    let guard = nice(supervisor.guard);
    assert!(guard <= own);
    if rustix::process::geteuid().is_root() && own > -20 {
        assert!(guard < own, "root may");
    }
    let limits = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert_eq!(limits(supervisor.cmd), limits(supervisor.pid()));
}

#[test]
fn orphans_that_end_by_the_thousand_delay_no_kill() {
    // Each of them is an orphan of the guard, and of the supervisor once the guard is dead.
    let script = r#"
        trap '' TERM; echo $$ >>"$PIDS"
        storm='while :; do (sh -c "sleep 0.01 & exit" &) ; done'
        for i in 1 2 3 4; do setsid sh -c "trap '' TERM; $storm" & done
        while :; do sleep 1000; done"#;
    let supervisor = Supervisor::start(script, LONG);
    supervisor.scene.wait_for_pids(1);
    thread::sleep(Duration::from_millis(500));
    signal(supervisor.guard, Signal::KILL);
    supervisor.expect("lost");
    supervisor.expect_end("lost=true overrun=0 dead=true");
}

/// Where no group can be made, one that is required is refused; where one can be, a fork storm ends
/// with it.
#[test]
fn a_control_group_ends_a_storm_and_is_removed() {
    match cgroup::Group::create() {
        Err(_) => {
            let refused = leasehold_cli::guard::host::check(
                env!("CARGO_BIN_EXE_leasehold").as_ref(),
                cgroup::Mode::Require,
            );
            assert!(refused.unwrap_err().to_string().contains("control group"));
        }
        Ok(group) => {
            let directory = group.directory().to_owned();
            assert_eq!(group.state(), leasehold_guard::Cgroup::Empty);
            let mut shell = Command::new("sh");
            // It joins, and starts what keeps forking into new sessions.
            shell.args([
                "-c",
                r#"echo 0 >"$0/cgroup.procs"
                HOP='setsid sh -c "$HOP" & exit 0'; export HOP; setsid sh -c "$HOP" & sleep 1000"#,
            ]);
            let mut child = shell.arg(&directory).spawn().unwrap();
            eventually("it lives there", || group.state() == leasehold_guard::Cgroup::Populated);
            assert!(!group.members().is_empty());
            thread::sleep(Duration::from_millis(200));
            group.kill();
            child.wait().unwrap();
            eventually("nothing lives there", || group.state() == leasehold_guard::Cgroup::Empty);
            group.remove();
            assert!(!directory.exists());
            // The same by guard and supervisor.
            let supervisor = Supervisor::start_in(FAMILY, "700 1000 20000", "require");
            supervisor.scene.wait_for_pids(4);
            let text = std::fs::read_to_string(format!("/proc/{}/cgroup", supervisor.cmd));
            assert!(text.unwrap().contains("/leasehold-"));
            supervisor.expect_end("lost=false overrun=0 dead=true");
        }
    }
}
