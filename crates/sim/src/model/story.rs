//! A way to a state told to people.

use leasehold_core::{Change, Contents, Observed, Outcome, Record};

use super::event::{Event, Events};
use super::rule::Rule;
use super::setup::{Setup, incarnation};
use super::step::Step;
use super::world::{BASE, Reply, Wire, World};

/// Tells the steps from a first state, line by line: with the tokens, nonces, versions and times
/// that were never renamed.
#[must_use]
pub fn tell(setup: &Setup, begin: &World, steps: &[Step]) -> Vec<String> {
    let mut world = begin.clone();
    let [a, b] = world.rates.candidates;
    let mut lines = vec![format!(
        "A's clock advances {a}, B's {b}, the store's {} of a tick of {:?}; L is {} of them, D is \
         {}",
        world.rates.store,
        setup.tick(),
        setup.lease,
        setup.deadline
    )];
    for step in steps {
        let before = [world.leads(0), world.leads(1)];
        let what = describe(&world, *step);
        let events = world.take(setup, *step);
        // The steps are those of states from which what is doomed was taken.
        world.prune();
        let mut line = format!("{:>9}  {what}", clock(setup, &world));
        line.push_str(&note(events));
        for (x, before) in before.into_iter().enumerate() {
            match (before, world.leads(x)) {
                (before, after) if before == after => {}
                (_, Some(token)) => {
                    line.push_str(&format!("; {} LEADS with token {token}", name(x)))
                }
                (Some(token), None) => {
                    line.push_str(&format!("; {} no longer believes in term {token}", name(x)));
                }
                (None, None) => {}
            }
        }
        lines.push(line);
    }
    for (rule, name) in Rule::ALL {
        if !world.keeps(rule) {
            lines.push(format!("VIOLATION {rule:?}: \"{name}\" does not hold"));
        }
    }
    lines
}

/// What both clocks show, in ticks.
fn clock(setup: &Setup, world: &World) -> String {
    let ticks = |x: usize| world.nodes[x].now.since(BASE).as_millis() / setup.tick().as_millis();
    format!("A {} B {}", ticks(0), ticks(1))
}

fn note(events: Events) -> String {
    let notes = [
        (Event::HandOver, " [hand-over]"),
        (Event::ZombieApplied, " [applied late]"),
        (Event::AmbiguousThenOwn, " [recognised as its own]"),
        (Event::Reassertion, " [asserted again]"),
    ];
    notes.iter().filter(|(event, _)| events.has(*event)).map(|(_, text)| *text).collect()
}

fn describe(world: &World, step: Step) -> String {
    let on_wire = |x: usize| match &world.nodes[x].wire {
        Wire::Idle => "nothing".to_owned(),
        Wire::Asked(write) => {
            format!("{} over {:?}", change(world, &write.change), write.expected)
        }
        Wire::Answered(Reply::Read(seen)) => format!("the read: {}", observed(world, seen)),
        Wire::Answered(Reply::Wrote(Outcome::Conflict)) => "the write: Conflict".to_owned(),
        Wire::Answered(Reply::Wrote(Outcome::Written(seen))) => {
            format!("the write: Written, {}", observed(world, seen))
        }
    };
    match step {
        Step::Tick => "time passes".to_owned(),
        Step::Arrive(x) => match &world.nodes[x].wire {
            Wire::Answered(_) => format!("the read of {} arrives only now", name(x)),
            _ => format!("the store does what {} asks: {}", name(x), on_wire(x)),
        },
        Step::Answer(x) => format!("{} is answered {}", name(x), on_wire(x)),
        Step::GiveUp(x) => format!("{} gives up {}", name(x), on_wire(x)),
        Step::Lose(x) => format!("{} gives up {}, which is lost", name(x), on_wire(x)),
        Step::Haunt(x) => {
            let zombie = world.nodes[x].zombie.as_ref();
            let text = zombie
                .map(|write| format!("{} over {:?}", change(world, &write.change), write.expected));
            format!("late, the store does what {} asked: {}", name(x), text.unwrap_or_default())
        }
        Step::Stop(x) => format!("the work of {} is told to stop", name(x)),
        Step::Drained(x) => format!("the work of {} has stopped", name(x)),
        Step::Expired(x) => format!("the program of {} saw its deadline pass", name(x)),
        Step::Withdraw(x) => format!("{} withdraws", name(x)),
        Step::Stand(x) => format!("{} stands", name(x)),
        Step::Restart(x) => format!("{} dies and starts again", name(x)),
        Step::Delete => "an administrator deletes the record".to_owned(),
        Step::Save => "an administrator saves the record".to_owned(),
        Step::PutBack => "an administrator puts back what was saved".to_owned(),
    }
}

fn observed(world: &World, seen: &Observed) -> String {
    let contents = match &seen.contents {
        Contents::Absent => "nothing is there".to_owned(),
        Contents::Record(stored) => record(world, stored),
        Contents::Unreadable(why) => format!("unreadable ({why})"),
    };
    format!("{contents} at {:?}", seen.version)
}

fn change(world: &World, change: &Change) -> String {
    format!("{:?} of {}", change.intent, record(world, &change.record))
}

fn record(world: &World, record: &Record) -> String {
    let holder = record.holder.as_ref().and_then(|holder| holder.incarnation);
    let holder = holder.map_or("nobody".to_owned(), |holder| {
        let now = (0..2).find(|x| world.nodes[*x].election.incarnation() == holder);
        let number = holder.0 / incarnation(1).0;
        now.map_or_else(|| format!("a former process ({number})"), name)
    });
    format!("{holder}, token {}, nonce {}", record.token, record.nonce.0)
}

fn name(x: usize) -> String {
    if x == 0 { "A".to_owned() } else { "B".to_owned() }
}
