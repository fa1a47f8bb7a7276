//! The guard process: starts CMD, and kills it in time whatever becomes of the supervisor.
//!
//! What it decides is [`leasehold_guard::Guard`]; here are its system calls. Single-threaded and
//! without a runtime: what is not there cannot stall it. It writes to nobody but its socket, since
//! a full pipe would hold it up.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use leasehold_guard::{
    Cgroup, Children, Evidence, Exit, Guard, GuardAction, GuardInput, Order, Report, Verdict,
};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process_group, set_child_subreaper, waitid,
};

use super::board::Board;
use super::cgroup::Group;
use super::procs::State;
use super::terminal::Loan;
use super::wire::{Received, receive, send};
use super::{exec, host, priority, procs};
use crate::boot::{Time, Timer, now};

/// The most orders that are read, children that are reaped and actions that are done between two
/// looks at the clock and the board.
const MOST: usize = 128;

/// The most stops of CMD that are reported: reports that nobody reads must fit the socket.
const STOPS: u32 = 16;

/// The hidden subcommand: the group that lends the terminal or 0, the directory of CMD's control
/// group or nothing, and `-- CMD…`; orders on standard input. Or alone the check of the host.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    if arguments == [host::CHECK] {
        return host::check_guard();
    }
    let [lender, group, dashes, command @ ..] = arguments else { return ExitCode::FAILURE };
    if dashes != "--" {
        return ExitCode::FAILURE;
    }
    let lender = lender.to_str().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    let group = (!group.is_empty()).then(|| Group::open(PathBuf::from(group)));
    match Process::new(command, lender, group) {
        Ok(process) => {
            process.run();
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

struct Process<'a> {
    guard: Guard,
    socket: OwnedFd,
    command: &'a [OsString],
    timer: Timer,
    children: SignalFd,
    lender: Option<Pid>,
    group: Option<Group>,
    /// The priority that the user chose.
    nice: i32,
    stdin: Option<OwnedFd>,
    board: Option<Board>,
    /// Held open, nothing more: the lock is free once this is closed.
    liveness: Option<OwnedFd>,
    loan: Option<Loan>,
    /// CMD died of a signal, and left the terminal as it was just then.
    killed: bool,
    closed: bool,
    stops: u32,
    /// More may have ended than was reaped in one turn.
    more: bool,
    unsent: VecDeque<Report>,
}

impl<'a> Process<'a> {
    fn new(command: &'a [OsString], lender: Option<Pid>, group: Option<Group>) -> io::Result<Self> {
        let _ = rustix::thread::set_name(c"leasehold-guard");
        // Blocked, not ignored: for the kernel that is the same where the terminal is concerned,
        // the mask is emptied before CMD runs, and what was ignored before stays ignored for CMD.
        SigSet::all().thread_block()?;
        set_child_subreaper(Some(getpid()))?;
        let nice = priority::raise();
        let mut child_signals = SigSet::empty();
        child_signals.add(NixSignal::SIGCHLD);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let (_, session) = procs::own_group_and_session()?;
        procs::keep()?;
        Ok(Self {
            guard: Guard::new(now(), session, group.is_some()),
            socket: io::stdin().as_fd().try_clone_to_owned()?,
            command,
            timer: Timer::new()?,
            children: SignalFd::with_flags(&child_signals, flags)?,
            lender,
            group,
            nice,
            stdin: None,
            board: None,
            liveness: None,
            loan: None,
            killed: false,
            closed: false,
            stops: 0,
            more: false,
            unsent: VecDeque::new(),
        })
    }

    fn run(mut self) {
        loop {
            // The board comes after the orders and before the clock: thawed after a freeze however
            // long, the guard first learns of the renewals that it slept through.
            self.read_orders();
            self.read_board();
            self.observe();
            for _ in 0..MOST {
                let Some(action) = self.guard.poll(now()) else { break };
                if let GuardAction::Over(verdict) = action {
                    return self.end(&verdict);
                }
                self.act(action);
            }
            self.send_unsent();
            let more = std::mem::take(&mut self.more);
            self.wait(if more { Time(0) } else { self.guard.next_deadline() });
        }
    }

    /// Gives the terminal back and frees the liveness lock, in this order, and says so.
    fn end(mut self, verdict: &Verdict) {
        if let Some(loan) = &self.loan {
            loan.give_back(self.killed);
        }
        self.liveness = None;
        if let Verdict::Dead { alive_at, dead_at } = *verdict {
            if let Some(group) = &self.group {
                group.remove();
            }
            self.report(Report::Gone { alive_at, dead_at });
        }
    }

    fn tell(&mut self, input: GuardInput) {
        self.guard.handle(now(), input);
    }

    fn report(&mut self, report: Report) {
        self.unsent.push_back(report);
        self.send_unsent();
    }

    fn send_unsent(&mut self) {
        while let Some(report) = self.unsent.front() {
            // Full: later. Any other failure means that nobody listens.
            if send(&self.socket, report, &[]) == Err(Errno::AGAIN) {
                return;
            }
            self.unsent.pop_front();
        }
    }

    fn wait(&mut self, wake: Time) {
        let _ = self.timer.arm(wake);
        let full = !self.unsent.is_empty();
        let out = if full { PollFlags::OUT } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(&self.socket, PollFlags::IN | out),
            PollFd::new(&self.timer, PollFlags::IN),
            PollFd::new(&self.children, PollFlags::IN),
        ];
        // After the end of the orders the socket would stay readable.
        let first = usize::from(self.closed);
        let _ = poll(&mut fds[first..], None);
        let mut ticks = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut ticks);
        // The kernel keeps one of a kind, so that this ends.
        let mut ended = false;
        while let Ok(Some(_)) = self.children.read_signal() {
            ended = true;
        }
        if ended {
            self.tell(GuardInput::ChildEnded);
        }
    }

    fn read_orders(&mut self) {
        for _ in 0..MOST {
            if self.closed {
                return;
            }
            match receive::<Order>(&self.socket) {
                Received::Message(order, fds) => {
                    if let Order::Start { .. } = order {
                        let mut fds = fds.into_iter();
                        self.stdin = fds.next();
                        self.board = fds.next().map(Board::open);
                        self.liveness = fds.next();
                    }
                    self.tell(GuardInput::Order(order));
                }
                Received::Nothing => return,
                Received::Closed => {
                    self.closed = true;
                    self.tell(GuardInput::SupervisorGone);
                }
            }
        }
    }

    fn read_board(&mut self) {
        // Half-written ones stay unread: those before them hold, until the end of the orders or
        // their time.
        let Some(board) = &self.board else { return };
        board.wake(now());
        if let Some(instants) = board.read() {
            self.tell(GuardInput::Posted(instants));
        }
    }

    /// Learns what became of CMD's main process, and reaps what else has ended, while that one
    /// runs.
    fn observe(&mut self) {
        let Some(cmd) = self.guard.cmd().and_then(Pid::from_raw) else { return };
        if self.guard.has_exited() {
            return;
        }
        self.observe_stops(cmd);
        if let State::Ended(exit) = procs::state(cmd) {
            return self.exited(exit, false);
        }
        self.tell(GuardInput::Runs);
        // It has not ended, so whatever is reaped here is somebody else; almost: it may end just
        // now.
        for _ in 0..MOST {
            match procs::reap_any() {
                Ok(Some((pid, exit))) if pid == cmd => return self.exited(exit, true),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
        self.more = true;
    }

    fn exited(&mut self, exit: Exit, reaped: bool) {
        self.killed = matches!(exit, Exit::Signal(_));
        self.tell(GuardInput::Exited { exit, reaped });
    }

    /// A leader's command cannot be suspended from the terminal: nobody would be left to give the
    /// terminal back, and the lease would be kept for work that does not go on. Any other stop is
    /// left alone, and reported.
    fn observe_stops(&mut self, cmd: Pid) {
        let changes = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
        let Ok(Some(status)) = waitid(WaitId::Pid(cmd), changes) else { return };
        let Some(number) = status.stopping_signal() else {
            return self.tell(GuardInput::Continued);
        };
        let reading = [Signal::TTIN.as_raw(), Signal::TTOU.as_raw()];
        let resume = self.loan.as_ref().is_some_and(|loan| {
            number == Signal::TSTP.as_raw() || reading.contains(&number) && loan.is_with(cmd)
        });
        if resume {
            let _ = kill_process_group(cmd, Signal::CONT);
        } else if self.stops < STOPS {
            self.stops += 1;
            self.tell(GuardInput::Stopped(procs::low_byte(number)));
        }
    }

    fn act(&mut self, action: GuardAction) {
        match action {
            GuardAction::Start => {
                let started = self.start();
                self.tell(started);
            }
            GuardAction::SignalCmd(number) => {
                let cmd = self.guard.cmd().and_then(Pid::from_raw);
                let signal = Signal::from_named_raw(number.into());
                if let (Some(cmd), Some(signal)) = (cmd, signal) {
                    let _ = kill_process_group(cmd, signal);
                }
            }
            GuardAction::KillCgroup => self.group.iter().for_each(Group::kill),
            GuardAction::Look(depth) => {
                let listing = procs::list(depth, self.group.as_ref());
                self.tell(GuardInput::Listed(listing));
            }
            GuardAction::Signal { signal, targets } => procs::signal(&targets, signal),
            GuardAction::Reap(pids) => procs::reap(&pids),
            GuardAction::Wait => {
                let evidence = self.reap_all();
                self.tell(GuardInput::Waited(evidence));
            }
            GuardAction::Report(report) => self.report(report),
            GuardAction::Beat(alive_at) => {
                if let Some(board) = &self.board {
                    board.beat(now(), alive_at);
                }
            }
            GuardAction::Over(_) => {}
        }
    }

    fn start(&mut self) -> GuardInput {
        let Some(stdin) = self.stdin.take() else {
            return GuardInput::NotStarted(Errno::BADF.raw_os_error().unsigned_abs());
        };
        if let Some(lender) = self.lender {
            self.loan = stdin.try_clone().ok().map(|terminal| Loan::new(terminal, lender));
        }
        let mut command = Command::new("/proc/self/exe");
        command.arg0("leasehold").arg(exec::SUBCOMMAND);
        command.arg(getpid().as_raw_pid().to_string());
        command.arg(if self.loan.is_some() { exec::FOREGROUND } else { exec::BACKGROUND });
        command.arg(self.nice.to_string());
        command.arg(self.group.as_ref().map_or(Path::new(""), Group::directory));
        command.args(self.command).stdin(Stdio::from(stdin)).process_group(0);
        match command.spawn().map(|child| i32::try_from(child.id()).ok()) {
            Ok(Some(pid)) => GuardInput::Started(pid),
            Ok(None) => GuardInput::NotStarted(Errno::SRCH.raw_os_error().unsigned_abs()),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
                GuardInput::NotStarted(errno.unsigned_abs())
            }
        }
    }

    /// Reaps what has ended, with CMD's main process.
    fn reap_all(&self) -> Evidence {
        let cgroup = self.group.as_ref().map_or(Cgroup::Unused, Group::state);
        for _ in 0..MOST {
            let children = match procs::reap_any() {
                Ok(Some(_)) => continue,
                Ok(None) => Children::Some,
                Err(Errno::CHILD) => Children::None,
                Err(_) => Children::Unknown,
            };
            return Evidence { children, cgroup };
        }
        Evidence { children: Children::Some, cgroup }
    }
}
