//! A way to a state told to people.

use crate::model::check::Space;
use crate::model::redis::canonical::Order;
use crate::model::redis::cluster::{Holder, SERVERS, Server};
use crate::model::redis::step::Step;
use crate::model::redis::world::{CANDIDATES, Setup, World};
use crate::model::rule::Rule;

/// Tells the steps from a first state, line by line. Every state is told in the places of the
/// first, though the steps are those of states in which servers and candidates changed places.
pub(super) fn tell(setup: &Setup, begin: &World, steps: &[Step]) -> Vec<String> {
    let mut world = *begin;
    let mut places = Order { servers: [0, 1, 2], candidates: [0, 1, 2] };
    let mut lines = vec![shown(&world, places)];
    for step in steps {
        let before: Vec<bool> = (0..CANDIDATES).map(|x| world.leads(x)).collect();
        let mut line = described(*step, places);
        world.take_step(setup, *step);
        for (x, before) in before.into_iter().enumerate() {
            match (before, world.leads(x)) {
                (false, true) => line.push_str(&format!("; {} LEADS", candidate(x, places))),
                (true, false) => {
                    line.push_str(&format!("; {} leads no longer", candidate(x, places)));
                }
                _ => {}
            }
        }
        lines.push(line);
        let order = world.rename();
        places = Order {
            servers: order.servers.map(|old| places.servers[old]),
            candidates: order.candidates.map(|old| places.candidates[old]),
        };
        lines.push(shown(&world, places));
    }
    for (rule, name) in Rule::ALL {
        if !world.keeps(rule) {
            lines.push(format!("VIOLATION {rule:?}: \"{name}\" does not hold"));
        }
    }
    lines
}

fn described(step: Step, places: Order) -> String {
    let (who, at) = (|x| candidate(x, places), |n| server(n, places));
    match step {
        Step::Tick => "time passes".to_owned(),
        Step::Read(x, n) => format!("{} reads {}", who(x), at(n)),
        Step::Adopt(x, n, _) => format!("{} adopts at {}", who(x), at(n)),
        Step::Take(x, n, _) => format!("{} takes at {}", who(x), at(n)),
        Step::Renew(x, n, _) => format!("{} renews at {}", who(x), at(n)),
        Step::Release(x, n, _) => format!("{} releases at {}", who(x), at(n)),
        Step::Answer(x) => format!("{} gets its answer", who(x)),
        Step::GiveUp(x) => format!("{} waits no longer", who(x)),
        Step::Sync(r) => format!("{} gets in step with its primary", at(r)),
        Step::Promote(n) => format!("{} is promoted", at(n)),
        Step::Restart(n, kept) => format!("{} starts again and kept: {kept:?}", at(n)),
        Step::Follow(r, p) => format!("{} is told to follow {}", at(r), at(p)),
    }
}

/// The servers, in the places of the first state.
fn shown(world: &World, places: Order) -> String {
    let one = |it: &Server| {
        let role = match (it.follows, it.linked) {
            (None, _) => "primary".to_owned(),
            (Some(p), true) => format!("follows {}", server(usize::from(p), places)),
            (Some(p), false) => format!("looks for {}", server(usize::from(p), places)),
        };
        let data = it.data.map_or("nothing".to_owned(), |stored| {
            let whose = match stored.holder {
                Holder::Nobody => "released".to_owned(),
                Holder::Unknown => "adopted".to_owned(),
                Holder::Candidate(x) => candidate(usize::from(x), places),
            };
            format!("{whose} (version {})", stored.version)
        });
        format!("{role}, history {} to {}, has {data}", it.history, it.offset)
    };
    let mut servers: Vec<(usize, String)> =
        (0..SERVERS).map(|n| (places.servers[n], one(&world.cluster.servers[n]))).collect();
    servers.sort_unstable();
    let servers: Vec<String> =
        servers.into_iter().map(|(n, text)| format!("{}: {text}", ["R1", "R2", "R3"][n])).collect();
    format!("    {}", servers.join(" | "))
}

fn server(n: usize, places: Order) -> String {
    ["R1", "R2", "R3"][places.servers[n]].to_owned()
}

fn candidate(x: usize, places: Order) -> String {
    const NAMES: [&str; CANDIDATES] = ["A", "B", "C"];
    NAMES[places.candidates[x]].to_owned()
}
