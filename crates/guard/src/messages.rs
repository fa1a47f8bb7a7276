//! What supervisor and guard say to each other.

use std::time::Duration;

use crate::Time;

/// The numbers of the signals that are sent here, as Linux counts on every architecture we build
/// for.
pub mod signal {
    /// A closed terminal.
    pub const HUP: u8 = 1;
    /// Ctrl-C.
    pub const INT: u8 = 2;
    /// Ctrl-\.
    pub const QUIT: u8 = 3;
    /// The end that nobody can refuse.
    pub const KILL: u8 = 9;
    /// Of free use.
    pub const USR1: u8 = 10;
    /// Of free use.
    pub const USR2: u8 = 12;
    /// A request to stop.
    pub const TERM: u8 = 15;
    /// Go on.
    pub const CONT: u8 = 18;
}

/// Whether a process that does not care about this signal ends by it. A stopped process gets it
/// only once it goes on.
#[must_use]
pub fn ends_by_default(number: u8) -> bool {
    use signal::{HUP, INT, QUIT, TERM, USR1, USR2};
    matches!(number, HUP | INT | QUIT | USR1 | USR2 | TERM)
}

/// What one acknowledged renewal means for CMD, as boot-clock instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instants {
    /// CMD is told to stop (SIGTERM to its group).
    pub stop_at: Time,
    /// CMD and all its descendants are killed.
    pub kill_at: Time,
    /// The lease may pass to another: everything must have been dead by then.
    pub dead_by: Time,
}

/// How CMD's main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

/// What the supervisor tells the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Start CMD.
    Start {
        /// How long what CMD leaves behind may take to stop.
        grace: Duration,
    },
    /// Other instants were posted.
    Look,
    /// Ask CMD to stop.
    Terminate,
    /// Send this signal to CMD's group.
    Signal(u8),
    /// Kill everything now.
    Kill,
}

/// What the guard tells the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// CMD runs, with this pid, which is also its process group.
    Started(u32),
    /// CMD's main process ended; others may still live.
    Exited {
        /// How.
        exit: Exit,
        /// Before the guard told it to stop or killed it.
        by_itself: bool,
    },
    /// CMD's main process left others behind, which are told to stop.
    LeftBehind {
        /// How many lived when they were listed.
        count: u32,
        /// The pid of one of them.
        one: u32,
    },
    /// CMD was stopped by this signal, and nobody here continues it.
    Stopped(u8),
    /// CMD could not be started; the error number.
    Failed(u32),
    /// Nothing of CMD lives. The last report.
    Gone {
        /// When something of it was last known to live.
        alive_at: Time,
        /// When the kernel said that nothing is left.
        dead_at: Time,
    },
}
