//! The member that leads the store stands still for longer than a lease, and goes on.
//!
//! Until it hears of its successor it counts leases by its own clock, so it may have some ended
//! that were renewed meanwhile. No candidate can prevent that. What must hold: who lost its key so
//! is told of it, ends its term, and another leads.

use std::time::Duration;

use leasehold::timing::Time;
use leasehold::{Observer, TimingSettings, Token};

use super::{LONG, seconds};
use crate::candidate::{Candidate, Setup};
use crate::fixture::Fixture;
use crate::history::{Event, What};
use crate::link::Link;
use crate::verdict::{Problem, must};
use crate::world::{World, setup};

/// Longer than a lease, and than what is left of it when it is renewed.
const FROZEN: Duration = seconds(17);

const ROUNDS: usize = 3;

const LOCKS: usize = 4;

/// Two who contend, and one who looks on and so tells when a key vanished.
struct Lock {
    name: String,
    candidates: [Candidate; 2],
    _observer: (Link, Observer),
}

impl Lock {
    async fn on(world: &World, servers: &dyn Fixture, number: usize) -> Result<Self, Problem> {
        let name = format!("thaw{number}");
        let url = servers.url(&servers.endpoints(), &name);
        world.ready_at(&url).await?;
        let candidate = async |who: &str| {
            let (identity, timing) = (Some(who.to_owned()), TimingSettings::lease_duration(LONG));
            let setup = Setup { identity, timing, ..setup() };
            world.candidate_at(&url, &format!("{name}/{who}"), setup).await
        };
        let candidates = [candidate("a").await?, candidate("b").await?];
        candidates.iter().for_each(|one| drop(one.run()));
        let store = leasehold::connect(&url).await?;
        let observer = world.observer_of(&format!("{name}/o"), store)?;
        world.disturb_lock(&name, "the store's leader is frozen, again and again");
        Ok(Self { name, candidates, _observer: observer })
    }

    fn leads(&self) -> Option<Token> {
        self.candidates.iter().find_map(Candidate::leads)
    }

    /// When this lock first saw an event of that kind.
    fn first(&self, events: &[Event], is: impl Fn(&What) -> bool) -> Option<Time> {
        let own = |event: &&Event| event.node.split_once('/').is_some_and(|it| it.0 == self.name);
        events.iter().filter(own).find(|event| is(&event.what)).map(|event| event.at)
    }
}

/// How long it took, at the worst.
#[derive(Default)]
struct Lost {
    terms: usize,
    told: Duration,
    followed: Duration,
}

pub(super) async fn stopped_for_a_lease(
    world: &World,
    servers: &mut dyn Fixture,
) -> Result<(), Problem> {
    let mut locks = Vec::new();
    for number in 0..LOCKS {
        locks.push(Lock::on(world, servers, number).await?);
    }
    let all_lead = || locks.iter().all(|lock| lock.leads().is_some());
    world.until("every lock has a leader", world.fresh(), all_lead).await?;
    let timing = locks[0].candidates[0].elector().timing();
    let bound = timing.bounds().crash + seconds(1);
    let mut lost = Lost::default();
    for _ in 0..ROUNDS {
        servers.settled().await?;
        let member = servers.leader().await?;
        let tokens: Vec<Option<Token>> = locks.iter().map(Lock::leads).collect();
        servers.freeze(member)?;
        world.sleep(FROZEN).await;
        let now: Vec<Option<Token>> = locks.iter().map(Lock::leads).collect();
        if now != tokens {
            return Err(Problem::Late(format!("a frozen member ends terms: {tokens:?}, {now:?}")));
        }
        let mark = world.history().mark();
        servers.thaw(member)?;
        // It looks every half second.
        world.sleep(seconds(3)).await;
        world.until("every lock has a leader again", bound, all_lead).await?;
        let events = world.history().since(mark);
        for (lock, token) in locks.iter().zip(tokens) {
            let token = token.ok_or_else(|| Problem::violated("nobody led"))?;
            let limit = timing.retry_period() + timing.request_timeout() + world.slack();
            lost.count(lock, &events, token, limit, bound)?;
        }
    }
    world.say(format!(
        "the store's leader frozen for {FROZEN:?} at a lease of {LONG:?}: when it went on it ended \
         {} of {} terms that were renewed; at the worst the leader ended {:?} after others saw \
         that, and the next led after {:?}",
        lost.terms,
        ROUNDS * LOCKS,
        lost.told,
        lost.followed
    ));
    for candidate in locks.iter().flat_map(|lock| &lock.candidates) {
        candidate.elector().shutdown();
    }
    Ok(())
}

impl Lost {
    fn count(
        &mut self,
        lock: &Lock,
        events: &[Event],
        token: Token,
        limit: Duration,
        bound: Duration,
    ) -> Result<(), Problem> {
        let name = &lock.name;
        let vanished = lock.first(events, |what| {
            matches!(what,
                What::Told { leader } if leader.as_ref().is_none_or(|it| it.1 != Some(token)))
        });
        let ended =
            lock.first(events, |what| matches!(what, What::Down { token: it, .. } if *it == token));
        let next = lock.first(events, |what| matches!(what, What::Up { .. }));
        match (vanished, ended) {
            (None, None) => return Ok(()),
            (Some(vanished), Some(ended)) => {
                let told = ended.since(vanished);
                must(told <= limit, || format!("{name} believed for {told:?} without its key"))?;
                self.told = self.told.max(told);
            }
            (Some(_), None) => {
                return Err(Problem::Violated(format!(
                    "the key of {name} is gone, and it leads on"
                )));
            }
            (None, Some(_)) => {
                return Err(Problem::Late(format!(
                    "the term of {name} ended, and its key is there"
                )));
            }
        }
        let next = next.ok_or_else(|| Problem::Late(format!("nobody leads {name} again")))?;
        let followed = next.since(vanished.or(ended).unwrap_or(next));
        if followed > bound {
            return Err(Problem::Late(format!("{name} had no leader for {followed:?}")));
        }
        self.terms += 1;
        self.followed = self.followed.max(followed);
        Ok(())
    }
}
