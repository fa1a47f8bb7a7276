//! Latency and ambiguity: what was done without an answer, and answered without being done.

use std::time::Duration;

use leasehold::{Intent, TimingSettings};

use crate::candidate::Setup;
use crate::hand::grows;
use crate::history::{Event, What};
use crate::link::{Fault, Requests};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, settings, setup};

/// LA1.
pub(super) async fn growing_delay(world: &World) -> Outcome {
    let sides: [fn(Duration) -> Fault; 2] = [Fault::DelayRequest, Fault::DelayAnswer];
    let steps = sides
        .into_iter()
        .enumerate()
        .flat_map(|(side, fault)| (0..=4_u32).map(move |step| one_delay(world, side, step, fault)));
    futures_util::future::try_join_all(steps).await?;
    Ok(Finding::Holds)
}

async fn one_delay(
    world: &World,
    side: usize,
    step: u32,
    fault: fn(Duration) -> Fault,
) -> Result<(), Problem> {
    let timing = world.timing();
    let (timeout, rides) = (timing.request_timeout(), timing.bounds().ride_through);
    let lock = format!("{}-{side}-{step}", world.lock());
    let names = [format!("{side}{step}/a"), format!("{side}{step}/b")];
    let a = world.candidate_for(&lock, &names[0], setup()).await?;
    let b = world.candidate_for(&lock, &names[1], setup()).await?;
    let lead = world.led(&a).await?;
    let waiting = b.stand();
    let delay = timeout * step * 3 / 10;
    let _delay = a.link().fault(Requests::All, fault(delay));
    world.sleep(2 * LEASE).await;
    // Every request takes less than its timeout: nothing is lost. What the store itself takes comes on top.
    let spare = if world.target().virtual_time() { Duration::ZERO } else { timeout / 3 };
    if delay + spare < timeout && 2 * delay < rides {
        must(lead.check(), || format!("a delay of {delay:?} ends the term"))?;
    }
    if delay > timeout {
        must(!lead.check(), || format!("it leads over a delay of {delay:?}"))?;
        let bound = world.failover() + LEASE;
        let _lead = world.within("b leads", bound, waiting).await?.map_err(Problem::violated)??;
    }
    Ok(())
}

/// LA2.
pub(super) async fn take_without_answer(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let lost = a.link().fault_next(1, Requests::Only(Intent::Take), Fault::LoseAnswer);
    let campaign = a.stand();
    world.until("the take is applied", LEASE, || world.applied("a", Intent::Take) > 0).await?;
    world.sleep(world.timing().request_timeout() / 2).await;
    must(!campaign.is_finished(), || "it leads without an answer".to_owned())?;
    lost.lift();
    // Reads show its own take; that alone makes no leader.
    let renewals = Requests::Only(Intent::Renew);
    let refused = a.link().fault(renewals, Fault::Refuse(leasehold::ErrorKind::Unavailable));
    let reads = |event: &Event| matches!(event.what, What::Sent { intent: None, .. });
    let before = world.count(reads);
    world.sleep(world.timing().request_timeout() * 2).await;
    world.happened("read of its own take", world.count(reads) - before)?;
    must(!campaign.is_finished(), || "it leads because a read names it".to_owned())?;
    refused.lift();
    let lead = world.within("it leads", world.failover(), campaign).await?;
    let lead = lead.map_err(Problem::violated)??;
    let up = world.leader().ok_or_else(|| Problem::Vacuous("nobody leads".to_owned()))?;
    let applied = world.last(|event: &Event| matches!(event.what, What::Applied { .. }));
    must(applied.is_some_and(|applied| applied <= up.begin), || {
        "it leads on a read alone".to_owned()
    })?;
    must(lead.check(), || "its term is over".to_owned())?;
    Ok(Finding::Holds)
}

/// LA3.
pub(super) async fn sent_twice(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    for intent in [Intent::Adopt, Intent::Take] {
        // Kept until they strike: the guards go with the case.
        std::mem::forget(a.link().fault_next(1, Requests::Only(intent), Fault::Double));
    }
    let first = world.within("a leads", LEASE, a.campaign()).await??;
    for _ in 0..3 {
        let double = a.link().fault_next(1, Requests::Only(Intent::Renew), Fault::Double);
        world.sleep(LEASE / 2).await;
        double.lift();
        must(first.check(), || "its own first request ended the term".to_owned())?;
    }
    let refused = world.count(|event| matches!(event.what, What::Refused { .. }));
    world.happened("refusal of a second request", refused)?;
    let (token, waiting) = (first.token(), b.stand());
    let double = a.link().fault_next(1, Requests::Only(Intent::Release), Fault::Double);
    first.resign().await?;
    let second = world.within("b leads", world.failover(), waiting).await?;
    drop(double);
    grows(token, second.map_err(Problem::violated)??.token())?;
    Ok(Finding::Holds)
}

/// LA5. As far as the timing's rules let it: `P + 3T <= D`.
pub(super) async fn request_timeouts(world: &World) -> Outcome {
    for (round, share) in [8, 16, 24, 31].into_iter().enumerate() {
        let timeout = world.timing().renew_deadline() * share / 100;
        let retry_period = Some(Duration::from_millis(100));
        let timing = TimingSettings { retry_period, request_timeout: Some(timeout), ..settings() };
        let lock = format!("{}-{round}", world.lock());
        let a =
            world.candidate_for(&lock, &format!("{round}/a"), Setup { timing, ..setup() }).await?;
        let b =
            world.candidate_for(&lock, &format!("{round}/b"), Setup { timing, ..setup() }).await?;
        let _running = [a.run(), b.run()];
        world.until_some_leads(&format!("{round}/"), LEASE).await?;
        for _ in 0..world.rounds(20, 3) {
            let one = if world.draw(2) == 0 { &a } else { &b };
            let delay = Duration::from_millis(world.draw(2500));
            let fault = match world.draw(3) {
                0 => one.link().fault(Requests::All, Fault::DelayAnswer(delay)),
                1 => one.link().fault(Requests::All, Fault::DelayRequest(delay)),
                _ => one.link().cut(),
            };
            world.sleep(Duration::from_millis(world.draw(5000))).await;
            fault.lift();
            world.sleep(Duration::from_millis(world.draw(2000))).await;
        }
        world.until_some_leads(&format!("{round}/"), world.failover() + LEASE).await?;
        a.elector().shutdown();
        b.elector().shutdown();
    }
    Ok(Finding::Holds)
}
