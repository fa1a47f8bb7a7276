//! The guard process: starts CMD, and kills it in time whatever becomes of the supervisor.
//!
//! Single-threaded and without a runtime: what is not there cannot stall it. It writes to nobody but its socket,
//! since a full pipe would hold it up.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process_group, set_child_subreaper, waitid,
};

use super::board::Board;
use super::terminal::Loan;
use super::wire::{Order, Received, Report, receive, send};
use super::{Exit, Instants, exec, procs};
use crate::boot::{Time, Timer, now};

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "__guard";

/// The pauses between two rounds of killing.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
];

/// The hidden subcommand: `-- CMD…`, orders on standard input.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let command = arguments.strip_prefix(&[OsString::from("--")][..]).unwrap_or_default();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Guards `command` until it and everything it started is dead. Orders come on standard input.
///
/// # Errors
/// The kernel refused a timer or the like, and CMD was not started.
fn run(command: &[OsString]) -> io::Result<()> {
    let _ = rustix::thread::set_name(c"leasehold-guard");
    // Blocked, not ignored: for the kernel that is the same where the terminal is concerned, the mask is
    // emptied before CMD runs, and what was ignored before stays ignored for CMD.
    SigSet::all().thread_block()?;
    set_child_subreaper(Some(getpid()))?;
    let mut child_signals = SigSet::empty();
    child_signals.add(NixSignal::SIGCHLD);
    let guard = Guard {
        socket: io::stdin().as_fd().try_clone_to_owned()?,
        command,
        timer: Timer::new()?,
        children: SignalFd::with_flags(
            &child_signals,
            SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
        )?,
        orders: Orders::default(),
        work: Work::Waiting,
        board: None,
        instants: None,
        liveness: None,
        loan: None,
        killed: false,
    };
    guard.run();
    Ok(())
}

struct Guard<'a> {
    socket: OwnedFd,
    command: &'a [OsString],
    timer: Timer,
    children: SignalFd,
    orders: Orders,
    work: Work,
    board: Option<Board>,
    instants: Option<Instants>,
    /// Held open, nothing more: the lock is free once this is closed.
    liveness: Option<OwnedFd>,
    loan: Option<Loan>,
    /// CMD died of a signal, and left the terminal as it was just then.
    killed: bool,
}

/// What the supervisor wants, after all orders that waited were read.
#[derive(Default)]
struct Orders {
    start: Option<Start>,
    /// Signals for CMD's group, in order.
    signals: Vec<u8>,
    kill: bool,
    /// Somebody asked for a stop before CMD was started.
    stop: bool,
}

struct Start {
    grace: Duration,
    lender: Option<Pid>,
    stdin: OwnedFd,
}

enum Work {
    /// CMD was not started yet.
    Waiting,
    Started(Cmd),
    /// Nothing lives.
    Over,
}

/// CMD and what descends from it.
struct Cmd {
    pid: Pid,
    /// While it has not been reaped its pid, which is also the group's, belongs to nobody else.
    reaped: bool,
    exited: bool,
    /// SIGTERM was sent because the first instant passed.
    told: bool,
    grace: Duration,
    /// When what CMD left behind is killed.
    leftovers_until: Time,
    /// How many rounds of killing there were.
    rounds: usize,
}

