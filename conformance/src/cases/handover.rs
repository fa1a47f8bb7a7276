//! Release and hand-over.

use std::time::Duration;

use leasehold::backend::Intent;
use leasehold::{Loss, Token};

use crate::candidate::{Lead, Stop};
use crate::hand::{Resource, grows};
use crate::history::{Event, What};
use crate::link::{Fault, Outage, Requests};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{AT_ONCE, LEASE, World};

const RELEASES: Requests = Requests::Only(Intent::Release);
const RENEWALS: Requests = Requests::Only(Intent::Renew);

fn of<'a>(node: &'a str, is: impl Fn(&What) -> bool + 'a) -> impl Fn(&Event) -> bool + 'a {
    move |event| &*event.node == node && is(&event.what)
}

/// HO1.
pub(super) async fn asked_to_stop(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let drain = Duration::from_millis(300);
    let _a = a.run_until(Stop::After(drain));
    world.until_leads("a", world.fresh()).await?;
    let _b = b.run();
    world.sleep(LEASE / 2).await;
    let asked = world.now();
    a.elector().shutdown();
    let up = world.until_leads("b", drain + world.hand_over()).await?;
    let stopped = world.last(of("a", |what| matches!(what, What::WorkStopped { .. })));
    let is_release = |what: &What| matches!(what, What::Sent { intent: Some(Intent::Release), .. });
    let released = world.last(of("a", is_release));
    let (Some(stopped), Some(released)) = (stopped, released) else {
        return Err(Problem::Violated("no stop of the work, or no release".to_owned()));
    };
    must(stopped <= released, || "the release was sent before the work had stopped".to_owned())?;
    must(stopped >= asked + drain, || "the work was not let drain".to_owned())?;
    must(up.begin >= released, || "taken before the release".to_owned())?;
    Ok(Finding::Holds)
}

/// HO2.
pub(super) async fn renewal_in_flight(world: &World) -> Outcome {
    let orders = [Fault::HoldRequest, Fault::HoldAnswer, Fault::LoseRequest];
    for (round, fault) in orders.into_iter().enumerate() {
        let lock = format!("{}-{round}", world.lock());
        let a = world.candidate_for(&lock, &format!("{round}/a"), crate::world::setup()).await?;
        let b = world.candidate_for(&lock, &format!("{round}/b"), crate::world::setup()).await?;
        let lead = world.led(&a).await?;
        let waiting = b.stand();
        world.sleep(LEASE / 3).await;
        let before = world.history().mark();
        let held = a.link().fault_next(1, RENEWALS, fault);
        let sent = || {
            let renew = |event: &Event| {
                matches!(event.what, What::Sent { intent: Some(Intent::Renew), .. })
            };
            world.history().since(before).iter().any(renew)
        };
        world.until("a renewal is in flight", LEASE, sent).await?;
        let resigned = tokio::task::spawn_local(lead.resign());
        world.sleep(Duration::from_millis(30)).await;
        if fault != Fault::HoldRequest {
            held.lift();
            resigned_in_time(world, resigned).await?;
        } else {
            // This one arrives when its sender has gone on.
            resigned_in_time(world, resigned).await?;
            held.lift();
        }
        let second = world.within("b leads", world.failover(), waiting).await?;
        let second = second.map_err(Problem::violated)??;
        world.sleep(LEASE).await;
        must(second.check(), || format!("order {round}: the successor lost its term"))?;
    }
    Ok(Finding::Holds)
}

async fn resigned_in_time(
    world: &World,
    resigned: tokio::task::JoinHandle<Result<bool, leasehold::Error>>,
) -> Result<bool, Problem> {
    let limit = 3 * world.timing().request_timeout();
    world
        .within("the release ends", limit, resigned)
        .await?
        .map_err(Problem::violated)?
        .map_err(Problem::from)
}

/// HO3.
pub(super) async fn deposed(world: &World) -> Outcome {
    world.over_network();
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let running = a.run();
    world.until_leads("a", world.fresh()).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let cut = a.link().strike(Outage::Cut);
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    a.elector().shutdown();
    cut.lift();
    world
        .within("a's shutdown", LEASE, running)
        .await?
        .map_err(Problem::violated)?
        .map_err(|kind| Problem::Violated(format!("a's run ended with {kind:?}")))?;
    world.sleep(LEASE).await;
    must(second.check(), || "the successor's record was touched".to_owned())?;
    must(world.applied("a", Intent::Release) == 0, || "a deposed leader released".to_owned())?;
    Ok(Finding::Holds)
}

