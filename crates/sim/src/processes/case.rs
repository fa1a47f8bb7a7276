//! Schedules: what a seed stands for.

use std::time::Duration;

use leasehold_guard::{Instants, Time};
use serde::{Deserialize, Serialize};

use crate::draw::{Draws, Purpose};

/// A schedule: a lease, a supervisor with its end in view, a process tree that does what it likes,
/// and what goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// All that is not said here is drawn by this number.
    pub seed: u64,
    /// How long the lease is.
    pub lease_ms: u64,
    /// How long before the lease's end everything is killed.
    pub margin_ms: u64,
    /// How long before that CMD is told to stop.
    pub grace_ms: u64,
    /// How the run ends, if nothing else ends it.
    pub finale: Finale,
    /// When.
    pub finale_ms: u64,
    /// How many children the supervisor had before.
    pub spared: u8,
    /// Each has a child of its own, in a session of their own.
    pub spared_sessions: bool,
    /// CMD has a control group.
    pub cgroup: bool,
    /// How many processes CMD's may start.
    pub forks: u32,
    /// How many may live at once.
    pub alive: usize,
    /// What CMD's processes do: a bit for each deed.
    pub deeds: u32,
    /// The pause between the steps of a process, at least, in microseconds.
    pub pace_us: u64,
    /// What a turn of guard or supervisor costs, in microseconds.
    pub turn_us: u64,
    /// How many processes are read in one turn.
    pub stride: usize,
    /// The greatest pid.
    pub max_pid: i32,
    /// How many messages fit the socket.
    pub socket: usize,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finale {
    /// SIGTERM to the supervisor: CMD drains for a while, is killed, and the lock is released.
    Terminate,
    /// Another leader is read: everything is killed at once.
    Superseded,
    /// No renewal succeeds any more.
    Refused,
    /// Nobody waits for the outcome.
    Abandon,
    /// CMD's main process ends by itself.
    Exits,
    /// SIGKILL for the supervisor.
    KillSupervisor,
    /// SIGKILL for the guard.
    KillGuard,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins, if `after` is 0.
    pub at_ms: u64,
    /// It begins when the guard has done this many things since it began to kill.
    pub after: u32,
    /// How long it lasts.
    pub for_ms: u64,
    /// What.
    pub kind: Kind,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// SIGSTOP for the guard, and later SIGCONT.
    FreezeGuard,
    /// The same for the supervisor.
    FreezeSupervisor,
    /// Each turn of the guard takes very long.
    StarveGuard,
    /// Each turn of the supervisor takes very long.
    StarveSupervisor,
    /// SIGKILL for the guard.
    KillGuard,
    /// SIGKILL for the supervisor.
    KillSupervisor,
    /// Nothing can be listed, for want of descriptors.
    Blind,
    /// Lists are not complete.
    Partial,
    /// `wait` fails.
    WaitFails,
    /// The guard says that everything is gone, and ends.
    GuardLies,
}

impl Kind {
    /// What is drawn, some more often than others.
    const ALL: [Self; 12] = [
        Self::FreezeGuard,
        Self::FreezeGuard,
        Self::FreezeSupervisor,
        Self::FreezeSupervisor,
        Self::StarveGuard,
        Self::StarveSupervisor,
        Self::KillGuard,
        Self::KillSupervisor,
        Self::Blind,
        Self::Partial,
        Self::WaitFails,
        Self::GuardLies,
    ];
}

impl Case {
    /// The instants of a renewal that left at `sent`.
    pub(super) fn instants(&self, sent: Time) -> Instants {
        let dead_by = sent + Duration::from_millis(self.lease_ms);
        let before = |ms: u64| sent + Duration::from_millis(self.lease_ms - ms);
        let kill_at = before(self.margin_ms);
        Instants { stop_at: before(self.margin_ms + self.grace_ms), kill_at, dead_by }
    }

    /// Whether it must end well: nothing goes wrong, and nothing makes CMD immortal or too quick.
    pub(super) fn is_quiet(&self) -> bool {
        let killed = matches!(self.finale, Finale::KillSupervisor | Finale::Abandon);
        self.faults.is_empty() && !killed
    }
}

impl Fault {
    pub(super) fn lasts(&self) -> Duration {
        Duration::from_millis(self.for_ms)
    }
}

