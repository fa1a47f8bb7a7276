//! The thread of the supervisor that watches the guard.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, pidfd_open, waitid};
use tokio::sync::mpsc::UnboundedSender;

use super::board::Board;
use super::procs::{self, Process, Snapshot};
use super::supervise::{Ask, Ended, Event, Spec};
use super::terminal::Loan;
use super::wire::{self, Order, Received, Report};
use super::{Exit, Instants, process};
use crate::boot::{Time, Timer, now};

/// How long beyond the second instant the guard may take, at most, before the supervisor kills in its place: a
/// quarter of what is left until the lease may pass on, and no more than this.
const LEAD: Duration = Duration::from_millis(250);

/// How long the guard may take to kill when told to, before the supervisor kills in its place.
const KILL_NOW: Duration = Duration::from_millis(500);

/// The pause between two rounds of the supervisor's own killing.
const PAUSE: Duration = Duration::from_millis(2);

/// The thread's connections to the rest of the supervisor.
pub(super) struct Ends {
    pub(super) asked: Receiver<Ask>,
    pub(super) wake: Arc<OwnedFd>,
    pub(super) report: UnboundedSender<Event>,
}

pub(super) struct Watch {
    ends: Ends,
    guard: Child,
    pidfd: OwnedFd,
    /// `None` once nobody waits for the outcome: its closing makes the guard kill.
    socket: Option<OwnedFd>,
    timer: Timer,
    spared: Spared,
    loan: Option<Loan>,
    board: Board,
    /// Orders that did not fit the socket.
    unsent: VecDeque<Order>,
    instants: Instants,
    /// When a guard that was told to kill, or that has nothing more to do, must be done.
    kill_by: Time,
    killed_guard: bool,
    guard_over: bool,
    exit: Option<Exit>,
    failed: Option<u32>,
    gone: Option<Time>,
    clean_rounds: u32,
    grace: Duration,
    told_overdue: bool,
}

impl Watch {
    pub(super) fn start(
        spec: &Spec,
        liveness: Option<OwnedFd>,
        instants: Instants,
        ends: Ends,
    ) -> io::Result<Self> {
        let mut spared = Spared::present()?;
        let timer = Timer::new()?;
        let board = Board::new(instants)?;
        let (socket, far) = wire::pair()?;
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let loan = Loan::available(&stdin);
        let lender = loan.as_ref().map(|loan| loan.lender().as_raw_nonzero().get().unsigned_abs());
        let mut command = Command::new(&spec.program);
        command.arg0("leasehold").arg(process::SUBCOMMAND).arg("--").args(&spec.command);
        command.envs(spec.env.iter().map(|(name, value)| (name, value)));
        for name in &spec.env_remove {
            command.env_remove(name);
        }
        let guard = command.stdin(Stdio::from(far)).process_group(0).spawn()?;
        // It holds the far end, which must be the guard's alone.
        drop(command);
        let pid = i32::try_from(guard.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        // Not reaped yet, so the pid is still its own.
        spared.add_older_than(pid)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        // From here on CMD may run, and nothing fails.
        let order = Order::Start { grace: spec.grace, lender };
        let mut fds = vec![stdin.as_fd(), board.as_fd()];
        fds.extend(liveness.as_ref().map(AsFd::as_fd));
        wire::send(&socket, &order, &fds)?;
        drop(fds);
        Ok(Self {
            ends,
            pidfd,
            guard,
            socket: Some(socket),
            timer,
            spared,
            loan,
            board,
            unsent: VecDeque::new(),
            instants,
            kill_by: Time::NEVER,
            killed_guard: false,
            guard_over: false,
            exit: None,
            failed: None,
            gone: None,
            clean_rounds: 0,
            grace: spec.grace,
            told_overdue: false,
        })
    }

    pub(super) fn guard_pid(&self) -> u32 {
        self.guard.id()
    }

    /// Watches until everything is dead.
    pub(super) fn run(mut self) {
        // Taking the terminal back from the background stops whoever does not block this.
        let mut ttou = SigSet::empty();
        ttou.add(NixSignal::SIGTTOU);
        let _ = ttou.thread_block();
        loop {
            self.read_asks();
            self.send_unsent();
            let guard_ended = !self.guard_over && matches!(self.guard.try_wait(), Ok(Some(_)));
            // What it reported before it ended is still to be read.
            self.read_reports();
            if guard_ended {
                self.guard_over = true;
                if self.gone.is_none() {
                    self.tell(Event::GuardLost);
                }
            }
            let now = now();
            if now > self.instants.dead_by && self.gone.is_none() && !self.told_overdue {
                self.told_overdue = true;
                self.tell(Event::Overdue);
            }
            let wake = if self.guard_over {
                if let Some(ended) = self.sweep() {
                    return self.tell(Event::Ended(ended));
                }
                now + PAUSE
            } else if self.killed_guard {
                Time::NEVER
            } else if now >= self.backstop() {
                self.killed_guard = true;
                let _ = self.guard.kill();
                Time::NEVER
            } else {
                self.backstop()
            };
            self.wait(wake);
        }
    }

    fn tell(&self, event: Event) {
        // If nobody listens any more, the killing still has to be done.
        let _ = self.ends.report.send(event);
    }

    /// When the guard is no longer trusted to kill.
    fn backstop(&self) -> Time {
        let Instants { kill_at, dead_by, .. } = self.instants;
        (kill_at + LEAD.min(dead_by.since(kill_at) / 4)).min(self.kill_by)
    }

    /// The guard has no reason to take longer, whatever is renewed meanwhile.
    fn expect_end_within(&mut self, time: Duration) {
        self.kill_by = self.kill_by.min(now() + time + KILL_NOW);
    }

    fn wait(&self, wake: Time) {
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
        let _ = poll(&mut fds, None);
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut counter);
        let _ = rustix::io::read(&*self.ends.wake, &mut counter);
    }

