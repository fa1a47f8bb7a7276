//! The scheduling priority of who watches over CMD, and CMD's own.

use rustix::process::{getpriority_process, setpriority_process};

/// The best there is.
const BEST: i32 = -20;

/// Gives this thread the best priority that the system grants, and returns the one it had, for CMD.
pub(super) fn raise() -> i32 {
    let own = getpriority_process(None).unwrap_or(0);
    // As far as RLIMIT_NICE lets us; without a right none.
    let _ = (BEST..own).any(|nice| setpriority_process(None, nice).is_ok());
    own
}

/// Puts back the priority that the user chose. To a worse one everybody may go.
pub(super) fn restore(nice: i32) {
    let _ = setpriority_process(None, nice);
}
