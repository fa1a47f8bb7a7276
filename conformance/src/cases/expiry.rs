//! Expiry: when the holder is gone.

use std::time::Duration;

use leasehold::TimingSettings;
use leasehold::backend::Intent;
use leasehold::timing::Time;

use crate::candidate::Setup;
use crate::history::{Event, What};
use crate::link::{Fault, Requests};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

/// When the store last applied a sign of life.
fn last_sign(world: &World) -> Option<Time> {
    world.last(|event: &Event| {
        matches!(event.what, What::Applied { intent: Intent::Take | Intent::Renew, .. })
            // A candidate in another process tells of it instead.
            || matches!(event.what, What::Up { .. } | What::Extended { .. })
    })
}

/// What a death costs at most, and at least after the last sign of life.
fn costs(world: &World) -> (Duration, Duration) {
    if world.capabilities().sees_deaths {
        (Duration::ZERO, Duration::from_millis(500))
    } else {
        (LEASE, world.failover())
    }
}

/// Who comes after a death must not come too early. The stamp of the last sign of life may be a
/// little late.
fn not_before(world: &World, sign: Time, wait: Duration, took: Time) -> Result<(), Problem> {
    let early =
        if world.target().virtual_time() { Duration::ZERO } else { Duration::from_millis(50) };
    must(took + early >= sign + wait, || {
        format!("taken {:?} after the last sign of life, and not {wait:?}", took.since(sign))
    })
}

/// EX1.
pub(super) async fn killed(world: &World) -> Outcome {
    let mut a = world.mortal("a", "a").await?;
    world.until_leads("a", world.fresh()).await?;
    let b = world.candidate("b").await?;
    let _waiting = b.stand();
    world.sleep(LEASE).await;
    let marked = world.history().mark();
    let renewed = || {
        world
            .history()
            .since(marked)
            .iter()
            .any(|event| &*event.node == "a" && matches!(event.what, What::Extended { .. }))
    };
    world.until("a renews", LEASE, renewed).await?;
    a.kill();
    let sign = last_sign(world).ok_or_else(|| Problem::Vacuous("no sign of life".to_owned()))?;
    let (least, most) = costs(world);
    let up = world.until_leads("b", most).await?;
    not_before(world, sign, least, up.begin)?;
    Ok(Finding::Holds)
}

/// EX2.
pub(super) async fn started_after(world: &World) -> Outcome {
    let mut a = world.mortal("a", "a").await?;
    world.until_leads("a", world.fresh()).await?;
    world.sleep(LEASE / 2).await;
    a.kill();
    let sign = last_sign(world).ok_or_else(|| Problem::Vacuous("no sign of life".to_owned()))?;
    world.sleep(LEASE / 2).await;
    let b = world.candidate("b").await?;
    let asked = world.now();
    let _waiting = b.stand();
    let (least, most) = costs(world);
    let up = world.until_leads("b", most).await?;
    // Where observers count it cannot know the age of what it reads. The server knows.
    let from = if world.by_server() { sign } else { asked };
    not_before(world, from, least, up.begin)?;
    Ok(Finding::Holds)
}

/// EX3. A renewal was on its way for almost a lease; its candidate is stopped since.
pub(super) async fn late_renewal(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let _lead = world.led(&a).await?;
    let _waiting = b.stand();
    world.sleep(LEASE).await;
    let marked = world.history().mark();
    let held = a.link().fault_next(1, Requests::Only(Intent::Renew), Fault::HoldRequest);
    let sent = || {
        let renew =
            |event: &Event| matches!(event.what, What::Sent { intent: Some(Intent::Renew), .. });
        world.history().since(marked).iter().any(|event| &*event.node == "a" && renew(event))
    };
    world.until("a renewal is sent", LEASE, sent).await?;
    let sign = last_sign(world).ok_or_else(|| Problem::Vacuous("no sign of life".to_owned()))?;
    a.freeze();
    world.sleep_until(sign + LEASE - Duration::from_millis(150)).await;
    let before = world.applied("a", Intent::Renew);
    held.lift();
    let arrived = || world.applied("a", Intent::Renew) > before;
    world.until("the late renewal arrives", Duration::from_millis(100), arrived).await?;
    let sign = last_sign(world).unwrap_or(sign);
    let up = world.until_leads("b", world.failover()).await?;
    not_before(world, sign, LEASE, up.begin)?;
    Ok(Finding::Holds)
}

