//! A small model of a kernel: processes, how they end, who becomes the parent of whom, and signals.
//!
//! Only what guard and supervisor can observe is modelled. Pids are given out in a small circle, so
//! that they come again soon; as in Linux a number is not given out while a process, a group or a
//! session has it.

use leasehold_guard::{Exit, Time, signal};

pub(super) type Pid = i32;

/// The parent of those who have no other.
pub(super) const INIT: Pid = 1;
/// The supervisor. It is a child subreaper.
pub(super) const SUPERVISOR: Pid = 2;
/// The session in which supervisor and guard live.
pub(super) const SESSION: Pid = 2;
/// The first pid that is given out.
const FIRST: Pid = 10;

/// The lineage a process belongs to. No system call knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    /// Init, and whoever has nothing to do with this run.
    Other,
    Supervisor,
    Guard,
    /// A child that the supervisor had before, or a descendant of one.
    Spared,
    /// CMD, or a descendant of CMD.
    Cmd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    Stopped,
    /// The init of a pid namespace that was killed and waits until everybody in there is gone.
    Dying,
    Zombie,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) parent: Pid,
    pub(super) group: Pid,
    pub(super) session: Pid,
    pub(super) start: u64,
    pub(super) born: Time,
    pub(super) state: State,
    pub(super) kin: Kin,
    pub(super) exit: Exit,
    /// `/proc` does not show it.
    pub(super) hidden: bool,
    /// Another user's: nobody here may signal it.
    pub(super) foreign: bool,
    /// Uninterruptible.
    pub(super) stuck: bool,
    /// SIGKILL or SIGTERM came, and has no effect yet.
    pub(super) pending: Option<u8>,
    pub(super) subreaper: bool,
    /// The pid namespace; 0 is the outer one.
    pub(super) namespace: usize,
    pub(super) ns_init: bool,
    pub(super) ignores_term: bool,
    /// Its end sends no SIGCHLD (`clone` without a signal).
    pub(super) quiet: bool,
    /// Its children are reaped as they end.
    pub(super) reaps: bool,
    pub(super) in_cgroup: bool,
    /// How many SIGCHLD came.
    pub(super) news: u32,
    /// Forks and ends at each of its steps.
    pub(super) storm: bool,
    /// One of the children that the supervisor had before.
    pub(super) original: bool,
    /// Its steps are drawn by this number.
    pub(super) serial: usize,
    pub(super) step: u64,
    pub(super) next: Time,
}

impl Process {
    pub(super) fn lives(&self) -> bool {
        self.state != State::Zombie
    }

    /// Whether no signal of ours ends it now.
    pub(super) fn is_immune(&self) -> bool {
        self.foreign || self.stuck || self.state == State::Dying
    }
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) now: Time,
    /// In the order of their births, as lists of children are.
    pub(super) processes: Vec<Process>,
    next_pid: Pid,
    max_pid: Pid,
    starts: u64,
    namespaces: usize,
    serials: usize,
    /// Deaths since the start, for the story: pid and how.
    pub(super) ends: Vec<(Pid, Kin, Exit)>,
}

impl Kernel {
    pub(super) fn new(max_pid: Pid) -> Self {
        let mut kernel = Self {
            now: Time(0),
            processes: Vec::new(),
            next_pid: FIRST,
            max_pid,
            starts: 0,
            namespaces: 0,
            serials: 0,
            ends: Vec::new(),
        };
        for (pid, kin) in [(INIT, Kin::Other), (SUPERVISOR, Kin::Supervisor)] {
            let process = kernel.newborn(pid, INIT, kin);
            let subreaper = kin == Kin::Supervisor;
            kernel.processes.push(Process { subreaper, reaps: !subreaper, ..process });
        }
        kernel
    }

    fn newborn(&mut self, pid: Pid, parent: Pid, kin: Kin) -> Process {
        self.starts += 1;
        self.serials += 1;
        Process {
            pid,
            parent,
            group: pid,
            session: pid,
            start: self.starts,
            born: self.now,
            state: State::Runs,
            kin,
            exit: Exit::Code(0),
            hidden: false,
            foreign: false,
            stuck: false,
            pending: None,
            subreaper: false,
            namespace: 0,
            ns_init: false,
            ignores_term: false,
            quiet: false,
            reaps: false,
            in_cgroup: false,
            news: 0,
            storm: false,
            original: false,
            serial: self.serials,
            step: 0,
            next: Time::NEVER,
        }
    }

