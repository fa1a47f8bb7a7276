//! Makes states equal that differ in names only.
//!
//! - **Versions** and **histories** are compared for equality: they are numbered by their first
//!   occurrence. **Offsets** are compared within one history, and only by size: they are numbered
//!   in order.
//! - **Servers** are alike, and so are **candidates**: of all orders the least state stands for
//!   all.
//! - What can never matter again is taken away: a reign that is over, a version that no write can
//!   name, an age that nobody looks at, what the next promotion replaces.

use super::cluster::{Holder, OLD, OVER, Reign, SERVERS, Server, Stored, number};
use super::world::{CANDIDATES, Candidate, Defect, Seen, Waiting, World};

/// The old places, in the new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub servers: [usize; SERVERS],
    pub candidates: [usize; CANDIDATES],
}

const SERVER_ORDERS: [[usize; SERVERS]; 6] =
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Of two candidates the first two are the orders.
/// Of two candidates the first two are all.
const CANDIDATE_ORDERS: [[usize; CANDIDATES]; 6] =
    [[0, 1, 2], [1, 0, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

impl World {
    /// The one form of all states that differ in names only, and the order of places in which it
    /// was found.
    pub(super) fn rename(&mut self) -> Order {
        self.prune();
        let (servers, candidates) = self.traits();
        let candidate_orders = &CANDIDATE_ORDERS[..if self.standing == 2 { 2 } else { 6 }];
        let fits = |order: &&[usize; 3]| is_sorted(&candidates, **order);
        let candidate_orders = candidate_orders.iter().filter(fits);
        let server_orders = SERVER_ORDERS.iter().filter(|order| is_sorted(&servers, **order));
        let orders = server_orders.flat_map(|servers| {
            let order =
                |candidates: &[usize; 3]| Order { servers: *servers, candidates: *candidates };
            candidate_orders.clone().map(order)
        });
        let renamed = orders.map(|order| {
            let mut world = self.in_order(order);
            world.number_all();
            (world, order)
        });
        let (least, order) = renamed.min_by_key(|(world, _)| *world).expect("there are orders");
        *self = least;
        order
    }

    /// What is the same in every order, of each server and of each candidate: only orders that sort
    /// it are tried.
    fn traits(&self) -> ([impl Ord + use<>; SERVERS], [impl Ord + use<>; CANDIDATES]) {
        let whose = |holder: Holder| match holder {
            Holder::Nobody => 0,
            Holder::Unknown => 1,
            Holder::Candidate(_) => 2,
        };
        let servers = self.cluster.servers.map(|it| {
            let data = it.data.map(|stored| (whose(stored.holder), stored.reign == OVER));
            (it.follows.is_some(), it.linked, it.second.is_some(), data)
        });
        let mut place = 0;
        let candidates = self.candidates.map(|it| {
            place += 1;
            let seen = it.seen.map(|seen| (whose(seen.holder), seen.suspended, seen.age));
            let waiting = it.waiting.map(|waiting| (waiting.acknowledged, waiting.age));
            (place > self.standing, it.sent, seen, waiting)
        });
        (servers, candidates)
    }

    fn prune(&mut self) {
        let unnamed = self.has(Defect::NoReign);
        let unlooked = unnamed || self.has(Defect::NoSecondLook);
        let primary = self.cluster.servers.map(|server| server.follows.is_none());
        let present = |reign: Reign| reign != OVER && primary[usize::from(reign)];
        for server in &mut self.cluster.servers {
            if let Some(stored) = &mut server.data
                && (unnamed || !present(stored.reign))
            {
                stored.reign = OVER;
            }
            server.second = server.second.filter(|_| server.follows.is_none());
        }
        let (servers, lease) = (self.cluster.servers, self.lease);
        let stores = |server: &Server, version: Option<u8>| {
            server.data.map(|stored| stored.version) == version
        };
        for (x, candidate) in self.candidates.iter_mut().enumerate() {
            let ends =
                |waiting: &Waiting| waiting.age >= lease || waiting.reign == OVER && !unlooked;
            candidate.waiting = candidate.waiting.filter(|waiting| !ends(waiting));
            let may_matter = |seen: &Seen| match unnamed {
                true => servers.iter().any(|server| stores(server, seen.version)),
                false => {
                    let there = |server: &Server| stores(server, seen.version);
                    present(seen.reign) && there(&servers[usize::from(seen.reign)])
                }
            };
            candidate.seen = candidate.seen.filter(may_matter);
            if let Some(seen) = &mut candidate.seen {
                let is_own = seen.holder == Holder::Candidate(number(x));
                if seen.suspended || is_own || seen.holder == Holder::Nobody {
                    seen.age = 0;
                }
            }
        }
        for n in 0..SERVERS {
            let known = |(history, _): &(u8, u8)| {
                (0..SERVERS).any(|other| other != n && servers[other].history == *history)
            };
            let server = &mut self.cluster.servers[n];
            server.second = server.second.filter(known);
        }
    }

    /// The same with servers and candidates in other places.
    pub(super) fn in_order(&self, order: Order) -> Self {
        let mut world = *self;
        let place = |old: &[usize], value: u8| {
            let place = old.iter().position(|old| *old == usize::from(value));
            place.map_or(value, number)
        };
        let server = |value: &mut u8| *value = place(&order.servers, *value);
        let holder = |value: &mut Holder| {
            if let Holder::Candidate(candidate) = value {
                *candidate = place(&order.candidates, *candidate);
            }
        };
        world.cluster.servers = order.servers.map(|old| self.cluster.servers[old]);
        for it in &mut world.cluster.servers {
            it.follows.iter_mut().for_each(server);
            if let Some(Stored { holder: whose, version: _, reign }) = &mut it.data {
                holder(whose);
                server(reign);
            }
        }
        world.candidates = order.candidates.map(|old| self.candidates[old]);
        for Candidate { seen, waiting, sent: _ } in &mut world.candidates {
            if let Some(seen) = seen {
                holder(&mut seen.holder);
                server(&mut seen.reign);
            }
            if let Some(waiting) = waiting {
                server(&mut waiting.server);
                server(&mut waiting.reign);
            }
        }
        world
    }

    fn number_all(&mut self) {
        let (mut versions, mut histories) = (Names::default(), Names::default());
        for server in &mut self.cluster.servers {
            server.data.iter_mut().for_each(|stored| versions.rename(&mut stored.version));
            histories.rename(&mut server.history);
        }
        for server in &mut self.cluster.servers {
            server.second.iter_mut().for_each(|(history, _)| histories.rename(history));
        }
        for Candidate { seen, waiting, sent: _ } in &mut self.candidates {
            let seen = seen.iter_mut().filter_map(|seen| seen.version.as_mut());
            let waiting = waiting.iter_mut().map(|waiting| &mut waiting.version);
            seen.chain(waiting).for_each(|version| versions.rename(version));
        }
        self.number_offsets();
    }

    fn number_offsets(&mut self) {
        // Of each history the offsets that occur, as bits, and the one of an old dump.
        let mut marks = [1_u64 << OLD; 2 * SERVERS];
        for server in &self.cluster.servers {
            marks[usize::from(server.history)] |= 1 << server.offset;
            if let Some((history, offset)) = server.second {
                marks[usize::from(history)] |= 1 << offset;
            }
        }
        let number = |history: u8, offset: u8| {
            let below = marks[usize::from(history)] & ((1 << offset) - 1);
            u8::try_from(below.count_ones()).expect("at most 64")
        };
        for server in &mut self.cluster.servers {
            server.offset = number(server.history, server.offset);
            if let Some((history, offset)) = &mut server.second {
                *offset = number(*history, *offset);
            }
        }
    }
}

fn is_sorted<T: Ord>(traits: &[T; 3], order: [usize; 3]) -> bool {
    traits[order[0]] <= traits[order[1]] && traits[order[1]] <= traits[order[2]]
}

/// Numbers what it is shown by its first occurrence.
#[derive(Default)]
struct Names {
    known: [u8; 16],
    count: usize,
}

impl Names {
    fn rename(&mut self, name: &mut u8) {
        let known = self.known[..self.count].iter().position(|known| known == name);
        let place = known.unwrap_or_else(|| {
            self.known[self.count] = *name;
            self.count += 1;
            self.count - 1
        });
        *name = number(place);
    }
}
