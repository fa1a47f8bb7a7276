//! What the guard of a command and its supervisor decide, as two pure state machines.
//!
//! `leasehold run -- CMD` promises that CMD, with everything it started, is dead before the lease
//! can pass on. Two processes keep that promise: the [`Guard`], whose child is CMD, and the
//! supervisor, one thread of which is the [`Watch`] over the guard. Here is what they decide; the
//! system calls are made elsewhere.
//!
//! Nothing here knows a process, a clock, a file or a log: time, answers and messages come in
//! through `handle`, and what is to be done goes out through `poll`. Real system calls and a model
//! of a kernel drive the same objects.
//!
//! **How to drive them.** In each turn tell what was learnt (`handle`), then call `poll` with a
//! clock that was just read, carry out the action, tell its answer, and so on until `poll` returns
//! `None`; then sleep until `next_deadline` or until something is to be told. `poll` may be called
//! at any time, also while an answer is due.
//!
//! **What is kept**
//! - Death is a statement of the kernel ([`Children::None`] of `wait`; for a supervisor with
//!   children of its own, a complete list of its children without any other). What is not listed,
//!   not readable or not answered is alive.
//! - Nothing is released ([`Outcome::may_release`]) while anything of CMD lives.
//! - At the second instant everything is killed. What is not dead at the last one is reported by
//!   name.
//! - Renewals must stop ([`Event::StopRenewing`]) when a kill took longer than [`KILL_GRACE`].
//! - A closed channel, a silent guard, an empty list are no deaths. A closed channel makes the
//!   guard kill at once.
//! - A guard that does nothing is not trusted to say that CMD has ended, nor waited for to start
//!   it.
//! - Every loop ends, and what the clock demands comes before everything that waits.

mod defect;
mod guard;
mod messages;
mod process;
mod sweep;
#[cfg(test)]
mod tests;
mod watch;

#[cfg(feature = "mutants")]
pub use defect::Defect;
#[cfg(not(feature = "mutants"))]
use defect::Defect;
pub use guard::{Guard, GuardAction, GuardInput, Verdict};
pub use leasehold_core::Time;
pub use messages::{Exit, Instants, Order, Report, ends_by_default, signal};
pub use process::{Cgroup, Children, Depth, Evidence, Listing, Process, Seen, Target, Targets};
pub use sweep::{KILL_GRACE, KILL_NOW, SILENT, STARTING};
pub use watch::{Event, Outcome, Watch, WatchAction, WatchInput};