    pub(super) fn find(&self, pid: Pid) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }

    pub(super) fn get(&mut self, pid: Pid) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.pid == pid)
    }

    /// The children, ended ones too.
    pub(super) fn children(&self, parent: Pid) -> Vec<Pid> {
        let children = self.processes.iter().filter(|p| p.parent == parent && p.pid != INIT);
        children.map(|process| process.pid).collect()
    }

    pub(super) fn living(&self, kin: Kin) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.kin == kin && process.lives())
    }

    /// The child of `above` that a process descends from.
    pub(super) fn root_below(&self, pid: Pid, above: Pid) -> Option<&Process> {
        let mut process = self.find(pid)?;
        while process.parent != above {
            if process.pid == INIT {
                return None;
            }
            process = self.find(process.parent)?;
        }
        Some(process)
    }

    fn free_pid(&mut self) -> Option<Pid> {
        for _ in FIRST..self.max_pid {
            let pid = self.next_pid;
            self.next_pid = if pid + 1 < self.max_pid { pid + 1 } else { FIRST };
            let used = |p: &Process| p.pid == pid || p.group == pid || p.session == pid;
            if !self.processes.iter().any(used) {
                return Some(pid);
            }
        }
        None
    }

    /// A child of `by`, or with `sibling` a child of its parent.
    pub(super) fn fork(&mut self, by: Pid, kin: Kin, sibling: bool) -> Option<Pid> {
        let model = self.find(by).filter(|p| matches!(p.state, State::Runs))?.clone();
        let parent = if sibling { model.parent } else { by };
        let pid = self.free_pid()?;
        let Process { start, born, serial, .. } = self.newborn(pid, parent, kin);
        self.processes.push(Process {
            pid,
            parent,
            start,
            born,
            serial,
            kin,
            subreaper: false,
            ns_init: false,
            reaps: false,
            quiet: false,
            original: false,
            pending: None,
            news: 0,
            step: 0,
            next: self.now,
            ..model
        });
        Some(pid)
    }

    /// The child of `by` becomes the init of a new pid namespace.
    pub(super) fn unshare(&mut self, child: Pid) {
        self.namespaces += 1;
        let namespaces = self.namespaces;
        if let Some(process) = self.get(child) {
            (process.namespace, process.ns_init, process.reaps) = (namespaces, true, true);
        }
    }

    pub(super) fn setsid(&mut self, pid: Pid) -> bool {
        let leads = self.processes.iter().any(|process| process.group == pid);
        match self.get(pid) {
            Some(process) if !leads => {
                (process.group, process.session) = (pid, pid);
                true
            }
            _ => false,
        }
    }

    pub(super) fn setpgid(&mut self, pid: Pid, group: Pid) -> bool {
        let Some(session) = self.find(pid).map(|process| process.session) else { return false };
        let mut all = self.processes.iter();
        let exists = all.any(|p| p.group == group && p.session == session);
        match self.get(pid) {
            Some(process) if session != pid && (exists || group == pid) => {
                process.group = group;
                true
            }
            _ => false,
        }
    }

    /// Who becomes the parent of what `pid` leaves behind.
    fn reaper(&self, pid: Pid) -> Pid {
        let Some(process) = self.find(pid) else { return INIT };
        let (namespace, mut above) = (process.namespace, process.parent);
        while let Some(ancestor) = self.find(above) {
            let same = ancestor.namespace == namespace;
            if ancestor.pid == INIT || same && ancestor.ns_init {
                return ancestor.pid;
            }
            if same && ancestor.subreaper && ancestor.lives() {
                return ancestor.pid;
            }
            above = ancestor.parent;
        }
        INIT
    }

    /// The process ends.
    pub(super) fn exit(&mut self, pid: Pid, exit: Exit) {
        let Some(process) = self.get(pid) else { return };
        if matches!(process.state, State::Zombie | State::Dying) {
            return;
        }
        (process.exit, process.stuck, process.pending) = (exit, false, None);
        if process.ns_init {
            process.state = State::Dying;
            let namespace = process.namespace;
            let inside = |p: &&Process| p.namespace == namespace && p.pid != pid;
            let inside: Vec<Pid> = self.processes.iter().filter(inside).map(|p| p.pid).collect();
            for pid in inside {
                self.deliver(pid, signal::KILL);
            }
            return self.finish_namespace(namespace);
        }
        self.die(pid);
    }

    fn die(&mut self, pid: Pid) {
        let heir = self.reaper(pid);
        let Some(process) = self.get(pid) else { return };
        process.state = State::Zombie;
        let (namespace, kin, exit) = (process.namespace, process.kin, process.exit);
        self.ends.push((pid, kin, exit));
        let orphans = self.children(pid);
        for orphan in &orphans {
            if let Some(orphan) = self.get(*orphan) {
                // Who is inherited sends SIGCHLD.
                (orphan.parent, orphan.quiet) = (heir, false);
            }
        }
        for orphan in orphans {
            if self.find(orphan).is_some_and(|orphan| !orphan.lives()) {
                self.tell_parent(orphan);
            }
        }
        self.tell_parent(pid);
        self.finish_namespace(namespace);
    }

    fn tell_parent(&mut self, pid: Pid) {
        let Some((parent, quiet)) = self.find(pid).map(|p| (p.parent, p.quiet)) else { return };
        let Some(parent) = self.get(parent) else { return };
        if parent.reaps || parent.state == State::Dying {
            return self.processes.retain(|process| process.pid != pid);
        }
        parent.news += u32::from(!quiet);
    }

    /// The init of a namespace is dead once nobody else is in it.
    fn finish_namespace(&mut self, namespace: usize) {
        if namespace == 0 {
            return;
        }
        let mut inside = self.processes.iter().filter(|p| p.namespace == namespace);
        let Some(init) = inside.clone().find(|p| p.ns_init && p.state == State::Dying) else {
            return;
        };
        if inside.all(|process| process.ns_init) {
            let pid = init.pid;
            self.die_init(pid);
        }
    }

    fn die_init(&mut self, pid: Pid) {
        if let Some(init) = self.get(pid) {
            init.ns_init = false;
            init.namespace = 0;
        }
        self.die(pid);
    }

    /// Removes a child that has ended.
    pub(super) fn reap(&mut self, parent: Pid, pid: Pid) -> Option<Exit> {
        let child = self.find(pid).filter(|p| p.parent == parent && !p.lives())?;
        let (exit, namespace) = (child.exit, child.namespace);
        self.processes.retain(|process| process.pid != pid);
        self.finish_namespace(namespace);
        Some(exit)
    }

    /// A child that has ended and is not reaped.
    pub(super) fn ended_child(&self, parent: Pid) -> Option<Pid> {
        let ended = self.processes.iter().find(|p| p.parent == parent && !p.lives());
        ended.map(|process| process.pid)
    }

    /// Its uninterruptible sleep is over.
    pub(super) fn wake(&mut self, pid: Pid) {
        let Some(process) = self.get(pid) else { return };
        process.stuck = false;
        if let Some(number) = process.pending.take() {
            self.deliver(pid, number);
        }
    }

    /// A signal arrives, whoever sent it.
    pub(super) fn deliver(&mut self, pid: Pid, number: u8) {
        let Some(process) = self.get(pid).filter(|process| process.lives()) else { return };
        match number {
            signal::CONT if process.state == State::Stopped => {
                process.state = State::Runs;
                if let Some(number) = process.pending.take() {
                    self.deliver(pid, number);
                }
            }
            signal::KILL | signal::TERM if process.stuck => {
                process.pending = process.pending.filter(|kept| *kept == signal::KILL);
                process.pending = process.pending.or(Some(number));
            }
            signal::KILL => self.exit(pid, Exit::Signal(number)),
            // The init of a namespace is deaf to what it does not handle only from within.
            signal::TERM if !process.ignores_term => {
                if process.state == State::Stopped {
                    process.pending = Some(number);
                } else {
                    self.exit(pid, Exit::Signal(number));
                }
            }
            _ => {}
        }
    }

    /// The living members of a group.
    pub(super) fn members(&self, group: Pid) -> Vec<Pid> {
        let members = self.processes.iter().filter(|p| p.group == group && p.lives());
        members.map(|process| process.pid).collect()
    }
}
