//! Overload, and credentials that are taken away: the store answers, and does not serve.

use std::time::Duration;

use leasehold::backend::Intent;
use leasehold::{ErrorKind, Loss};

use crate::history::{Event, What};
use crate::link::{Fault, Outage, Requests};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World};

/// OV1.
pub(super) async fn throttled(world: &World) -> Outcome {
    let second = Duration::from_secs(1);
    for (round, retry_after) in [second, 30 * second].into_iter().enumerate() {
        let lock = format!("{}-{round}", world.lock());
        let node = format!("{round}/a");
        let a = world.candidate_for(&lock, &node, crate::world::setup()).await?;
        let lead = world.led(&a).await?;
        world.sleep(LEASE / 3).await;
        let asked = Fault::Refuse(ErrorKind::Throttled { retry_after: Some(retry_after) });
        let fault = a.link().fault_next(1, Requests::All, asked);
        let before = world.sent(&node);
        world.sleep(world.timing().retry_period() + Duration::from_millis(600)).await;
        // Within its deadline a leader obeys; it never storms.
        let sent = world.sent(&node) - before;
        must(sent <= 3, || {
            format!("{sent} requests although asked for a pause of {retry_after:?}")
        })?;
        fault.lift();
        world.sleep(LEASE).await;
        must(lead.check(), || format!("one refusal for {retry_after:?} ends the term"))?;
        follower_obeys(world, &lock, round).await?;
    }
    Ok(Finding::Holds)
}

/// A follower has no deadline that would make it ask sooner.
async fn follower_obeys(world: &World, lock: &str, round: usize) -> Result<(), Problem> {
    let name = format!("{round}/f");
    let follower = world.candidate_for(lock, &name, crate::world::setup()).await?;
    let pause = Duration::from_secs(2);
    let asked = Fault::Refuse(ErrorKind::Throttled { retry_after: Some(pause) });
    let _fault = follower.link().fault_next(1, Requests::All, asked);
    let _waiting = follower.stand();
    world.sleep(pause - Duration::from_millis(200)).await;
    must(world.sent(&name) == 1, || format!("{} requests in a pause", world.sent(&name)))?;
    world.sleep(Duration::from_millis(400) + world.slack()).await;
    must(world.sent(&name) > 1, || "it never asks again".to_owned())?;
    Ok(())
}

/// OV3.
pub(super) async fn refused_for_an_hour(world: &World) -> Outcome {
    world.over_network();
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let _running = [a.run(), b.run()];
    world.until("somebody leads", world.fresh(), || world.leader().is_some()).await?;
    let refusals = [&a, &b].map(|one| one.link().strike(Outage::Refused));
    // Real time is dear: two minutes stand for the hour, and the report says so.
    let hour = Duration::from_secs(if world.target().virtual_time() { 3600 } else { 120 });
    world.say(format!("refused for {hour:?}"));
    let before = world.sent("a") + world.sent("b");
    world.sleep(hour).await;
    let sent = world.sent("a") + world.sent("b") - before;
    let most = 2 * hour.as_millis() / world.timing().retry_period().as_millis() + 10;
    must(sent as u128 <= most, || {
        format!("{sent} requests in an hour of refusals, at most {most}")
    })?;
    world.happened("attempt", sent)?;
    drop(refusals);
    world
        .until("somebody leads again", world.failover() + LEASE, || world.leader().is_some())
        .await?;
    Ok(Finding::Holds)
}

/// SE4.
pub(super) async fn revoked(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let revoked = a.link().fault(Requests::All, Fault::Refuse(ErrorKind::Denied));
    let before = world.sent("a");
    let loss = world.within("its term ends", world.timing().renew_deadline(), lead.lost()).await?;
    must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
    let error = a.elector().status().store_error.map(|error| error.kind());
    must(error == Some(ErrorKind::Denied), || format!("its status says {error:?}"))?;
    let sent = world.sent("a") - before;
    must(sent <= 20, || format!("{sent} requests without a credential"))?;
    let _lead =
        world.within("b leads", world.failover(), waiting).await?.map_err(Problem::violated)??;
    drop(lead);
    // It is a state and not the end: the credential may come back.
    let again = a.stand();
    world.sleep(LEASE).await;
    must(!again.is_finished(), || "it gave up".to_owned())?;
    revoked.lift();
    Ok(Finding::Holds)
}

/// SE7. Something on the way keeps a renewal and sends it again later.
pub(super) async fn replayed(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let first = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 3).await;
    let renewals = Requests::Only(Intent::Renew);
    let copies = a.link().fault_next(2, renewals, Fault::HoldRequest);
    let given_up = |event: &Event| matches!(event.what, What::GivenUp { .. });
    world.until("a renewal is kept", LEASE, || world.count(given_up) > 0).await?;
    world.sleep(LEASE / 3).await;
    first.resign().await?;
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    world.sleep(LEASE).await;
    let applied = world.applied("a", Intent::Renew);
    copies.lift();
    world.sleep(LEASE).await;
    must(second.check(), || "a replayed renewal ended another's term".to_owned())?;
    must(world.applied("a", Intent::Renew) == applied, || {
        "a replayed renewal was let in".to_owned()
    })?;
    Ok(Finding::Holds)
}

/// SV9. Where there are no servers to replace, the way to the store says it.
pub(super) async fn replaced(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let _other = a.link().fault(Requests::All, Fault::Refuse(ErrorKind::Replaced));
    let timing = world.timing();
    // With its next request, and not at its deadline.
    let bound = timing.retry_period() + timing.request_timeout();
    world.within("its term ends", bound, lead.lost()).await?;
    drop(lead);
    refuses_another(world, a.stand(), bound).await?;
    let second = world.within("b leads", world.failover(), waiting).await?;
    must(second.map_err(Problem::violated)??.check(), || "b does not lead".to_owned())?;
    Ok(Finding::Holds)
}

/// Who knew the old store does not contend in the new one.
pub(super) async fn refuses_another<T>(
    world: &World,
    waiting: tokio::task::JoinHandle<Result<T, leasehold::Error>>,
    bound: Duration,
) -> Result<(), Problem> {
    let ended = world.within("it contends no more", bound + world.slack(), waiting).await?;
    match ended.map_err(Problem::violated)? {
        Err(error) if error.kind() == ErrorKind::Replaced => Ok(()),
        Err(error) => Err(Problem::Violated(format!("it ends with {:?}: {error}", error.kind()))),
        Ok(_) => Err(Problem::Unsafe("it leads in a store that is another one".to_owned())),
    }
}
