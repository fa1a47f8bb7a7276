use super::*;
use crate::{Guard, GuardAction, GuardInput, Verdict, signal};

const CMD: i32 = 10;

/// A guard in a world in which nothing happens by itself.
struct World {
    guard: Guard,
    now: Time,
    processes: Vec<Process>,
    /// SIGKILL has no effect on these.
    immune: Vec<i32>,
    /// `wait` says this whatever is listed.
    wait: Option<Children>,
    cgroup: Cgroup,
    /// So many processes there may be, ended or not, and what lives fills every place that is free.
    places: usize,
    done: Vec<GuardAction>,
    looks: u32,
}

impl World {
    fn new(instants: Instants) -> Self {
        let mut world = Self {
            guard: Guard::new(ms(0), 1, false),
            now: ms(0),
            processes: vec![process(CMD, CMD)],
            immune: Vec::new(),
            wait: None,
            cgroup: Cgroup::Unused,
            places: 0,
            done: Vec::new(),
            looks: 0,
        };
        world.tell(GuardInput::Posted(instants));
        world.tell(GuardInput::Order(Order::Start { grace: GRACE }));
        world.run();
        world
    }

    fn tell(&mut self, input: GuardInput) {
        self.guard.handle(self.now, input);
    }

    /// Carries out what the guard wants now.
    fn run(&mut self) {
        for _ in 0..200 {
            let Some(action) = self.guard.poll(self.now) else { return };
            self.done.push(action.clone());
            match action {
                GuardAction::Start => self.tell(GuardInput::Started(CMD)),
                GuardAction::SignalCmd(signal::KILL) => self.kill(CMD),
                GuardAction::Signal { signal: signal::KILL, targets } => {
                    let Targets { groups, processes } = targets;
                    groups
                        .into_iter()
                        .chain(processes.iter().map(|p| p.pid))
                        .for_each(|pid| self.kill(pid));
                }
                GuardAction::Look(depth) => {
                    self.looks += 1;
                    let listing = list(depth, &self.processes);
                    self.fork();
                    self.tell(GuardInput::Listed(listing));
                }
                GuardAction::Reap(pids) => {
                    self.processes.retain(|p| !(p.ended && pids.contains(&p.pid)));
                }
                GuardAction::Wait => {
                    self.processes.retain(|p| !p.ended);
                    let none = self.processes.is_empty();
                    let children = if none { Children::None } else { Children::Some };
                    let children = self.wait.unwrap_or(children);
                    self.tell(GuardInput::Waited(Evidence { children, cgroup: self.cgroup }));
                }
                _ => {}
            }
        }
        panic!("the guard never rests at {:?}", self.now);
    }

    fn fork(&mut self) {
        let mut next = self.processes.iter().map(|p| p.pid).max().unwrap_or(CMD);
        while self.processes.iter().any(|p| !p.ended) && self.processes.len() < self.places {
            next += 1;
            self.processes.push(process(next, next));
        }
    }

    fn kill(&mut self, pid: i32) {
        if self.immune.contains(&pid) {
            return;
        }
        let Some(process) = self.processes.iter_mut().find(|p| p.pid == pid && !p.ended) else {
            return;
        };
        process.ended = true;
        if pid == CMD {
            self.tell(GuardInput::Exited { exit: Exit::Signal(9), reaped: false });
        }
        self.tell(GuardInput::ChildEnded);
    }

    /// CMD's main process ends by itself.
    fn exit(&mut self) {
        self.processes[0].ended = true;
        self.tell(GuardInput::Exited { exit: Exit::Code(3), reaped: false });
        self.tell(GuardInput::ChildEnded);
        self.run();
    }

    /// Lets time pass up to `until`, waking the guard when it asks to be.
    fn until(&mut self, until: Time) {
        for _ in 0..10_000 {
            let next = self.guard.next_deadline().max(self.now);
            if next > until {
                self.now = until;
                return self.run();
            }
            self.now = next;
            self.run();
        }
        panic!("woken without end");
    }

