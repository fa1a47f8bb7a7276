//! What goes into the watch, and what comes out.

use std::time::Duration;

use crate::{Depth, Evidence, Exit, Instants, Listing, Order, Process, Report, Targets, Time};

/// What the watch learns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchInput {
    /// A renewal was acknowledged, or the time was cut short: these instants hold now.
    Extend(Instants),
    /// An order for the guard.
    Order(Order),
    /// Nobody waits for the outcome any more.
    Abandon,
    /// The user asks to end without waiting for what cannot be killed.
    Leave,
    /// Some child of this process ended. May be told for many at once.
    ChildEnded,
    /// A report of the guard.
    Report(Report),
    /// The guard works: it is killing at `at`, and something lived at `alive_at`.
    Beat {
        /// When it said so.
        at: Time,
        /// When something of CMD was last known to live.
        alive_at: Time,
    },
    /// The guard made a turn of its loop at this moment.
    Awake(Time),
    /// CMD's main process has ended, and nobody said so before. How, once the guard is dead: until
    /// then only the guard can ask.
    CmdEnded(Option<Exit>),
    /// The guard's end of the channel is closed. That is no death.
    Closed,
    /// Answer to [`WatchAction::AskGuard`]: its descriptor says that it has not ended.
    GuardRuns,
    /// The guard has ended (its descriptor says so), and what it had reported was told before. It
    /// is reaped.
    GuardEnded,
    /// Answer to [`WatchAction::Look`]; `None` if nothing could be read.
    Listed(Option<Listing>),
    /// Answer to [`WatchAction::Wait`].
    Waited(Evidence),
}

/// What the watch is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchAction {
    /// Post these instants for the guard.
    Post(Instants),
    /// Send this order to the guard, after those before it.
    Send(Order),
    /// Close the channel to the guard, which then kills.
    CloseChannel,
    /// Kill the guard.
    KillGuard,
    /// Ask whether the guard has ended.
    AskGuard,
    /// Kill CMD's control group.
    KillCgroup,
    /// List the descendants of this process.
    Look(Depth),
    /// Signal these.
    Signal {
        /// The number.
        signal: u8,
        /// Whom.
        targets: Targets,
    },
    /// Reap these children if they have ended.
    Reap(Vec<i32>),
    /// Ask what `wait` says, without reaping anybody, and what the control group says.
    Wait,
    /// Tell the rest of the supervisor.
    Tell(Event),
    /// The end. Nothing comes after it.
    End(Outcome),
}

/// What the rest of the supervisor is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// CMD runs, with this pid.
    Started(u32),
    /// CMD's main process ended; others may still live.
    Exited {
        /// How.
        exit: Exit,
        /// Before anybody told it to stop or killed it.
        by_itself: bool,
    },
    /// CMD's main process left others behind, which are told to stop.
    LeftBehind {
        /// How many lived when they were listed.
        count: u32,
        /// The pid of one of them.
        one: u32,
    },
    /// CMD was stopped by this signal and still holds the lock.
    Stopped(u8),
    /// The guard is stopped or frozen and does not do what is due; it is killed.
    GuardSilent,
    /// The guard is lost; the supervisor kills everything itself.
    GuardLost,
    /// A kill took longer than its grace: nothing may be renewed any more, so that the lease ends
    /// in time.
    StopRenewing,
    /// What cannot be killed.
    Left(Vec<Process>),
    /// The lease is over, and something may still live.
    Overdue,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// How CMD's main process ended; `None` if it was never started, or nobody was left to see it.
    pub exit: Option<Exit>,
    /// The error number, if CMD could not be started.
    pub failed: Option<u32>,
    /// The guard died, or was killed, before it was done.
    pub guard_lost: bool,
    /// The kernel says that nothing of CMD lives. Only then may the lease be given back.
    pub dead: bool,
    /// When something of CMD was last known to live.
    pub alive_at: Time,
    /// When the outcome was known.
    pub at: Time,
    /// When everything must have been dead.
    pub dead_by: Time,
    /// What lived when it was last listed, if not everything is dead.
    pub left: Vec<Process>,
}

impl Outcome {
    /// Whether the lease may be given back.
    #[must_use]
    pub fn may_release(&self) -> bool {
        self.dead
    }

    /// How long something lived beyond the lease, at least and at most; `None` if everything was
    /// dead in time.
    #[must_use]
    pub fn overrun(&self) -> Option<(Duration, Duration)> {
        let late = !self.dead || self.at > self.dead_by;
        let least = if self.dead { self.alive_at } else { self.at };
        late.then(|| (least.since(self.dead_by), self.at.since(self.dead_by)))
    }
}