/// HO4.
pub(super) async fn answer_lost(world: &World) -> Outcome {
    world.over_network();
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    let term = lead.term();
    let waiting = b.stand();
    world.sleep(LEASE / 3).await;
    let _lost = a.link().strike(Outage::AnswerLost(Intent::Release));
    let resigned = tokio::task::spawn_local(lead.resign());
    // The store tells of the release by its successor, while its own answer is still awaited.
    let applied = || waiting.is_finished();
    world.until("the release is applied", world.hand_over(), applied).await?;
    world.happened("release without an answer", usize::from(!resigned.is_finished()))?;
    must(term.check() == Err(Loss::Resigned), || "belief outlives the release".to_owned())?;
    let second = world.within("b leads", world.hand_over(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    resigned_in_time(world, resigned).await?;
    must(second.check(), || "the successor lost its term".to_owned())?;
    Ok(Finding::Holds)
}

/// HO5.
pub(super) async fn late_release(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    let token = lead.token();
    world.sleep(LEASE / 3).await;
    let held = a.link().fault_next(1, RELEASES, Fault::HoldRequest);
    resigned_in_time(world, tokio::task::spawn_local(lead.resign())).await?;
    let again = world.within("a leads again", world.failover() + LEASE, a.campaign()).await??;
    grows(token, again.token())?;
    world.sleep(2 * LEASE).await;
    let before =
        world.count(|event| matches!(event.what, What::Applied { .. } | What::Refused { .. }));
    held.lift();
    let arrived = || {
        world.count(|event| matches!(event.what, What::Applied { .. } | What::Refused { .. }))
            > before
    };
    world.until("the late release arrives", AT_ONCE, arrived).await?;
    world.sleep(LEASE).await;
    must(again.check(), || "a late release ended the next term".to_owned())?;
    Ok(Finding::Holds)
}

/// HO6.
pub(super) async fn hung_store(world: &World) -> Outcome {
    world.over_network();
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    let term = lead.term();
    world.sleep(LEASE / 3).await;
    let _cut = a.link().strike(Outage::Cut);
    let asked = world.now();
    let confirmed = resigned_in_time(world, tokio::task::spawn_local(lead.resign())).await?;
    must(!confirmed, || "a release that never arrived is confirmed".to_owned())?;
    must(term.check().is_err(), || "belief outlives the release".to_owned())?;
    let took = world.now().since(asked);
    must(took > Duration::ZERO, || "it was not tried".to_owned())?;
    Ok(Finding::Holds)
}

/// HO7.
pub(super) async fn stays_back(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let cool_down = world.timing().cool_down();
    let lead = world.led(&a).await?;
    let released = world.now();
    must(lead.resign().await?, || "the release is not confirmed".to_owned())?;
    let alone = world.within("a leads again, alone", cool_down + AT_ONCE, a.campaign()).await??;
    must(world.now() >= released + cool_down, || "it retook within its cool-down".to_owned())?;
    let waiting = b.stand();
    world.sleep(LEASE / 3).await;
    must(alone.resign().await?, || "the release is not confirmed".to_owned())?;
    let _again = a.stand();
    let second: Lead =
        world.within("b leads", world.hand_over(), waiting).await?.map_err(Problem::violated)??;
    world.sleep(LEASE).await;
    must(second.check() && a.leads().is_none(), || "who resigned came back".to_owned())?;
    Ok(Finding::Holds)
}

/// HO8.
pub(super) async fn unfenced_work(world: &World) -> Outcome {
    let candidates = world.candidates("c", 2).await?;
    let _running: Vec<_> =
        candidates.iter().map(|one| one.run_until(Stop::After(Duration::from_millis(5)))).collect();
    let resource = Resource::new(world, false);
    let mut last: Token = 0;
    for _ in 0..world.rounds(100, 30) {
        let up = world.until_some_leads("c", world.fresh()).await?;
        grows(last, up.token)?;
        last = up.token;
        for _ in 0..3 {
            let _ = resource.write(up.token);
            world.sleep(Duration::from_millis(10)).await;
        }
        let leader = candidates.iter().find(|one| one.name() == &*up.node);
        leader
            .ok_or_else(|| Problem::Vacuous("no leader to step down".to_owned()))?
            .elector()
            .step_down();
        let next = || world.leader().is_some_and(|next| next.token != up.token);
        world.until("the other leads", 2 * LEASE, next).await?;
    }
    Ok(Finding::Holds)
}
