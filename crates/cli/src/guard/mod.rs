//! The guard: a process between the supervisor (`leasehold run`) and CMD, which outlives the
//! supervisor.
//!
//! A frozen supervisor stops all its threads and a killed one frees its locks before its child is
//! dead. So CMD is the child of another process, our own binary run again, which does nothing but
//! kill in time:
//!
//! ```text
//! supervisor ── orders: start, look, terminate, signal, kill ──> guard ── exec ── CMD ── …
//!            ── board: stop at, kill at, dead by ──────────────>
//!            <── board: awake at, killing at, alive at ───────
//!            <── reports: started, exited, stopped, gone ──────
//! ```
//!
//! What both decide is in `leasehold_guard`, pure; here are the system calls (`process` and `watch`
//! drive them, `procs` and `cgroup` ask the kernel and signal).
//!
//! - Supervisor and guard are child subreapers: whatever CMD starts, in whatever session and
//!   however deep, stays a descendant of the guard, and becomes one of the supervisor if the guard
//!   dies.
//! - The guard's standard input is a `SOCK_SEQPACKET` socket. Over it come orders, CMD's standard
//!   input, the descriptor of the liveness lock (which the guard keeps until everything is dead)
//!   and that of the board.
//! - With every acknowledged renewal the supervisor posts boot-clock [`Instants`] on the board, a
//!   small file in memory: SIGTERM at the first, SIGKILL at the second.
//! - The guard reads orders and then the board before it looks at the clock: thawed after a freeze
//!   however long, it first learns of the renewals it slept through. End of file is the
//!   supervisor's death: it kills at once.
//! - The supervisor watches the guard through a pidfd and keeps the same instants: when the guard
//!   dies, or is not done shortly after the second and does not say that it works, it kills the
//!   guard and every descendant that then becomes its own, except the children it had before and
//!   those that came while the guard ran.
//! - The supervisor holds a pidfd of CMD's main process, too: a guard that is frozen when CMD ends
//!   cannot say so. It answers every order on the board by when it was last awake; one that does
//!   not is killed and replaced.
//! - Nobody sends so that it could block: an order that does not fit waits.
//! - Each descriptor is close-on-exec: CMD inherits none. CMD has a process group of its own and is
//!   signalled by group while it has not been reaped (a pid cannot be reused before that), children
//!   by their pid for the same reason, others by pidfd after their start time was compared.
//! - "Gone" is proven by the kernel: `wait` says that no child remains, and every descendant has an
//!   ancestor among the children. No list is a proof (docs/RUN.md has the whole argument).

mod asks;
mod board;
pub mod cgroup;
pub mod exec;
pub mod host;
mod priority;
pub mod process;
pub mod procs;
pub mod supervise;
pub mod terminal;
mod watch;
pub mod wire;

pub use leasehold_guard::{Event, Exit, Instants, Outcome};

use std::time::Duration;

/// The name of the hidden subcommand by which our binary is the guard.
pub const SUBCOMMAND: &str = "__guard";

use leasehold::status::printable;
use leasehold_guard::{Depth, Process};

/// Orphans of others, which end up with a subreaper and with the first process of a container.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Those that had ended at the last look.
    ended: Vec<i32>,
}

impl Orphans {
    /// The pause between two looks: a child that this process started for itself is left to who
    /// waits for it.
    pub(crate) const PAUSE: Duration = Duration::from_secs(1);

    /// Reaps every child that had ended at the last look, and has still not been reaped. Whether
    /// there are more.
    pub(crate) fn look(&mut self) -> bool {
        let Some(listing) = procs::list(Depth::Children, None) else { return false };
        let ended = listing.processes.iter().filter(|child| child.ended).map(|child| child.pid);
        let (old, new): (Vec<i32>, Vec<i32>) = ended.partition(|pid| self.ended.contains(pid));
        procs::reap(&old);
        self.ended = new;
        !self.ended.is_empty()
    }
}

/// The most processes that a sentence names.
const NAMED: usize = 8;

/// These processes in words: pid, command, state and user of each.
#[must_use]
pub fn names(left: &[Process]) -> String {
    let named: Vec<String> = left.iter().take(NAMED).map(name).collect();
    let more = left.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

fn name(process: &Process) -> String {
    let pid = process.pid;
    let Some(seen) = &process.seen else { return format!("{pid} (hidden from this user)") };
    let name = printable(&seen.name).at_most(64);
    let state = match seen.state {
        'D' => "D, in uninterruptible sleep".to_owned(),
        'T' | 't' => "T, stopped".to_owned(),
        state => state.to_string(),
    };
    let user = seen.user.map(|user| format!(", user {}", user_name(user))).unwrap_or_default();
    format!("{pid} ({name}, state {state}{user})")
}

/// The name of a user as this host's file has it, else the number.
fn user_name(user: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = users.lines().map(|line| line.split(':'));
    let name = lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then_some(name)
    });
    name.map_or_else(|| user.to_string(), |name| printable(name).at_most(64).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_guard::Seen;

    #[test]
    fn what_is_left_is_named_on_one_line_and_not_without_end() {
        let seen = Seen {
            start: 1,
            group: 2,
            session: 2,
            state: 'D',
            name: "a\x1b[2J\nb".to_owned(),
            user: Some(4_000_000_000),
        };
        let of = |pid, seen| Process { pid, root: Some(pid), ended: false, seen };
        let text = names(&[of(7, Some(seen)), of(8, None)]);
        let first = r"7 (a\u{1b}[2J\nb, state D, in uninterruptible sleep, user 4000000000)";
        assert_eq!(text, format!("{first}, 8 (hidden from this user)"));
        let many: Vec<Process> = (1..=20).map(|pid| of(pid, None)).collect();
        assert!(names(&many).ends_with("and 12 more"));
    }
}
