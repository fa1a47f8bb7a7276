//! Clocks: candidates' own clocks run at rates of their own, jump and stand still.

use std::time::Duration;

use leasehold::timing::Timing;

use crate::candidate::{Setup, Stop};
use crate::history::{Event, What};
use crate::judge::Property;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

const MILLION: f64 = 1_000_000.0;

/// How much slower a holder's clock may run than what ends its lease, until two could believe at
/// once.
fn bound(world: &World) -> f64 {
    let lease = world.timing().lease_duration();
    let waited = if world.by_server() { lease } else { Timing::wait(lease) };
    waited.as_secs_f64() / world.timing().renew_deadline().as_secs_f64()
}

/// The rate of a clock so many times slower, in parts of a million, rounded to the safe side.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate near one")]
fn slower(ratio: f64) -> u64 {
    (MILLION / ratio).ceil() as u64
}

/// A slow holder is cut off, and another comes. How long both believed or worked is the judge's
/// question.
async fn under_partition(
    world: &World,
    round: usize,
    rate: u64,
    stop: Stop,
) -> Result<(), Problem> {
    let lock = format!("{}-{round}", world.lock());
    let slow = Setup { rate, ..setup() };
    let a = world.candidate_for(&lock, &format!("{round}/a"), slow).await?;
    let b = world.candidate_for(&lock, &format!("{round}/b"), setup()).await?;
    let running = a.run_until(stop);
    world.until_leads(&format!("{round}/a"), world.fresh()).await?;
    let other = b.run();
    // At another phase of the renewals every time.
    world.sleep(LEASE / 2 + Duration::from_millis(world.draw(400))).await;
    let cut = a.link().cut();
    world.until_leads(&format!("{round}/b"), world.failover()).await?;
    world.sleep(LEASE / 2).await;
    cut.lift();
    a.elector().shutdown();
    b.elector().shutdown();
    world.sleep(LEASE / 2).await;
    running.abort();
    other.abort();
    Ok(())
}

/// CK1. Half of the rounds at the bound for belief, half at that for work which uses all of its
/// grace.
pub(super) async fn within_the_bound(world: &World) -> Outcome {
    let rounds = world.rounds(100, 4);
    let timing = world.timing();
    let work = timing.renew_deadline() + timing.stop_grace();
    let work = timing.lease_duration().as_secs_f64() / work.as_secs_f64();
    for round in 0..rounds / 2 {
        under_partition(world, round, slower(bound(world) * 0.99), Stop::AtOnce).await?;
    }
    for round in rounds / 2..rounds {
        under_partition(world, round, slower(work * 0.99), Stop::Never).await?;
    }
    Ok(Finding::Holds)
}

/// CK2.
pub(super) async fn beyond_the_bound(world: &World) -> Outcome {
    world.exempt(Property::BeliefExclusion);
    world.exempt(Property::WorkExclusion);
    world.exempt(Property::WorkWithinTerm);
    for round in 0..world.rounds(5, 2) {
        under_partition(world, round, slower(bound(world) * 1.3), Stop::AtOnce).await?;
    }
    let rules = crate::judge::Rules {
        marginal: Duration::from_millis(20),
        request_limit: LEASE,
        exempt: Vec::new(),
    };
    let violations = crate::judge::judge(&world.history().events(), &rules);
    let overlap = violations.iter().find(|found| found.property == Property::BeliefExclusion);
    match overlap {
        Some(overlap) => Ok(Finding::Shown(overlap.text.clone())),
        None => Err(Problem::NotShown("no two believed at once".to_owned())),
    }
}

/// CK3.
pub(super) async fn wall_clocks(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let hour: i64 = 3_600_000;
    // A machine without a clock that is kept running begins in 1970.
    let to_1970 = -i64::try_from(world.clock().wall().0).unwrap_or(i64::MAX);
    for step in [hour, -hour, 10 * 8766 * hour, -10 * 8766 * hour, to_1970] {
        let lead = world.led(&a).await?;
        let waiting = b.stand();
        for candidate in [&a, &b] {
            candidate.clock().step_wall(step);
            world.sleep(LEASE / 2).await;
            must(lead.check(), || format!("a step of {step} ms ends the term"))?;
            must(b.leads().is_none(), || format!("a step of {step} ms makes two leaders"))?;
        }
        must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
        let second =
            world.within("b leads", LEASE / 3, waiting).await?.map_err(Problem::violated)??;
        must(second.resign().await?, || "a release is not confirmed".to_owned())?;
        a.clock().step_wall(0);
        b.clock().step_wall(0);
    }
    Ok(Finding::Holds)
}

/// CK4. A suspended machine runs nothing, and its clock counts the time.
pub(super) async fn suspended(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let first = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    a.freeze();
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    world.sleep(10 * LEASE).await;
    must(!first.check(), || "a term outlives a suspend".to_owned())?;
    let applied = || {
        let of_a =
            |event: &Event| matches!(event.what, What::Applied { .. }) && &*event.node == "a";
        world.count(of_a)
    };
    let before = applied();
    a.thaw();
    must(!first.check(), || "a term comes back after a suspend".to_owned())?;
    world.sleep(LEASE).await;
    must(applied() == before && a.leads().is_none(), || {
        "the resumed one disturbs its successor".to_owned()
    })?;
    // Nobody disturbed it, so only a host that was too slow for its renewals ends its term.
    if !second.check() {
        return Err(Problem::Late("the successor's term ended by itself".to_owned()));
    }
    Ok(Finding::Holds)
}