pub(super) fn ms(n: u64) -> Time {
    Time(n * 1_000_000)
}

/// The schedule of a seed.
#[must_use]
pub fn generate(seed: u64) -> Case {
    let mut draws = Draws::new(seed, 0, Purpose::Config);
    let d = &mut draws;
    let lease_ms = *d.pick(&[1_000, 1_500, 3_000, 6_000]);
    let margin_ms = *d.pick(&[250, 400, 900]);
    let grace_ms = *d.pick(&[10, 100, (lease_ms - margin_ms) / 3]);
    let finale = *d.pick(&[
        Finale::Terminate,
        Finale::Terminate,
        Finale::Superseded,
        Finale::Refused,
        Finale::Refused,
        Finale::Refused,
        Finale::Abandon,
        Finale::Exits,
        Finale::Exits,
        Finale::KillSupervisor,
        Finale::KillGuard,
        Finale::KillGuard,
    ]);
    let finale_ms = d.between(0, 4 * lease_ms / 3);
    let spared = if d.chance(40) { 1 + u8::from(d.chance(40)) } else { 0 };
    let small = d.chance(25);
    let mut case = Case {
        seed,
        lease_ms,
        margin_ms,
        grace_ms,
        finale,
        finale_ms,
        spared,
        spared_sessions: d.chance(50),
        cgroup: d.chance(25),
        forks: if small { 3 } else { u32::try_from(d.between(4, 150)).unwrap_or(9) },
        alive: if small { 4 } else { d.index(18) + 4 },
        // Half of the deeds each time: what everything does at once hides what a few do.
        deeds: u32::try_from(d.any() >> 32).unwrap_or(0),
        pace_us: *d.pick(&[30, 300, 5_000, 50_000]),
        turn_us: *d.pick(&[2, 10, 40]),
        stride: *d.pick(&[1, 2, 8, 40]),
        max_pid: *d.pick(&[40, 70, 1_000_000]),
        socket: *d.pick(&[2, 8, 200]),
        faults: Vec::new(),
    };
    let mut draws = Draws::new(seed, 0, Purpose::Fault);
    let f = &mut draws;
    let count = if f.chance(25) { 0 } else { f.between(1, 3) };
    for _ in 0..count {
        let kind = *f.pick(&Kind::ALL);
        // Most of what matters happens near the end.
        let near = [case.finale_ms, case.finale_ms + case.lease_ms - case.margin_ms];
        let at_ms = match f.below(3) {
            0 => f.between(0, 2 * case.lease_ms),
            _ => (*f.pick(&near) + f.between(0, 700)).saturating_sub(200),
        };
        let long = *f.pick(&[3, 60, 400, 1_000, 4_000]);
        // Some hit the middle of the kill, which is short.
        let after = if f.chance(40) { u32::try_from(f.between(1, 12)).unwrap_or(1) } else { 0 };
        case.faults.push(Fault { at_ms, after, for_ms: f.between(1, long), kind });
    }
    if f.chance(5) {
        return sharp(case, f);
    }
    if f.chance(5) {
        return deaf(case, f);
    }
    case
}

/// The same, so that CMD ends while the guard stands still, and nothing else asks for an end.
fn deaf(case: Case, f: &mut Draws) -> Case {
    let at_ms = f.between(0, case.finale_ms + 20);
    let freeze = Fault { at_ms, after: 0, for_ms: 30_000, kind: Kind::FreezeGuard };
    Case { finale: Finale::Exits, faults: vec![freeze], ..case }
}

/// The same, so that the guard stops for good in the middle of its last kill, and there are only
/// sessions and hidden processes, which neither a group nor a list shows.
fn sharp(case: Case, f: &mut Draws) -> Case {
    let after = u32::try_from(f.between(2, 12)).unwrap_or(2);
    let freeze = Fault { at_ms: 0, after, for_ms: 6_000, kind: Kind::FreezeGuard };
    Case {
        lease_ms: 1_000,
        margin_ms: 250,
        grace_ms: 100,
        finale: Finale::Refused,
        finale_ms: 300,
        spared: 0,
        cgroup: false,
        forks: 30,
        alive: 12,
        deeds: 1 << 4 | 1 << 9,
        pace_us: 300,
        faults: vec![freeze],
        ..case
    }
}