    fn read_asks(&mut self) {
        while let Ok(ask) = self.ends.asked.try_recv() {
            match ask {
                Ask::Extend(instants) => {
                    self.instants = instants;
                    // What is half-written ends nothing early or late: our own instants hold as well.
                    let _ = self.board.post(instants);
                    // One that waits is enough, and so is a full socket: the guard looks when it has read it.
                    if self.unsent.is_empty() {
                        self.unsent.push_back(Order::Look);
                    }
                }
                Ask::Order(order) => {
                    if order == Order::Kill {
                        self.expect_end_within(Duration::ZERO);
                    }
                    self.unsent.push_back(order);
                }
                Ask::Reap => self.reap_orphans(),
                Ask::Abandon => {
                    self.expect_end_within(Duration::ZERO);
                    self.socket = None;
                }
            }
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

    fn read_reports(&mut self) {
        while let Some(socket) = &self.socket {
            match wire::receive(socket) {
                Received::Message(Report::Started(pid), _) => self.tell(Event::Started(pid)),
                Received::Message(Report::Exited { exit, by_itself }, _) => {
                    self.exit = Some(exit);
                    // Otherwise the instants, or an order to kill, say when.
                    if by_itself {
                        self.expect_end_within(self.grace);
                    }
                    self.tell(Event::Exited { exit, by_itself });
                }
                Received::Message(Report::Failed(errno), _) => self.failed = Some(errno),
                Received::Message(Report::Gone(at), _) => {
                    self.gone = Some(at);
                    self.expect_end_within(Duration::ZERO);
                }
                Received::Nothing => return,
                // Polled no longer: it would stay readable, and the pidfd tells the rest.
                Received::Closed => self.socket = None,
            }
        }
    }

    /// One round of the supervisor's own killing, after the guard has ended.
    fn sweep(&mut self) -> Option<Ended> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if matches!(waitid(WaitId::All, options), Err(Errno::CHILD)) {
            return Some(self.ended());
        }
        // There are children. Some may be spared, so that only /proc can tell.
        let all = Snapshot::take().ok()?;
        let own = all.descendants(getpid(), |child| self.spared.contains(child));
        if own.is_empty() {
            // A snapshot can miss one that is forked while it is taken; twice in a row it does not.
            self.clean_rounds += 1;
            return (self.clean_rounds >= 2).then(|| self.ended());
        }
        self.clean_rounds = 0;
        // The guard said otherwise, or did not live to say so.
        self.gone = None;
        all.signal(&own, Signal::KILL);
        for zombie in own.iter().filter(|process| process.zombie) {
            let _ = procs::reap(zombie.pid);
        }
        None
    }

    fn ended(&self) -> Ended {
        if let Some(loan) = &self.loan {
            loan.give_back(self.gone.is_none());
        }
        let dead_at = self.gone.unwrap_or_else(now);
        let overrun = dead_at.since(self.instants.dead_by);
        Ended {
            exit: self.exit,
            failed: self.failed,
            guard_lost: self.gone.is_none(),
            dead_at,
            overrun: (!overrun.is_zero()).then_some(overrun),
        }
    }

    /// Reaps orphans of processes that were here before the guard, which end up with a subreaper.
    fn reap_orphans(&self) {
        if !self.guard_over {
            reap_zombies(Some(self.guard.id()));
        }
    }
}

/// Reaps every child that has ended, except one.
pub(crate) fn reap_zombies(except: Option<u32>) {
    let Ok(all) = Snapshot::take() else { return };
    for child in all.children(getpid()).filter(|child| child.zombie) {
        if except != Some(child.pid.as_raw_nonzero().get().unsigned_abs()) {
            let _ = procs::reap(child.pid);
        }
    }
}

/// Children that are none of CMD's: a shell may have become this process and left its own behind.
#[derive(Debug)]
struct Spared {
    children: HashSet<(Pid, u64)>,
    /// What started before the guard does not descend from it.
    older_than: u64,
}

impl Spared {
    /// The present children.
    fn present() -> io::Result<Self> {
        let all = Snapshot::take()?;
        let children = all.children(getpid()).map(|child| (child.pid, child.start)).collect();
        Ok(Self { children, older_than: 0 })
    }

    fn add_older_than(&mut self, guard: Pid) -> io::Result<()> {
        self.older_than = Process::read(guard)?.start;
        Ok(())
    }

    fn contains(&self, child: &Process) -> bool {
        child.start < self.older_than || self.children.contains(&(child.pid, child.start))
    }
}