impl Guard<'_> {
    fn run(mut self) {
        loop {
            // Before anything else, and to the end: only then is the clock looked at.
            self.read_orders();
            self.read_board();
            self.obey();
            self.observe();
            let Some(wake) = self.act(now()) else { break };
            self.wait(wake);
        }
        if let Some(loan) = &self.loan {
            loan.give_back(self.killed);
        }
        self.liveness = None;
        self.report(&Report::Gone(now()));
    }

    fn report(&self, report: &Report) {
        // At most four reports are ever sent, and they fit.
        let _ = send(&self.socket, report, &[]);
    }

    fn wait(&self, wake: Time) {
        let _ = self.timer.arm(wake);
        let mut fds = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(&self.timer, PollFlags::IN),
            PollFd::new(&self.children, PollFlags::IN),
        ];
        // After the end of the orders the socket would stay readable.
        let first = usize::from(self.orders.kill);
        let _ = poll(&mut fds[first..], None);
        let mut ticks = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut ticks);
        while let Ok(Some(_)) = self.children.read_signal() {}
    }

    fn read_orders(&mut self) {
        loop {
            let orders = &mut self.orders;
            match receive::<Order>(&self.socket) {
                Received::Message(Order::Start { grace, lender }, fds) => {
                    let mut fds = fds.into_iter();
                    let lender = lender.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
                    orders.start = fds.next().map(|stdin| Start { grace, lender, stdin });
                    self.board = fds.next().map(Board::open);
                    self.liveness = fds.next();
                }
                // They are looked at after every reading of orders.
                Received::Message(Order::Look, _) => {}
                Received::Message(Order::Terminate, _) => {
                    orders.stop = true;
                    orders.signals.push(procs::low_byte(Signal::TERM.as_raw()));
                }
                Received::Message(Order::Signal(number), _) => orders.signals.push(number),
                Received::Message(Order::Kill, _) => orders.kill = true,
                Received::Nothing => break,
                Received::Closed => {
                    orders.kill = true;
                    break;
                }
            }
        }
    }

    /// The newest instants, read after the orders and before the clock.
    fn read_board(&mut self) {
        // Half-written ones stay unread: those before them hold, until the end of the orders or their time.
        if let Some(instants) = self.board.as_ref().and_then(Board::read) {
            self.instants = Some(instants);
        }
    }

    /// Starts CMD and forwards signals.
    fn obey(&mut self) {
        let late = self.instants.is_none_or(|instants| now() >= instants.stop_at);
        if let Work::Waiting = self.work {
            if self.orders.kill || self.orders.stop {
                self.work = Work::Over;
            } else if let Some(start) = self.orders.start.take() {
                self.work = if late { Work::Over } else { self.start(start) };
            }
        }
        let signals = std::mem::take(&mut self.orders.signals);
        if let Work::Started(cmd) = &self.work {
            for signal in signals.into_iter().filter_map(|n| Signal::from_named_raw(n.into())) {
                cmd.signal_group(signal);
            }
        }
    }

    fn start(&mut self, start: Start) -> Work {
        if let Some(lender) = start.lender {
            self.loan = start.stdin.try_clone().ok().map(|terminal| Loan::new(terminal, lender));
        }
        let mut command = Command::new("/proc/self/exe");
        command.arg0("leasehold").arg(exec::SUBCOMMAND);
        command.arg(getpid().as_raw_pid().to_string());
        command.arg(if self.loan.is_some() { exec::FOREGROUND } else { exec::BACKGROUND });
        command.args(self.command).stdin(Stdio::from(start.stdin)).process_group(0);
        let failed = match command.spawn().map(|child| i32::try_from(child.id()).ok()) {
            Ok(pid) => match pid.and_then(Pid::from_raw) {
                Some(pid) => {
                    self.report(&Report::Started(pid.as_raw_nonzero().get().unsigned_abs()));
                    return Work::Started(Cmd::new(pid, start.grace));
                }
                None => Errno::SRCH.raw_os_error(),
            },
            Err(error) => error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
        };
        self.report(&Report::Failed(failed.unsigned_abs()));
        Work::Over
    }

    /// Learns who has ended.
    fn observe(&mut self) {
        let Work::Started(cmd) = &mut self.work else {
            return;
        };
        let exit = cmd.observe(self.loan.as_ref());
        if let Some(exit) = exit {
            // A requested stop may drain as long as the supervisor lets it, whoever of CMD does the draining.
            if !self.orders.stop {
                cmd.leftovers_until = now() + cmd.grace;
            }
            cmd.terminate_leftovers(cmd.told || self.orders.stop);
            self.killed = matches!(exit, Exit::Signal(_));
            let by_itself = !(cmd.told || cmd.rounds > 0 || self.orders.stop);
            self.report(&Report::Exited { exit, by_itself });
        }
    }

    /// What the clock demands. `None`: nothing lives; else when to look again.
    fn act(&mut self, now: Time) -> Option<Time> {
        let cmd = match &mut self.work {
            Work::Waiting => return Some(Time::NEVER),
            Work::Over => return None,
            Work::Started(cmd) => cmd,
        };
        if cmd.all_gone() {
            return None;
        }
        let never = Instants { stop_at: now, kill_at: now, dead_by: now };
        let instants = self.instants.unwrap_or(never);
        let kill_at = instants.kill_at.min(cmd.leftovers_until);
        if self.orders.kill || now >= kill_at {
            cmd.kill();
            let pause = PAUSES[cmd.rounds.min(PAUSES.len() - 1)];
            cmd.rounds += 1;
            return Some(now + pause);
        }
        if now >= instants.stop_at && !cmd.told {
            cmd.told = true;
            cmd.signal_group(Signal::TERM);
        }
        Some(if cmd.told { kill_at } else { kill_at.min(instants.stop_at) })
    }
}

