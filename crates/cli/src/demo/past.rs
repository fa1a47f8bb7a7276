//! What a picture needs of all that happened: the events of its window, and what came of those
//! before.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use leasehold::Token;
use leasehold::timing::Time;
use leasehold_testing::history::{Event, What};

/// How much of it the lanes show.
pub(super) const WINDOW: Duration = Duration::from_secs(40);

/// More than the columns of a lane are rounded by.
const SPARE: Duration = Duration::from_secs(2);

/// Grows with the window and not with the time that has passed.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Those of terms that began before, and may reach into the window.
    terms: Vec<Event>,
    recent: Vec<Event>,
    standings: HashMap<Arc<str>, Standing>,
    tallies: HashMap<Arc<str>, Tally>,
}

/// What had become of a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) frozen: bool,
    pub(super) dead: bool,
    pub(super) cuts: usize,
}

/// What had reached a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) highest: Token,
    pub(super) taken: u64,
    pub(super) late: u64,
}

impl Past {
    /// Learns what is new, and forgets what no picture from `now` on shows.
    pub(super) fn learn(&mut self, news: &[Event], now: Time) {
        self.recent.extend_from_slice(news);
        self.recent.sort_by_key(|event| event.at);
        let past = u64::try_from((WINDOW + SPARE).as_nanos()).unwrap_or(u64::MAX);
        let begin = Time(now.0.saturating_sub(past));
        let count = self.recent.partition_point(|event| event.at < begin);
        for event in self.recent.drain(..count).collect::<Vec<_>>() {
            self.fold(event);
        }
        self.forget(begin);
    }

    /// By time: of those before the window only what terms need.
    pub(super) fn events(&self) -> Vec<Event> {
        self.terms.iter().chain(&self.recent).cloned().collect()
    }

    /// The events of the window, of this candidate or resource.
    pub(super) fn recent<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Event> {
        self.recent.iter().filter(move |event| &*event.node == node)
    }

    /// How it stood before them.
    pub(super) fn standing(&self, node: &str) -> Standing {
        self.standings.get(node).copied().unwrap_or_default()
    }

    /// What it had been given before them.
    pub(super) fn tally(&self, node: &str) -> Tally {
        self.tallies.get(node).copied().unwrap_or_default()
    }

    fn fold(&mut self, event: Event) {
        let node = event.node.clone();
        match event.what {
            What::Effect { token, accepted, .. } => {
                self.tallies.entry(node).or_default().add(token, accepted);
            }
            What::Extended { token, .. } => {
                let same =
                    |it: &Event| matches!(it.what, What::Extended { token: t, .. } if t == token);
                self.terms.retain(|it| !(it.node == node && same(it)));
                self.terms.push(event);
            }
            What::Up { .. } | What::Down { .. } | What::Resigned { .. } => self.terms.push(event),
            _ => {
                self.standings.entry(node).or_default().add(&event.what);
                if event.what == What::Died {
                    self.terms.push(event);
                }
            }
        }
    }

    /// Drops the terms that were over before the window; not the newest, whose lease may be shown.
    fn forget(&mut self, begin: Time) {
        let token = |event: &Event| match event.what {
            What::Up { token, .. }
            | What::Extended { token, .. }
            | What::Down { token, .. }
            | What::Resigned { token } => Some(token),
            _ => None,
        };
        let newest = self.terms.iter().filter_map(token).max();
        let mut running = BTreeSet::new();
        for event in &self.terms {
            match event.what {
                What::Up { token, until } | What::Extended { token, until } if until >= begin => {
                    running.insert((event.node.clone(), token));
                }
                What::Down { token, .. } | What::Resigned { token } => {
                    running.remove(&(event.node.clone(), token));
                }
                _ => {}
            }
        }
        let is_kept = |event: &Event| {
            let key = token(event).map(|token| (event.node.clone(), token));
            key.is_none_or(|key| newest == Some(key.1) || running.contains(&key))
        };
        self.terms.retain(is_kept);
        let nodes: BTreeSet<Arc<str>> =
            self.terms.iter().filter(|it| token(it).is_some()).map(|it| it.node.clone()).collect();
        let mut died = BTreeSet::new();
        let terms = self.terms.drain(..).rev().filter(|event| {
            // The last death ends all terms before it.
            let is_death = event.what == What::Died;
            !is_death || nodes.contains(&event.node) && died.insert(event.node.clone())
        });
        self.terms = terms.collect();
        self.terms.reverse();
    }
}

