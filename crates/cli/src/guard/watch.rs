//! The thread of the supervisor that watches the guard. What it decides is
//! [`leasehold_guard::Watch`]; here are its system calls.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use leasehold_guard::{
    Cgroup, Event, Evidence, Instants, Order, Outcome, Report, Watch, WatchAction, WatchInput,
};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::mpsc::UnboundedSender;
use tracing::debug;

use super::asks::{Ask, News, Spec};
use super::board::Board;
use super::cgroup::{Group, Mode};
use super::terminal::Loan;
use super::wire::{self, Received};
use super::{SUBCOMMAND, priority, procs};
use crate::boot::{Time, Timer, now};

/// The most that is read from one source, and the most actions that are done, between two looks at
/// the guard.
const MOST: usize = 128;

/// The thread's connections to the rest of the supervisor.
pub(super) struct Ends {
    pub(super) asked: Receiver<Ask>,
    /// Some child has ended that may not be the guard.
    pub(super) orphans: Arc<AtomicBool>,
    pub(super) wake: Arc<OwnedFd>,
    pub(super) report: UnboundedSender<News>,
}

pub(super) struct Thread {
    ends: Ends,
    watch: Watch,
    guard: Child,
    pidfd: OwnedFd,
    /// CMD's main process, which is asked how it ended if the guard dies.
    cmd: Option<OwnedFd>,
    /// It has ended.
    cmd_over: bool,
    guard_over: bool,
    /// `None` once nobody waits for the outcome: its closing makes the guard kill.
    socket: Option<OwnedFd>,
    timer: Timer,
    loan: Option<Loan>,
    board: Board,
    group: Option<Group>,
    /// Orders that did not fit the socket.
    unsent: VecDeque<Order>,
}

impl Thread {
    pub(super) fn start(
        spec: &Spec,
        liveness: Option<OwnedFd>,
        instants: Instants,
        ends: Ends,
    ) -> io::Result<Self> {
        let group = match spec.cgroup {
            Mode::Off => None,
            Mode::Auto => Group::create()
                .inspect_err(|error| debug!("no control group of its own for CMD: {error}"))
                .ok(),
            Mode::Require => Some(Group::create()?),
        };
        let directory = group.clone();
        let started = Self::start_in(spec, liveness, instants, ends, group);
        if let (Err(_), Some(group)) = (&started, directory) {
            group.remove();
        }
        started
    }

