//! The guard: a process between the supervisor (`leasehold run`) and CMD, which outlives the supervisor.
//!
//! A frozen supervisor stops all its threads and a killed one frees its locks before its child is dead. So CMD is
//! the child of another process, our own binary run again, which does nothing but kill in time:
//!
//! ```text
//! supervisor ── orders: start, look, terminate, signal, kill ──> guard ── exec ── CMD ── …
//!            ── board: stop at, kill at, dead by ──────────────>
//!            <── reports: started, exited, gone ───────────────
//! ```
//!
//! - Supervisor and guard are child subreapers: whatever CMD starts, in whatever session and however deep, stays a
//!   descendant of the guard, and becomes one of the supervisor if the guard dies.
//! - The guard's standard input is a `SOCK_SEQPACKET` socket. Over it come orders, CMD's standard input, the
//!   descriptor of the liveness lock (which the guard keeps until everything is dead) and that of the board.
//! - With every acknowledged renewal the supervisor posts boot-clock [`Instants`] on the board, a small file in
//!   memory: SIGTERM at the first, SIGKILL at the second.
//! - The guard reads all waiting orders and then the board before it looks at the clock: thawed after a freeze
//!   however long, it first learns of the renewals it slept through. End of file is the supervisor's
//!   death: it kills at once.
//! - The supervisor watches the guard through a pidfd and keeps the same instants: when the guard dies, or is
//!   not done shortly after the second, it kills the guard and every descendant that then becomes its own, except
//!   those it had before it started the guard.
//! - Nobody sends so that it could block: an order that does not fit waits.
//! - Each descriptor is close-on-exec: CMD inherits none. CMD has a process group of its own and is
//!   signalled by group while it has not been reaped (a pid cannot be reused before that), others
//!   by pidfd after their start time was compared.
//! - "Gone" is proven by the kernel: `wait` says that no child remains, and every descendant has an ancestor
//!   among the children.

mod board;
pub mod exec;
pub mod process;
pub mod procs;
pub mod supervise;
pub mod terminal;
mod watch;
pub mod wire;

pub(crate) use watch::reap_zombies;

use crate::boot::Time;

/// What one acknowledged renewal means for CMD, as boot-clock instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instants {
    /// CMD is told to stop (SIGTERM to its group).
    pub stop_at: Time,
    /// CMD and all its descendants are killed.
    pub kill_at: Time,
    /// The lease may pass to another: everything must have been dead by then.
    pub dead_by: Time,
}

/// How CMD's main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}