impl Standing {
    pub(super) fn add(&mut self, what: &What) {
        match what {
            What::Stopped(on) => self.frozen = *on,
            What::Died => *self = Self { frozen: false, dead: true, cuts: 0 },
            // Only a new process sends anything.
            What::Sent { .. } => self.dead = false,
            What::Fault { on: true, .. } => self.cuts += 1,
            What::Fault { on: false, .. } => self.cuts = self.cuts.saturating_sub(1),
            _ => {}
        }
    }
}

impl Tally {
    /// Whether it was late.
    pub(super) fn add(&mut self, token: Token, accepted: bool) -> bool {
        let is_late = token < self.highest;
        self.highest = self.highest.max(token);
        self.taken += u64::from(accepted);
        self.late += u64::from(is_late);
        is_late
    }
}

#[cfg(test)]
mod tests {
    use leasehold_testing::judge::spans;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// An hour in which three lead in turn, a term every seven seconds; each third leader is
    /// killed.
    fn hour() -> Vec<Event> {
        let mut events = Vec::new();
        for second in 0..3600 {
            let (term, of) = (second / 7, second % 7);
            let node: Arc<str> = ["node-a", "node-b", "node-c"][(term % 3) as usize].into();
            let (at, token) = (Time(second * SECOND), term + 1);
            let until = Time((second + 4) * SECOND);
            let mut note = |node: &Arc<str>, what| {
                events.push(Event { at, node: node.clone(), what });
            };
            note(&node, What::Sent { op: second, intent: None });
            match of {
                0 => note(&node, What::Up { token, until }),
                6 if term % 3 == 2 => note(&node, What::Died),
                6 => note(&node, What::Down { token, why: "Expired".to_owned() }),
                3 => note(&node, What::Stopped(true)),
                4 => note(&node, What::Stopped(false)),
                _ => note(&node, What::Extended { token, until }),
            }
            note(&"fenced".into(), What::Effect { token, fenced: true, accepted: true });
        }
        events
    }

    #[test]
    fn it_shows_what_all_of_the_past_shows_and_stays_small() {
        let (all, mut past) = (hour(), Past::default());
        let mut most = 0;
        for (at, news) in all.chunks(3).enumerate() {
            let now = news[0].at;
            past.learn(news, now);
            most = most.max(past.events().len());
            let begin = Time(now.0.saturating_sub(40 * SECOND));
            let shown = |events: &[Event]| {
                let mut spans = spans(events);
                spans.retain(|span| span.end > begin);
                spans
            };
            let so_far = &all[..3 * (at + 1)];
            assert_eq!(shown(&past.events()), shown(so_far), "at {now:?}");
            for node in ["node-a", "node-b", "node-c"] {
                let (mut whole, mut rest) = (Standing::default(), past.standing(node));
                so_far.iter().filter(|it| &*it.node == node).for_each(|it| whole.add(&it.what));
                past.recent(node).for_each(|it| rest.add(&it.what));
                assert_eq!(rest, whole, "{node} at {now:?}");
            }
        }
        let mut tally = past.tally("fenced");
        for event in past.recent("fenced") {
            let What::Effect { token, accepted, .. } = event.what else { continue };
            tally.add(token, accepted);
        }
        assert_eq!(tally.taken, 3600);
        assert!(most < 150, "{most} events are kept");
    }

    #[test]
    fn a_long_lease_of_one_who_died_long_ago_is_kept_and_ended() {
        let node: Arc<str> = "node-a".into();
        let at =
            |seconds: u64, what| Event { at: Time(seconds * SECOND), node: node.clone(), what };
        let until = Time(3600 * SECOND);
        let mut past = Past::default();
        past.learn(&[at(1, What::Up { token: 1, until }), at(2, What::Died)], Time(2 * SECOND));
        past.learn(&[], Time(600 * SECOND));
        assert!(past.standing("node-a").dead);
        assert_eq!(past.events().len(), 2);
        assert_eq!(spans(&past.events())[0].end, Time(2 * SECOND));
    }
}
