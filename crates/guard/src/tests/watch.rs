use super::*;
use crate::{Event, KILL_GRACE, Outcome, SILENT, Watch, WatchAction, WatchInput, signal};

const GUARD: i32 = 5;

/// A watch in a world in which nothing happens by itself.
struct World {
    watch: Watch,
    now: Time,
    /// The children of the supervisor but the guard.
    processes: Vec<Process>,
    guard: bool,
    immune: bool,
    /// `wait` says this whatever is there.
    wait: Option<Children>,
    complete: bool,
    done: Vec<WatchAction>,
    looks: u32,
}

impl World {
    fn new(spared: &[i32], instants: Instants) -> Self {
        let watch = Watch::new(ms(0), GUARD, 1, instants, GRACE).sparing(spared.iter().copied());
        Self {
            watch,
            now: ms(0),
            processes: spared.iter().map(|pid| process(*pid, *pid)).collect(),
            guard: true,
            immune: false,
            wait: None,
            complete: true,
            done: Vec::new(),
            looks: 0,
        }
    }

    fn tell(&mut self, input: WatchInput) {
        self.watch.handle(self.now, input);
        self.run();
    }

    fn guard_dies(&mut self) {
        self.guard = false;
        self.tell(WatchInput::GuardEnded);
    }

    fn run(&mut self) {
        for _ in 0..200 {
            let Some(action) = self.watch.poll(self.now) else { return };
            self.done.push(action.clone());
            let answer = match action {
                WatchAction::AskGuard if self.guard => WatchInput::GuardRuns,
                WatchAction::AskGuard => WatchInput::GuardEnded,
                WatchAction::Look(depth) => {
                    self.looks += 1;
                    let mut all = self.processes.clone();
                    all.extend(self.guard.then(|| process(GUARD, GUARD)));
                    let listing = Listing { depth, processes: all, complete: self.complete };
                    WatchInput::Listed(Some(listing))
                }
                WatchAction::Wait => {
                    let none = self.processes.is_empty();
                    let children = if none { Children::None } else { Children::Some };
                    WatchInput::Waited(says(self.wait.unwrap_or(children)))
                }
                WatchAction::KillGuard => {
                    self.guard = false;
                    WatchInput::GuardEnded
                }
                WatchAction::Signal { signal: signal::KILL, targets } => {
                    let hit: Vec<i32> = targets.processes.iter().map(|p| p.pid).collect();
                    let victims = self.processes.iter_mut().filter(|p| hit.contains(&p.pid));
                    victims.filter(|_| !self.immune).for_each(|p| p.ended = true);
                    continue;
                }
                WatchAction::Reap(pids) => {
                    self.processes.retain(|p| !(p.ended && pids.contains(&p.pid)));
                    continue;
                }
                _ => continue,
            };
            self.watch.handle(self.now, answer);
        }
        panic!("the watch never rests at {:?}", self.now);
    }

    fn until(&mut self, until: Time) {
        for _ in 0..10_000 {
            let next = self.watch.next_deadline().max(self.now);
            if next > until {
                self.now = until;
                return self.run();
            }
            self.now = next;
            self.run();
        }
        panic!("woken without end");
    }

    fn outcome(&self) -> Option<&Outcome> {
        self.done.iter().find_map(|action| match action {
            WatchAction::End(outcome) => Some(outcome),
            _ => None,
        })
    }

    fn told(&self, event: &Event) -> bool {
        self.done.iter().any(|action| matches!(action, WatchAction::Tell(told) if told == event))
    }

    fn has_killed_guard(&self) -> bool {
        self.done.contains(&WatchAction::KillGuard)
    }
}

#[test]
fn a_lost_guard_is_replaced_and_only_wait_says_that_all_are_dead() {
    let mut world = World::new(&[], instants(1_000, 2_000, 3_000));
    world.processes = vec![process(11, 11), hidden(12)];
    world.guard_dies();
    assert!(world.told(&Event::GuardLost));
    world.until(ms(100));
    assert!(world.outcome().unwrap().may_release());
    assert_eq!(world.outcome().unwrap().overrun(), None);
}

