//! Partitions: cuts of the way between a candidate and its store.

use std::time::Duration;

use leasehold::Loss;
use leasehold::backend::Intent;
use leasehold::timing::Time;

use crate::history::{Event, What};
use crate::link::{Fault, Guard, Outage, Requests};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World};

/// The leader is struck for two leases: its term is over by its deadline, one other leads, and
/// after the fault it is a follower again. Returns when its belief ended.
async fn struck(world: &World, outage: Outage, bound: Duration) -> Outcome {
    world.over_network();
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let first = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let from = world.now();
    let guard = a.link().strike(outage);
    let loss = world
        .within("the leader's term ends", world.timing().renew_deadline(), first.lost())
        .await?;
    must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
    let mut sign = last_sign(world, "a").unwrap_or(from);
    if outage == Outage::AnswersLost && a.link().network().is_some() {
        // Nobody heard of them: the store tells that renewals were applied after the last one that
        // was answered.
        let left = world.networks()?.left(world.lock()).await.map_err(Problem::Vacuous)?;
        let kept = world.now().since(sign) + left;
        must(kept > LEASE, || format!("no renewal was applied without an answer: {left:?} left"))?;
        sign = sign + (kept - LEASE);
    }
    let second = world.within("b leads", bound, waiting).await?.map_err(Problem::violated)??;
    let early =
        if world.target().virtual_time() { Duration::ZERO } else { Duration::from_millis(50) };
    let up = world.leader().map_or(world.now(), |span| span.begin);
    must(up + early >= sign + LEASE, || {
        format!("taken {:?} after the last renewal applied", up.since(sign))
    })?;
    world.sleep_until(from + 2 * LEASE).await;
    guard.lift();
    drop(first);
    let _again = a.stand();
    world.sleep(LEASE).await;
    must(second.check() && a.leads().is_none(), || "the old leader does not follow".to_owned())?;
    Ok(Finding::Holds)
}

pub(super) fn last_sign(world: &World, node: &str) -> Option<Time> {
    world.last(|event: &Event| {
        &*event.node == node
            && matches!(event.what, What::Applied { intent: Intent::Take | Intent::Renew, .. })
    })
}

/// NP1.
pub(super) async fn cut_off(world: &World) -> Outcome {
    struck(world, Outage::Cut, world.failover()).await
}

/// NP2. What is applied without an answer keeps the others waiting.
pub(super) async fn answers_lost(world: &World) -> Outcome {
    // Renewals are applied until the leader gives up.
    let bound = world.failover() + world.timing().renew_deadline();
    struck(world, Outage::AnswersLost, bound).await
}

/// NP3.
pub(super) async fn requests_lost(world: &World) -> Outcome {
    struck(world, Outage::RequestsLost, world.failover()).await
}

/// NP4.
pub(super) async fn followers_cut_off(world: &World) -> Outcome {
    world.over_network();
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    let others = world.candidates("f", 4).await?;
    let _waiting: Vec<_> = others.iter().map(|other| other.stand()).collect();
    world.sleep(LEASE / 2).await;
    let cuts: Vec<Guard> =
        others.iter().take(3).map(|other| other.link().strike(Outage::Cut)).collect();
    world.sleep(3 * LEASE).await;
    must(lead.check(), || "followers that are cut off end the term".to_owned())?;
    drop(cuts);
    world.sleep(LEASE).await;
    must(lead.check(), || "followers that come back end the term".to_owned())?;
    Ok(Finding::Holds)
}

/// NP5. Every request of the cut arrives after it, though nobody waits for it any more.
pub(super) async fn zombies(world: &World) -> Outcome {
    world.over_network();
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let first = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let held = a.link().strike(Outage::Held);
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    drop(first);
    world.sleep(LEASE / 3).await;
    let refused = |event: &Event| matches!(event.what, What::Refused { .. }) && &*event.node == "a";
    let late = || a.link().network().map_or(0, |network| network.late());
    let before = (world.count(refused), late());
    held.lift();
    // A store that ends leases itself answers to the renewal of a lease that is gone in its own
    // way.
    let arrived = || world.count(refused) > before.0 || late() > before.1;
    world.until("the late requests arrive", LEASE / 3, arrived).await?;
    world.sleep(LEASE).await;
    must(second.check(), || "a request of the past ended the present term".to_owned())?;
    Ok(Finding::Holds)
}

/// NP8.
pub(super) async fn random_cuts(world: &World) -> Outcome {
    world.over_network();
    let candidates = world.candidates("c", 3).await?;
    let _running: Vec<_> = candidates.iter().map(|candidate| candidate.run()).collect();
    let end = world.now() + Duration::from_secs(60);
    let mut guards: Vec<Guard> = Vec::new();
    while world.now() < end {
        let one = &candidates[usize::try_from(world.draw(3)).unwrap_or(0)];
        if world.draw(3) == 0 && !guards.is_empty() {
            guards.remove(0).lift();
        } else {
            let link = one.link();
            let delay = Duration::from_millis(world.draw(600));
            guards.push(match world.draw(8) {
                0 => link.strike(Outage::Cut),
                1 => link.strike(Outage::RequestsLost),
                2 => link.strike(Outage::AnswersLost),
                3 => link.strike(Outage::Held),
                4 => link.strike(Outage::SlowAnswers(delay)),
                5 => link.strike(Outage::SlowRequests(delay)),
                6 => link.strike(Outage::Silent),
                _ => link.fault_next(3, Requests::Writes, Fault::Double),
            });
        }
        if guards.len() > 3 {
            guards.remove(0).lift();
        }
        world.sleep(Duration::from_millis(world.draw(1500))).await;
    }
    guards.clear();
    let up = world.until_some_leads("c", world.failover() + LEASE).await?;
    world.sleep(2 * LEASE).await;
    must(world.leader().is_some_and(|now| now.token == up.token), || {
        "it does not settle".to_owned()
    })?;
    Ok(Finding::Holds)
}
