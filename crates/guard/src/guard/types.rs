//! What goes into the guard, and what comes out.

use crate::{Depth, Evidence, Exit, Instants, Listing, Order, Process, Report, Targets, Time};

/// What the guard learns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GuardInput {
    /// An order of the supervisor.
    Order(Order),
    /// The channel of orders is closed: the supervisor is gone, or wants no outcome any more.
    SupervisorGone,
    /// These instants are in force.
    Posted(Instants),
    /// Answer to [`GuardAction::Start`]: CMD runs, with this pid, which is also its process group.
    Started(i32),
    /// Answer to [`GuardAction::Start`]: it could not be started; the error number.
    NotStarted(u32),
    /// `waitid` says that CMD's main process runs, or is stopped.
    Runs,
    /// CMD's main process was stopped by this signal, and the guard left it so.
    Stopped(u8),
    /// CMD's main process goes on.
    Continued,
    /// CMD's main process ended. Told once.
    Exited {
        /// How.
        exit: Exit,
        /// It is reaped: its group can be signalled no longer.
        reaped: bool,
    },
    /// Some child ended. May be told for many at once.
    ChildEnded,
    /// Answer to [`GuardAction::Look`]; `None` if nothing could be read.
    Listed(Option<Listing>),
    /// Answer to [`GuardAction::Wait`].
    Waited(Evidence),
}

/// What the guard is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GuardAction {
    /// Start CMD, in a process group of its own.
    Start,
    /// Send this signal to CMD's process group.
    SignalCmd(u8),
    /// Kill CMD's control group.
    KillCgroup,
    /// List the descendants.
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
    /// Reap whatever has ended, CMD's main process too (of which only then nothing is told any
    /// more), and ask what `wait` and the control group say.
    Wait,
    /// Tell the supervisor.
    Report(Report),
    /// Tell the supervisor that the guard works: it is killing, and something of CMD lived at this
    /// moment.
    Beat(Time),
    /// The end: give the terminal back, free the liveness lock, and if all is dead say so with
    /// [`Report::Gone`]. Nothing comes after it.
    Over(Verdict),
}

/// How the guard ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing of CMD lives, or was ever started.
    Dead {
        /// When something of it was last known to live.
        alive_at: Time,
        /// When the kernel said that nothing is left.
        dead_at: Time,
    },
    /// The supervisor is gone, the lease is over, the kill's grace too, and something lives: what
    /// was listed last.
    NotDead(Vec<Process>),
}