#[test]
fn lists_prove_nothing_without_spared_children() {
    let mut world = World::new(&[], instants(1_000, 2_000, 3_000));
    world.wait = Some(Children::Some);
    world.guard_dies();
    world.until(ms(2_900));
    assert_eq!(world.outcome(), None);
    world.until(ms(3_100));
    assert!(!world.outcome().unwrap().may_release());
}

#[test]
fn spared_children_live_on_and_a_complete_list_of_them_alone_is_the_end() {
    let mut world = World::new(&[7], instants(1_000, 2_000, 3_000));
    world.processes.push(hidden(12));
    world.guard_dies();
    world.until(ms(100));
    assert!(world.outcome().unwrap().may_release());
    assert_eq!(world.processes, [process(7, 7)]);
}

#[test]
fn an_incomplete_list_of_spared_children_is_no_end() {
    let mut world = World::new(&[7], instants(1_000, 2_000, 3_000));
    world.complete = false;
    world.guard_dies();
    world.until(ms(2_000));
    assert_eq!(world.outcome(), None);
}

#[test]
fn who_came_while_the_guard_ran_is_spared_and_reaped_and_who_came_later_is_not() {
    let mut world = World::new(&[7], instants(10_000, 20_000, 30_000));
    world.processes.extend([process(8, 8), ended(9)]);
    world.tell(WatchInput::ChildEnded);
    // Whoever of this process started it may still want to know how it ended.
    world.until(ms(900));
    assert_eq!(world.processes.len(), 3);
    world.until(ms(1_100));
    assert_eq!(world.processes, [process(7, 7), process(8, 8)]);
    world.processes.push(process(9, 9));
    world.guard_dies();
    world.until(ms(1_200));
    assert!(world.outcome().unwrap().may_release());
    assert_eq!(world.processes, [process(7, 7), process(8, 8)]);
}

#[test]
fn a_child_of_others_that_ended_before_the_guard_began_is_reaped() {
    let mut world = World::new(&[7], instants(10_000, 20_000, 30_000));
    world.processes = vec![ended(7)];
    world.until(ms(1_100));
    assert_eq!(world.processes, []);
}

#[test]
fn a_list_during_which_the_guard_died_spares_nobody() {
    let mut world = World::new(&[7], instants(10_000, 20_000, 30_000));
    world.processes.push(process(11, 11));
    world.guard = false;
    world.tell(WatchInput::ChildEnded);
    world.until(ms(100));
    assert!(world.outcome().unwrap().may_release());
    assert_eq!(world.processes, [process(7, 7)]);
}

#[test]
fn what_cannot_be_killed_stops_renewals_and_is_named_in_the_end() {
    let mut world = World::new(&[], instants(10_000, 20_000, 30_000));
    world.processes.push(process(11, 11));
    world.immune = true;
    world.guard_dies();
    world.until(Time(0) + KILL_GRACE - Duration::from_millis(1));
    assert!(!world.told(&Event::StopRenewing));
    world.until(ms(3_000));
    assert!(world.told(&Event::StopRenewing) && !world.watch.may_renew());
    assert!(world.told(&Event::Left(vec![process(11, 11)])));
    // A renewal that was under way changes nothing.
    world.tell(WatchInput::Extend(instants(90_000, 90_000, 90_000)));
    world.looks = 0;
    world.until(ms(29_990));
    assert!(world.looks < 300, "{}", world.looks);
    assert_eq!(world.outcome(), None);
    world.until(ms(30_300));
    let outcome = world.outcome().unwrap();
    assert!(!outcome.may_release() && outcome.overrun().is_some());
    assert_eq!(outcome.left, [process(11, 11)]);
}

#[test]
fn a_guard_that_kills_and_says_so_is_left_to_it_and_the_user_need_not_wait() {
    let mut world = World::new(&[], instants(10_000, 20_000, 30_000));
    world.tell(WatchInput::Order(Order::Kill));
    for n in 1..40 {
        world.until(ms(100 * n));
        world.tell(WatchInput::Beat { at: world.now, alive_at: world.now });
    }
    assert!(!world.has_killed_guard());
    assert!(world.told(&Event::StopRenewing));
    assert_eq!(world.outcome(), None);
    world.tell(WatchInput::Leave);
    assert!(!world.outcome().unwrap().may_release());
}

