//! What became of a term, as far as the supervisor knows, and what it says of it.

use std::time::Duration;

use leasehold::Loss;
use leasehold::status::printable;
use leasehold::timing::Time;
use leasehold_guard::Process;
use tracing::{debug, error, info, warn};

use crate::guard::{self, Event, Exit, Outcome};
use crate::signals;

/// What the supervisor decided about a running CMD.
#[derive(Default)]
pub(super) struct Course {
    /// The signal that asked for a stop.
    pub(super) stop: Option<u8>,
    /// When it did.
    pub(super) stopped_at: Option<Time>,
    /// When CMD is killed although it still drains.
    pub(super) drained_by: Option<Time>,
    pub(super) loss: Option<Loss>,
    /// CMD's main process ended before anybody asked for it.
    pub(super) ended_by_itself: Option<Exit>,
    /// When the end is to be heard of, at the latest: everything was killed long before.
    pub(super) heard_by: Option<Time>,
    /// Something could not be killed in time, and renewals have stopped.
    pub(super) stuck: bool,
}

impl Course {
    pub(super) fn note(&mut self, event: Event) {
        match event {
            Event::Started(pid) => info!(pid, "CMD runs"),
            Event::Exited { exit, by_itself } => {
                debug!("CMD's main process ended: {exit:?}");
                if by_itself && self.stop.is_none() && self.loss.is_none() {
                    self.ended_by_itself = Some(exit);
                }
            }
            Event::LeftBehind { count, one } => {
                let others = if count == 1 { "1 process" } else { &format!("{count} processes") };
                let name = command_name(one);
                info!("CMD left {others} behind (such as {one}{name}): stopping what is left");
            }
            Event::Stopped(number) => {
                warn!("CMD is stopped ({}) and still holds the lock", signals::name(number));
            }
            Event::GuardSilent => warn!(
                "the guard is stopped or frozen, and CMD has ended or was never started: killing \
                 the guard"
            ),
            Event::GuardLost => warn!("the guard is lost: killing CMD"),
            Event::Overdue => error!(
                "the lease is over and CMD, or something it started, may still live: another \
                 leader may run at the same time; still killing"
            ),
            Event::Left(left) => error!("SIGKILL has no effect on {}", guard::names(&left)),
            Event::StopRenewing => {}
        }
    }

    pub(super) fn expect_end(&mut self, killed_at: Time) {
        let heard_by = killed_at + 2 * leasehold_guard::KILL_GRACE;
        self.heard_by = Some(self.heard_by.map_or(heard_by, |earlier| earlier.min(heard_by)));
    }

    pub(super) fn stop_renewing(&mut self, now: Time, dead_by: Time) {
        self.stuck = true;
        // It did not drain, and must not be asked again.
        self.drained_by = None;
        error!(
            "CMD, or something it started, is not known to be dead {:?} after it was killed: \
             renewing no longer, and releasing nothing; the lease runs out in {:.1?}",
            leasehold_guard::KILL_GRACE,
            dead_by.since(now)
        );
    }
}

/// Says that something outlived the lease, or may have.
pub(super) fn outlived(ended: &Outcome, least: Duration, most: Duration) {
    let overrun_ms = u64::try_from(least.as_millis()).unwrap_or(u64::MAX);
    if !ended.dead {
        let left: &[Process] = &ended.left;
        let who = if left.is_empty() { "unknown processes".to_owned() } else { guard::names(left) };
        error!(
            overrun_ms,
            "what CMD started is not dead: {who}; nothing was released, the lease runs out by \
             itself: another leader may run at the same time"
        );
    } else if least.is_zero() {
        error!(
            overrun_ms,
            "CMD, or something it started, was found dead {most:?} after the end of the lease, and \
             when it died is not known: another leader may have run at the same time"
        );
    } else {
        error!(
            overrun_ms,
            "CMD, or something it started, lived {least:?} longer than the lease: another leader \
             may have run at the same time"
        );
    }
}

/// The name of this process's command, behind a blank, if it can still be read.
fn command_name(pid: u32) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    let name = name.trim_end_matches('\n');
    if name.is_empty() { String::new() } else { format!(" {}", printable(name)) }
}