impl Cmd {
    fn new(pid: Pid, grace: Duration) -> Self {
        Self {
            pid,
            reaped: false,
            exited: false,
            told: false,
            grace,
            leftovers_until: Time::NEVER,
            rounds: 0,
        }
    }

    /// Signals CMD's group. A stopped process sees SIGTERM only once it runs again.
    fn signal_group(&self, signal: Signal) {
        if self.reaped {
            return;
        }
        let _ = kill_process_group(self.pid, signal);
        if signal == Signal::TERM {
            let _ = kill_process_group(self.pid, Signal::CONT);
        }
    }

    /// Reaps what has ended, except CMD itself while others may be in its group. Returns CMD's exit once.
    fn observe(&mut self, loan: Option<&Loan>) -> Option<Exit> {
        if self.exited {
            self.reap_others();
            return None;
        }
        self.resume(loan);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if let Ok(Some(status)) = waitid(WaitId::Pid(self.pid), options) {
            let code = status.exit_status().map(|code| Exit::Code(procs::low_byte(code)));
            let signal = status.terminating_signal();
            let signal = signal.map(|number| Exit::Signal(procs::low_byte(number)));
            self.exited = true;
            return code.or(signal);
        }
        // It has not ended, so whatever is reaped here is somebody else; almost: it may end just now.
        while let Ok(Some((pid, exit))) = procs::reap_any() {
            if pid == self.pid {
                (self.exited, self.reaped) = (true, true);
                return Some(exit);
            }
        }
        None
    }

    /// A leader's command cannot be suspended from the terminal: nobody would be left to give the terminal back,
    /// and the lease would be kept for work that does not go on. SIGSTOP is left alone.
    fn resume(&self, loan: Option<&Loan>) {
        let Some(loan) = loan else { return };
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let Ok(Some(status)) = waitid(WaitId::Pid(self.pid), options) else {
            return;
        };
        let reading = [Signal::TTIN.as_raw(), Signal::TTOU.as_raw()];
        let resume = status.stopping_signal().is_some_and(|signal| {
            signal == Signal::TSTP.as_raw() || reading.contains(&signal) && loan.is_with(self.pid)
        });
        if resume {
            let _ = kill_process_group(self.pid, Signal::CONT);
        }
    }

    fn reap_others(&self) {
        let Ok(snapshot) = procs::Snapshot::take() else {
            return;
        };
        for child in snapshot.children(getpid()) {
            if child.zombie && child.pid != self.pid {
                let _ = procs::reap(child.pid);
            }
        }
    }

    /// Whether no descendant is left. CMD is reaped last.
    fn all_gone(&mut self) -> bool {
        if !self.exited {
            return false;
        }
        let others = procs::Snapshot::take().map(|all| self.others(&all));
        if !others.is_ok_and(|others| others.is_empty()) {
            return false;
        }
        loop {
            match procs::reap_any() {
                Ok(Some((pid, _))) => self.reaped |= pid == self.pid,
                // The snapshot missed one that forked while it was taken.
                Ok(None) => return false,
                Err(error) => return error == Errno::CHILD,
            }
        }
    }

    fn others(&self, all: &procs::Snapshot) -> Vec<procs::Process> {
        let mut found = all.descendants(getpid(), |_| false);
        found.retain(|process| self.reaped || process.pid != self.pid);
        found
    }

    /// CMD's main process has ended: what it left behind is told to stop, its group unless it was told before.
    fn terminate_leftovers(&self, group_was_told: bool) {
        let Ok(all) = procs::Snapshot::take() else {
            return self.signal_group(Signal::TERM);
        };
        let mut others = self.others(&all);
        others.retain(|process| !group_was_told || process.group != Some(self.pid));
        all.signal(&others, Signal::TERM);
        all.signal(&others, Signal::CONT);
    }

    fn kill(&self) {
        self.signal_group(Signal::KILL);
        if let Ok(all) = procs::Snapshot::take() {
            all.signal(&self.others(&all), Signal::KILL);
        }
    }
}