    fn start_in(
        spec: &Spec,
        liveness: Option<OwnedFd>,
        instants: Instants,
        ends: Ends,
        group: Option<Group>,
    ) -> io::Result<Self> {
        let spared = procs::own_pids()?;
        procs::keep()?;
        let (_, session) = procs::own_group_and_session()?;
        let timer = Timer::new()?;
        let board = Board::new(instants)?;
        let (socket, far) = wire::pair()?;
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let loan = Loan::available(&stdin);
        let lender = loan.as_ref().map_or(0, |loan| loan.lender().as_raw_pid());
        let mut command = Command::new(&spec.program);
        command.arg0("leasehold").arg(SUBCOMMAND).arg(lender.to_string());
        command.arg(group.as_ref().map_or(Path::new(""), Group::directory));
        command.arg("--").args(&spec.command);
        command.envs(spec.env.iter().map(|(name, value)| (name, value)));
        for name in &spec.env_remove {
            command.env_remove(name);
        }
        let guard = command.stdin(Stdio::from(far)).process_group(0).spawn()?;
        // It holds the far end, which must be the guard's alone.
        drop(command);
        let raw = i32::try_from(guard.id()).map_err(|_wide| Errno::SRCH)?;
        // Not reaped yet, so the pid is still its own.
        let pidfd = pidfd_open(Pid::from_raw(raw).ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
        // From here on CMD may run, and nothing fails.
        let mut fds = vec![stdin.as_fd(), board.as_fd()];
        fds.extend(liveness.as_ref().map(AsFd::as_fd));
        wire::send(&socket, &Order::Start { grace: spec.grace }, &fds)?;
        drop(fds);
        // The guard has the user's priority, to which CMD goes back.
        priority::raise();
        let watch = Watch::new(now(), raw, session, instants, spec.grace)
            .sparing(spared)
            .with_cgroup(group.is_some());
        Ok(Self {
            ends,
            watch,
            guard,
            pidfd,
            cmd: None,
            cmd_over: false,
            guard_over: false,
            socket: Some(socket),
            timer,
            loan,
            board,
            group,
            unsent: VecDeque::new(),
        })
    }

    pub(super) fn guard_pid(&self) -> u32 {
        self.guard.id()
    }

    /// Watches until everything is dead, or nothing more can be done.
    pub(super) fn run(mut self) {
        // Taking the terminal back from the background stops whoever does not block this.
        let mut ttou = SigSet::empty();
        ttou.add(NixSignal::SIGTTOU);
        let _ = ttou.thread_block();
        let mut noticed = false;
        loop {
            // The guard before everything that may wait in numbers.
            self.look_at_guard();
            self.read_awake();
            self.read_asks();
            self.read_reports();
            self.read_beat();
            // After the guard's reports: it may have said so already.
            if std::mem::take(&mut noticed) {
                self.tell(WatchInput::CmdEnded(None));
            }
            for _ in 0..MOST {
                match self.watch.poll(now()) {
                    Some(WatchAction::End(outcome)) => return self.end(outcome),
                    Some(action) => self.act(action),
                    None => break,
                }
            }
            self.send_unsent();
            noticed = self.wait(self.watch.next_deadline());
        }
    }

    fn tell(&mut self, input: WatchInput) {
        self.watch.handle(now(), input);
    }

    fn end(self, mut outcome: Outcome) {
        if outcome.dead {
            if let Some(loan) = &self.loan {
                loan.give_back(outcome.guard_lost);
            }
            if let Some(group) = &self.group {
                group.remove();
            }
        }
        outcome.left = outcome.left.into_iter().map(procs::with_user).collect();
        // If nobody listens any more, the killing still had to be done.
        let _ = self.ends.report.send(News::Ended(outcome));
    }

    /// Whether the guard has ended; what it reported before is told first.
    fn look_at_guard(&mut self) -> bool {
        if !self.guard_over && !matches!(self.guard.try_wait(), Ok(None)) {
            self.guard_over = true;
            // It writes no more, so that this ends.
            while self.read_reports() {}
            self.socket = None;
            self.tell(WatchInput::GuardEnded);
            // What the guard had is this process's now: it may ask how CMD ended.
            let exit = self.cmd.take().and_then(|cmd| procs::exit_of(&cmd));
            if exit.is_some() {
                self.tell(WatchInput::CmdEnded(exit));
            }
        }
        self.guard_over
    }

    /// Once CMD has started, its end shows without the guard, too.
    fn started(&mut self, pid: u32) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Some(Ok(cmd)) => self.cmd = Some(cmd),
            // The guard has reaped it.
            Some(Err(Errno::SRCH)) => self.tell(WatchInput::CmdEnded(None)),
            // Then only the guard knows.
            Some(Err(_)) | None => {}
        }
    }

    fn read_asks(&mut self) {
        if self.ends.orphans.swap(false, Ordering::AcqRel) {
            self.tell(WatchInput::ChildEnded);
        }
        for _ in 0..MOST {
            let Ok(ask) = self.ends.asked.try_recv() else { return };
            self.tell(match ask {
                Ask::Extend(instants) => WatchInput::Extend(instants),
                Ask::Order(order) => WatchInput::Order(order),
                Ask::Leave => WatchInput::Leave,
                Ask::Abandon => WatchInput::Abandon,
            });
        }
        // There may be more, which nobody announces again.
        let _ = rustix::io::write(&*self.ends.wake, &1_u64.to_ne_bytes());
    }

    /// Reads some reports. Whether there may be more.
    fn read_reports(&mut self) -> bool {
        for _ in 0..MOST {
            let Some(socket) = &self.socket else { return false };
            match wire::receive::<Report>(socket) {
                Received::Message(report, _) => {
                    self.tell(WatchInput::Report(report));
                    if let Report::Started(pid) = report {
                        self.started(pid);
                    }
                }
                Received::Nothing => return false,
                Received::Closed => {
                    // Polled no longer: it would stay readable, and the pidfd tells the rest.
                    self.socket = None;
                    self.tell(WatchInput::Closed);
                }
            }
        }
        true
    }

    fn read_awake(&mut self) {
        if let Some(at) = self.board.awake() {
            self.tell(WatchInput::Awake(at));
        }
    }

    fn read_beat(&mut self) {
        if let Some((at, alive_at)) = self.board.beaten() {
            self.tell(WatchInput::Beat { at, alive_at });
        }
    }

    fn send_unsent(&mut self) {
        let Some(socket) = &self.socket else { return };
        while let Some(order) = self.unsent.front() {
            match wire::send(socket, order, &[]) {
                Err(Errno::AGAIN) => return,
                // Any other failure means that the guard is dying, which its pidfd tells.
                Ok(()) | Err(_) => drop(self.unsent.pop_front()),
            }
        }
    }

    fn act(&mut self, action: WatchAction) {
        match action {
            // What is half-written ends nothing early or late: our own instants hold as well.
            WatchAction::Post(instants) => drop(self.board.post(instants)),
            // One look that waits is enough, and so is a full socket: the guard looks when it has
            // read it.
            WatchAction::Send(Order::Look) if !self.unsent.is_empty() => {}
            WatchAction::Send(order) => self.unsent.push_back(order),
            WatchAction::CloseChannel => self.socket = None,
            WatchAction::KillGuard => drop(self.guard.kill()),
            WatchAction::AskGuard => {
                if !self.look_at_guard() {
                    self.tell(WatchInput::GuardRuns);
                }
            }
            WatchAction::KillCgroup => self.group.iter().for_each(Group::kill),
            WatchAction::Look(depth) => {
                let listing = procs::list(depth, self.group.as_ref());
                self.tell(WatchInput::Listed(listing));
            }
            WatchAction::Signal { signal, targets } => procs::signal(&targets, signal),
            WatchAction::Reap(pids) => procs::reap(&pids),
            WatchAction::Wait => {
                let cgroup = self.group.as_ref().map_or(Cgroup::Unused, Group::state);
                let evidence = Evidence { children: procs::children(), cgroup };
                self.tell(WatchInput::Waited(evidence));
            }
            WatchAction::Tell(event) => {
                let event = match event {
                    Event::Left(left) => {
                        Event::Left(left.into_iter().map(procs::with_user).collect())
                    }
                    other => other,
                };
                let _ = self.ends.report.send(News::Event(event));
            }
            WatchAction::End(_) => {}
        }
    }

    /// Sleeps until something happens. Whether it is that CMD's main process has ended.
    fn wait(&mut self, wake: Time) -> bool {
        let _ = self.timer.arm(wake);
        let mut fds = vec![
            PollFd::new(&self.timer, PollFlags::IN),
            PollFd::new(&*self.ends.wake, PollFlags::IN),
        ];
        if !self.guard_over {
            fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
            if let Some(socket) = &self.socket {
                let full = !self.unsent.is_empty();
                let out = if full { PollFlags::OUT } else { PollFlags::empty() };
                fds.push(PollFd::new(socket, PollFlags::IN | out));
            }
        }
        let cmd = self.cmd.as_ref().filter(|_| !self.cmd_over);
        fds.extend(cmd.map(|cmd| PollFd::new(cmd, PollFlags::IN)));
        let _ = poll(&mut fds, None);
        // The last of them, and only once: it stays readable.
        let ended = cmd.and_then(|_| fds.last()).is_some_and(|fd| !fd.revents().is_empty());
        self.cmd_over |= ended;
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut counter);
        let _ = rustix::io::read(&*self.ends.wake, &mut counter);
        ended
    }
}