    fn verdict(&self) -> Option<&Verdict> {
        self.done.iter().find_map(|action| match action {
            GuardAction::Over(verdict) => Some(verdict),
            _ => None,
        })
    }

    fn did(&self, action: &GuardAction) -> bool {
        self.done.contains(action)
    }

    fn is_dead(&self) -> bool {
        matches!(self.verdict(), Some(Verdict::Dead { .. }))
    }
}

#[test]
fn at_the_instants_cmd_is_told_to_stop_and_then_killed() {
    let mut world = World::new(instants(100, 200, 300));
    world.until(ms(99));
    assert!(!world.did(&GuardAction::SignalCmd(signal::TERM)));
    world.until(ms(100));
    assert!(world.did(&GuardAction::SignalCmd(signal::TERM)));
    assert!(world.did(&GuardAction::SignalCmd(signal::CONT)));
    assert!(!world.did(&GuardAction::SignalCmd(signal::KILL)));
    world.until(ms(205));
    assert!(world.is_dead());
}

#[test]
fn an_empty_list_is_no_death_while_wait_knows_a_child() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.wait = Some(Children::Some);
    world.exit();
    world.until(ms(2_900));
    assert_eq!(world.verdict(), None);
    world.wait = None;
    world.until(ms(3_300));
    assert!(world.is_dead());
}

#[test]
fn a_wait_that_fails_and_a_list_that_fails_are_no_deaths() {
    for children in [Children::Unknown, Children::Some] {
        let mut world = World::new(instants(1_000, 2_000, 3_000));
        world.wait = Some(children);
        world.tell(GuardInput::Order(Order::Kill));
        world.until(ms(60_000));
        assert_eq!(world.verdict(), None, "{children:?}");
    }
}

#[test]
fn a_hidden_child_is_killed_by_its_pid() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.processes.push(hidden(11));
    world.tell(GuardInput::Order(Order::Kill));
    world.until(ms(50));
    assert!(world.is_dead());
}

#[test]
fn a_closed_channel_kills_at_once_and_ends_nothing_by_itself() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.immune = vec![11];
    world.processes.push(process(11, 11));
    world.tell(GuardInput::SupervisorGone);
    world.run();
    assert!(world.did(&GuardAction::SignalCmd(signal::KILL)));
    world.until(ms(2_990));
    assert_eq!(world.verdict(), None);
    // The lease and the kill's grace are over, and nobody waits for the outcome.
    world.until(ms(3_500));
    let Some(Verdict::NotDead(left)) = world.verdict() else { panic!("{:?}", world.verdict()) };
    assert_eq!(left.iter().map(|p| p.pid).collect::<Vec<_>>(), [11]);
}

#[test]
fn what_cannot_be_killed_is_looked_at_ever_more_rarely_and_reported_as_alive() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.immune = vec![11];
    world.processes.push(process(11, 11));
    world.tell(GuardInput::Order(Order::Kill));
    world.until(ms(3_000));
    world.looks = 0;
    world.until(ms(13_000));
    // Two looks a round, four rounds a second.
    assert!((40..=90).contains(&world.looks), "{}", world.looks);
    let beat = world.done.iter().rev().find_map(|action| match action {
        GuardAction::Beat(at) => Some(*at),
        _ => None,
    });
    assert!(beat.unwrap() >= ms(12_500), "{beat:?}");
}

#[test]
fn a_control_group_with_somebody_in_it_is_no_death() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.cgroup = Cgroup::Populated;
    world.exit();
    world.until(ms(500));
    assert_eq!(world.verdict(), None);
    world.cgroup = Cgroup::Unknown;
    world.until(ms(1_000));
    assert_eq!(world.verdict(), None);
    world.cgroup = Cgroup::Empty;
    world.until(ms(1_300));
    assert!(world.is_dead());
}