#[test]
fn a_guard_that_is_silent_is_killed() {
    let mut world = World::new(&[], instants(10_000, 20_000, 30_000));
    world.tell(WatchInput::Order(Order::Kill));
    world.until(ms(499));
    assert!(!world.has_killed_guard());
    world.until(ms(600));
    assert!(world.has_killed_guard());
    assert!(world.outcome().unwrap().may_release());
    let mut world = World::new(&[], instants(100, 200, 600));
    world.until(ms(299));
    assert!(!world.has_killed_guard());
    world.until(ms(300));
    assert!(world.has_killed_guard());
}

fn guard_says_started(world: &mut World) {
    world.tell(WatchInput::Report(Report::Started(11)));
    world.tell(WatchInput::Awake(world.now));
}

#[test]
fn a_guard_that_does_nothing_when_cmd_has_ended_is_killed_and_cmds_end_is_told() {
    let mut world = World::new(&[], instants(90_000, 91_000, 95_000));
    guard_says_started(&mut world);
    world.until(ms(50_000));
    world.processes.push(ended(11));
    world.tell(WatchInput::CmdEnded(None));
    world.until(ms(54_999));
    assert!(!world.has_killed_guard());
    world.until(ms(55_000));
    assert!(world.has_killed_guard() && world.told(&Event::GuardSilent));
    let exited = Event::Exited { exit: Exit::Code(7), by_itself: true };
    let mut world = World::new(&[], instants(90_000, 91_000, 95_000));
    guard_says_started(&mut world);
    world.tell(WatchInput::CmdEnded(None));
    world.watch.handle(world.now, WatchInput::GuardEnded);
    world.guard = false;
    world.tell(WatchInput::CmdEnded(Some(Exit::Code(7))));
    assert!(world.told(&exited));
    assert_eq!(world.outcome().unwrap().exit, Some(Exit::Code(7)));
}

#[test]
fn a_guard_that_is_awake_may_know_better_and_one_that_spoke_is_judged_by_its_word() {
    // A tracer holds CMD's main process: for its parent it has not ended.
    let mut world = World::new(&[], instants(90_000, 91_000, 95_000));
    guard_says_started(&mut world);
    world.tell(WatchInput::CmdEnded(None));
    for n in 0..20 {
        world.tell(WatchInput::Extend(instants(90_000, 91_000, 95_000)));
        world.until(ms(1_000 * n + 900));
        world.tell(WatchInput::Awake(world.now));
    }
    assert!(!world.has_killed_guard());
    // Then it is frozen: the next renewal has no answer.
    world.tell(WatchInput::Extend(instants(90_000, 91_000, 95_000)));
    world.until(world.now + SILENT - Duration::from_millis(1));
    assert!(!world.has_killed_guard());
    world.until(world.now + Duration::from_millis(1));
    assert!(world.has_killed_guard());
    // It said so a moment late: the grace of what is left counts from then.
    let mut world = World::new(&[], instants(90_000, 91_000, 95_000));
    guard_says_started(&mut world);
    world.tell(WatchInput::CmdEnded(None));
    world.until(ms(4_990));
    let exited = Report::Exited { exit: Exit::Code(0), by_itself: true };
    world.tell(WatchInput::Report(exited));
    world.until(ms(5_700));
    assert!(!world.has_killed_guard());
}

#[test]
fn a_guard_that_never_starts_cmd_is_given_up_and_one_that_runs_cmd_may_sleep() {
    let mut world = World::new(&[], instants(90_000, 91_000, 95_000));
    world.until(ms(29_999));
    assert!(!world.has_killed_guard());
    world.until(ms(30_000));
    assert!(world.has_killed_guard() && world.outcome().unwrap().may_release());
    let mut world = World::new(&[], instants(90_000, 91_000, 95_000));
    world.tell(WatchInput::Report(Report::Started(11)));
    for _ in 0..80 {
        world.tell(WatchInput::Extend(instants(90_000, 91_000, 95_000)));
        world.until(world.now + Duration::from_secs(1));
    }
    assert!(!world.has_killed_guard());
}

