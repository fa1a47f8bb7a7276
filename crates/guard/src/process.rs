//! Processes as a list shows them, and what counts as evidence.

use std::collections::BTreeSet;

/// One process of a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// The child of the asking process that it descends from; for a child its own pid. `None` for a
    /// process that is in CMD's control group and descends from nobody here any more.
    pub root: Option<i32>,
    /// It has ended. Of a child `waitid` says so, asked by its pid, and it is not reaped yet; of
    /// others `/proc`.
    pub ended: bool,
    /// What `/proc` shows of it. `None` if it shows nothing, or was not asked: that is no sign of
    /// death.
    pub seen: Option<Seen>,
}

/// What `/proc` shows of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// When it started, in clock ticks since boot. With the pid it names one process for ever.
    pub start: u64,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// The kernel's letter for its state.
    pub state: char,
    /// The name of its command, raw.
    pub name: String,
    /// Its user, if that is known.
    pub user: Option<u32>,
}

impl Process {
    /// Whether it is a child of the asking process. Its pid cannot pass to another before it is
    /// reaped.
    #[must_use]
    pub fn is_child(&self) -> bool {
        self.root == Some(self.pid)
    }
}

/// How far a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// The children, and of each only whether it has ended. Cheap.
    Children,
    /// All descendants as far as they can be read, with what `/proc` shows, and who else is in
    /// CMD's control group.
    All,
}

/// The descendants of the asking process at about one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listing {
    /// How far it goes.
    pub depth: Depth,
    /// Parents before their children.
    pub processes: Vec<Process>,
    /// Every child that was there during the whole reading is among them. Nothing of the kind can
    /// be said of descendants further down.
    pub complete: bool,
}

/// What `wait` says of the asking process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Children {
    /// ECHILD: it has no children, ended or not, and so no descendants.
    None,
    /// It has some.
    Some,
    /// The call failed in another way.
    Unknown,
}

/// What the control group made for CMD says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cgroup {
    /// There is none.
    Unused,
    /// Nothing lives in it. No proof of death, since its members may move elsewhere.
    Empty,
    /// Something lives in it.
    Populated,
    /// It could not be asked.
    Unknown,
}

/// The answer to the question whether anything lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// Of `wait`.
    pub children: Children,
    /// Of the control group.
    pub cgroup: Cgroup,
}

impl Evidence {
    /// The control group does not contradict a death.
    pub(crate) fn allows_death(self) -> bool {
        matches!(self.cgroup, Cgroup::Unused | Cgroup::Empty)
    }

    /// The kernel's word that nothing lives.
    pub(crate) fn is_death(self) -> bool {
        self.children == Children::None && self.allows_death()
    }

    /// The kernel's word that something lives, or waits to be reaped.
    pub(crate) fn is_life(self) -> bool {
        self.cgroup == Cgroup::Populated
    }
}

/// Whom to signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Targets {
    /// Process groups that have no other member. They come first: a group is signalled at once, so
    /// that no member slips away by forking.
    pub groups: Vec<i32>,
    /// Single processes.
    pub processes: Vec<Target>,
}

/// One process to signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its pid.
    pub pid: i32,
    /// When it started: signalled only if the process of this pid still is the one that started
    /// then. `None` for a child, whose pid is its own until it is reaped.
    pub start: Option<u64>,
}

impl Targets {
    /// All of `victims`, and each group of which it is certain that it has no other member: one
    /// whose leader is among them, or one in a session that is not `own_session`. Sessions are
    /// never joined, only begun and inherited, so that whoever is in a session that a descendant
    /// began descends from it.
    pub(crate) fn all(victims: &[&Process], own_session: i32) -> Self {
        Self::of(victims, |pids, seen| pids.contains(&seen.group) || seen.session != own_session)
    }

    /// The same where the asking process has children that are spared. One of them may have begun a
    /// session, and what it left behind is among `victims`: only a group whose leader is among them
    /// is signalled as one.
    pub(crate) fn among_spared(victims: &[&Process]) -> Self {
        Self::of(victims, |pids, seen| pids.contains(&seen.group))
    }

    fn of(victims: &[&Process], own: impl Fn(&BTreeSet<i32>, &Seen) -> bool) -> Self {
        let pids: BTreeSet<i32> = victims.iter().map(|process| process.pid).collect();
        let living = victims.iter().filter(|process| !process.ended);
        let groups: BTreeSet<i32> = living
            .filter_map(|process| process.seen.as_ref())
            .filter(|seen| own(&pids, seen))
            .map(|seen| seen.group)
            .filter(|group| *group > 1)
            .collect();
        // One that is hidden and no child cannot be told from a later one of its pid. Once its
        // parent is dead it is a child.
        let target = |process: &&Process| {
            let start = process.seen.as_ref().map(|seen| seen.start);
            (process.is_child() || start.is_some()).then_some(Target {
                pid: process.pid,
                start: start.filter(|_| !process.is_child()),
            })
        };
        let processes = victims.iter().copied().filter_map(|process| target(&process)).collect();
        Self { groups: groups.into_iter().collect(), processes }
    }

    /// Those of `victims` that are not in `group`, one by one.
    pub(crate) fn outside(victims: &[&Process], group: i32) -> Self {
        let outside = |seen: &Seen| seen.group != group;
        let victims: Vec<&Process> = victims
            .iter()
            .copied()
            .filter(|process| process.seen.as_ref().is_none_or(outside))
            .collect();
        Self { groups: Vec::new(), ..Self::all(&victims, 0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.processes.is_empty()
    }
}