#[test]
fn the_end_is_dated_by_the_last_sign_of_life() {
    let mut world = World::new(instants(100, 200, 300));
    // Everything was frozen beyond the lease, and CMD still runs.
    world.now = ms(5_000);
    world.tell(GuardInput::Runs);
    world.run();
    world.until(ms(5_100));
    let Some(Verdict::Dead { alive_at, dead_at }) = world.verdict() else { panic!() };
    assert!(*alive_at >= ms(5_000) && *dead_at >= *alive_at);
    // The same, and it ended in the meantime, unseen.
    let mut world = World::new(instants(100, 200, 300));
    world.now = ms(5_000);
    world.exit();
    let Some(Verdict::Dead { alive_at, dead_at }) = world.verdict() else { panic!() };
    assert_eq!((*alive_at, *dead_at), (ms(0), ms(5_000)));
}

#[test]
fn what_cmd_left_behind_is_told_to_stop_and_then_killed() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.processes.push(process(11, 11));
    world.exit();
    let told = |number| {
        let process = crate::Target { pid: 11, start: None };
        let targets = Targets { groups: Vec::new(), processes: vec![process] };
        GuardAction::Signal { signal: number, targets }
    };
    assert!(world.did(&told(signal::TERM)) && world.did(&told(signal::CONT)));
    world.until(ms(299));
    assert_eq!(world.verdict(), None);
    world.until(ms(310));
    assert!(world.is_dead());
    let exited = Report::Exited { exit: Exit::Code(3), by_itself: true };
    assert!(world.did(&GuardAction::Report(exited)));
}

#[test]
fn a_signal_that_ends_by_default_is_followed_by_a_continue() {
    for (number, followed) in
        [(1, true), (3, true), (10, true), (12, true), (15, true), (28, false)]
    {
        let mut world = World::new(instants(1_000, 2_000, 3_000));
        world.tell(GuardInput::Order(Order::Signal(number)));
        world.run();
        assert!(world.did(&GuardAction::SignalCmd(number)));
        assert_eq!(world.did(&GuardAction::SignalCmd(signal::CONT)), followed, "{number}");
    }
}

#[test]
fn a_guard_that_wakes_after_the_first_instant_or_a_stop_starts_nothing() {
    for late in [false, true] {
        let mut guard = Guard::new(ms(0), 1, false);
        guard.handle(ms(0), GuardInput::Posted(instants(100, 200, 300)));
        guard.handle(ms(0), GuardInput::Order(Order::Start { grace: GRACE }));
        if !late {
            guard.handle(ms(0), GuardInput::Order(Order::Terminate));
        }
        let now = if late { ms(100) } else { ms(0) };
        assert!(matches!(guard.poll(now), Some(GuardAction::Over(Verdict::Dead { .. }))));
        assert_eq!(guard.poll(now), None);
    }
}

/// Who had no processor while the kill's grace passed has not tried to kill.
#[test]
fn a_late_guard_makes_many_rounds_before_it_gives_up() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.immune = vec![11];
    world.processes.push(process(11, 11));
    world.tell(GuardInput::SupervisorGone);
    world.run();
    world.now = ms(24_000);
    world.run();
    world.until(ms(24_020));
    assert_eq!(world.verdict(), None);
    world.immune.clear();
    world.until(ms(24_100));
    assert!(world.is_dead());
}

/// As many processes as its user may have, each of which forks whenever it can: what is reaped
/// makes room for another.
#[test]
fn a_fork_bomb_that_a_limit_holds_is_killed() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.places = 150;
    world.processes.extend((20..80).map(|pid| process(pid, pid)));
    world.processes.extend((80..120).map(ended));
    world.tell(GuardInput::Order(Order::Kill));
    world.until(ms(200));
    assert!(world.is_dead());
}

/// What has ended is not kept for ever because something else cannot be killed.
#[test]
fn what_has_ended_is_reaped_though_many_live_on() {
    let mut world = World::new(instants(1_000, 2_000, 3_000));
    world.immune = (20..60).collect();
    world.processes.extend((20..120).map(|pid| process(pid, pid)));
    world.tell(GuardInput::Order(Order::Kill));
    world.until(ms(5_000));
    assert!(world.processes.len() < 50, "{}", world.processes.len());
}