#[test]
fn an_end_that_was_asked_for_is_not_cmds_own() {
    for order in [Order::Terminate, Order::Kill] {
        let mut world = World::new(&[], instants(90_000, 91_000, 95_000));
        guard_says_started(&mut world);
        world.tell(WatchInput::Order(order));
        world.watch.handle(world.now, WatchInput::GuardEnded);
        world.guard = false;
        world.tell(WatchInput::CmdEnded(Some(Exit::Code(0))));
        assert!(world.told(&Event::Exited { exit: Exit::Code(0), by_itself: false }));
    }
}

#[test]
fn a_closed_channel_is_no_death() {
    let mut world = World::new(&[], instants(1_000, 2_000, 3_000));
    world.tell(WatchInput::Closed);
    world.until(ms(900));
    assert_eq!(world.outcome(), None);
}

#[test]
fn the_guards_word_dates_the_end_and_does_not_prove_it() {
    let gone = Report::Gone { alive_at: ms(150), dead_at: ms(160) };
    let mut world = World::new(&[], instants(100, 200, 300));
    world.now = ms(5_000);
    world.tell(WatchInput::Report(gone));
    world.guard_dies();
    let outcome = world.outcome().unwrap();
    assert!(outcome.may_release());
    assert_eq!(outcome.overrun(), None);
    // It says so, and somebody is left.
    let mut world = World::new(&[], instants(100, 200, 300));
    world.processes.push(process(11, 11));
    world.now = ms(5_000);
    world.tell(WatchInput::Report(gone));
    world.guard_dies();
    world.until(ms(5_100));
    let (least, most) = world.outcome().unwrap().overrun().unwrap();
    assert!(least >= Duration::from_millis(4_700) && most >= least);
}

#[test]
fn the_clock_comes_before_children_of_others_however_many_end() {
    let mut world = World::new(&[7], instants(100, 200, 600));
    for _ in 0..10_000 {
        world.watch.handle(world.now, WatchInput::ChildEnded);
    }
    world.now = ms(300);
    assert_eq!(world.watch.poll(world.now), Some(WatchAction::KillGuard));
    world.watch.handle(world.now, WatchInput::GuardEnded);
    world.guard = false;
    world.run();
    world.until(ms(320));
    assert!(world.outcome().is_some());
    assert!(world.looks < 20, "{}", world.looks);
}

#[test]
fn a_kill_order_and_the_end_of_cmd_each_have_their_grace() {
    let mut world = World::new(&[], instants(10_000, 20_000, 30_000));
    let exited = Report::Exited { exit: Exit::Code(0), by_itself: true };
    world.tell(WatchInput::Report(exited));
    world.until(ms(799));
    assert!(!world.has_killed_guard());
    world.until(ms(801));
    assert!(world.has_killed_guard());
}

/// Who had no processor while the kill's grace passed has not tried to kill.
#[test]
fn a_late_watch_kills_for_the_whole_grace_before_it_gives_up() {
    for dies in [true, false] {
        let mut world = World::new(&[], instants(100, 200, 600));
        world.processes.push(process(11, 11));
        world.immune = true;
        world.until(ms(210));
        world.tell(WatchInput::Beat { at: ms(205), alive_at: ms(205) });
        world.now = ms(21_000);
        if dies {
            world.guard_dies();
        } else {
            world.run();
        }
        for _ in 0..5 {
            world.until(world.now + Duration::from_millis(10));
        }
        assert_eq!(world.outcome(), None);
        world.immune = false;
        world.until(ms(21_200));
        assert!(world.outcome().unwrap().may_release());
        assert!(world.outcome().unwrap().overrun().is_some());
    }
}

/// The same, starved again after its first round.
#[test]
fn a_watch_gives_up_only_after_many_rounds_of_its_own() {
    let mut world = World::new(&[], instants(100, 200, 600));
    world.processes.push(process(11, 11));
    world.immune = true;
    world.guard_dies();
    world.now = ms(21_000);
    world.run();
    world.until(ms(21_020));
    assert_eq!(world.outcome(), None);
    world.until(ms(23_000));
    assert!(!world.outcome().unwrap().may_release());
}