/// EX4.
pub(super) async fn whose_duration(world: &World) -> Outcome {
    for (round, lease) in [(1, 2 * LEASE), (2, LEASE * 2 / 3)] {
        let lock = format!("{}-{round}", world.lock());
        let long = Setup { timing: TimingSettings::lease_duration(lease), ..setup() };
        let a = world.candidate_for(&lock, &format!("{round}/a"), long).await?;
        let b = world.candidate_for(&lock, &format!("{round}/b"), setup()).await?;
        let _lead = world.led(&a).await?;
        let _waiting = b.stand();
        world.sleep(LEASE / 2).await;
        a.kill();
        let prefix = format!("{round}/a");
        let sign = world
            .last(|event| *event.node == *prefix && matches!(event.what, What::Applied { .. }));
        let sign = sign.ok_or_else(|| Problem::Vacuous("no sign of life".to_owned()))?;
        let most = lease + lease / 100 + Duration::from_millis(100) + world.sees();
        let up = world.until_leads(&format!("{round}/b"), most).await?;
        not_before(world, sign, lease, up.begin)?;
    }
    Ok(Finding::Holds)
}

/// EX5.
pub(super) async fn everybody_restarts(world: &World) -> Outcome {
    let mut old = [world.mortal("a", "a").await?, world.mortal("b", "b").await?];
    world.until("somebody leads", world.fresh(), || world.leader().is_some()).await?;
    world.sleep(LEASE / 2).await;
    // The standby first: it would take where the store sees that the leader died.
    if world.leader().is_some_and(|span| &*span.node == "a") {
        old.reverse();
    }
    old.iter_mut().for_each(crate::mortal::Mortal::kill);
    let new = world.candidates("n", 3).await?;
    let asked = world.now();
    let _waiting: Vec<_> = new.iter().map(|candidate| candidate.stand()).collect();
    let (least, most) = costs(world);
    let up = world.until_some_leads("n", most).await?;
    if !world.by_server() {
        not_before(world, asked, least, up.begin)?;
    }
    world.sleep(LEASE / 2).await;
    let ups =
        world.count(|event| matches!(event.what, What::Up { .. }) && event.node.starts_with('n'));
    must(ups == 1, || format!("{ups} of three lead"))?;
    Ok(Finding::Holds)
}

/// EX6. Shown where a store keeps leases longer than it is asked to.
pub(super) async fn effective_lease(world: &World) -> Outcome {
    let step = world.rounds(100, 700);
    let least = world.store().await?.capabilities().min_lease_duration;
    let asked = (1000..=5000).step_by(step).map(|milliseconds| milliseconds as u64);
    let asked = asked.map(Duration::from_millis).filter(|asked| *asked >= least);
    let kept: Vec<(Duration, Duration)> =
        futures_util::future::try_join_all(asked.map(|asked| kept(world, asked))).await?;
    let longest = kept.iter().map(|(asked, kept)| (kept.saturating_sub(*asked), *asked, *kept));
    let Some((more, asked, kept)) = longest.max() else {
        return Err(Problem::Vacuous("no lease was asked for".to_owned()));
    };
    let text =
        format!("at least {least:?}; at most {more:?} more than asked: {kept:?} for {asked:?}");
    // The bound of who counts by itself: the wait's own margin and jitter, and what the host adds.
    if more > asked / 1000 + asked / 50 + world.slack() {
        return Ok(Finding::Shown(text));
    }
    world.say(text);
    Ok(Finding::Holds)
}

/// The lease that was asked for, and when another led after the last sign of life.
async fn kept(world: &World, asked: Duration) -> Result<(Duration, Duration), Problem> {
    let lock = format!("{}-{}", world.lock(), asked.as_millis());
    let timed = || Setup { timing: TimingSettings::lease_duration(asked), ..setup() };
    let names = [format!("{}/a", asked.as_millis()), format!("{}/b", asked.as_millis())];
    let a = world.candidate_for(&lock, &names[0], timed()).await?;
    let b = world.candidate_for(&lock, &names[1], timed()).await?;
    let _lead = world.led(&a).await?;
    let _waiting = b.stand();
    world.sleep(asked / 2).await;
    a.kill();
    let applied =
        |event: &Event| *event.node == *names[0] && matches!(event.what, What::Applied { .. });
    let sign = world.last(applied).ok_or_else(|| Problem::Vacuous("no sign".to_owned()))?;
    let granularity = if world.by_server() { Duration::from_millis(500) } else { Duration::ZERO };
    let timing = a.elector().timing();
    let crash = timing.leaderless(world.capabilities().traits()).crash;
    let bound = crash.max(timing.bounds().crash) + granularity;
    let up = |event: &Event| *event.node == *names[1] && matches!(event.what, What::Up { .. });
    world.until(&format!("{} leads", names[1]), bound, || world.last(up).is_some()).await?;
    let up = world.last(up).ok_or_else(|| Problem::Vacuous("no term".to_owned()))?;
    not_before(world, sign, asked, up)?;
    Ok((asked, up.since(sign)))
}
