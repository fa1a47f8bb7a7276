//! Latency and ambiguity: what was done without an answer, and answered without being done.

use std::time::Duration;

use leasehold::TimingSettings;
use leasehold::backend::{Change, Intent, Observed, Outcome as Written};

use crate::candidate::Setup;
use crate::hand::{free, grows, record_of, until_held_by};
use crate::history::{Event, What};
use crate::link::{Fault, Outage, Requests};
use crate::proxy::{self, Direction};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, settings, setup};

/// LA1.
pub(super) async fn growing_delay(world: &World) -> Outcome {
    world.over_network();
    let sides: [fn(Duration) -> Outage; 2] = [Outage::SlowRequests, Outage::SlowAnswers];
    let steps = sides
        .into_iter()
        .enumerate()
        .flat_map(|(side, one)| (0..=4_u32).map(move |step| one_delay(world, side, step, one)));
    futures_util::future::try_join_all(steps).await?;
    Ok(Finding::Holds)
}

async fn one_delay(
    world: &World,
    side: usize,
    step: u32,
    outage: fn(Duration) -> Outage,
) -> Result<(), Problem> {
    let timing = world.timing();
    let (timeout, rides) = (timing.request_timeout(), timing.bounds().ride_through);
    let lock = format!("{}-{side}-{step}", world.lock());
    let names = [format!("{side}{step}/a"), format!("{side}{step}/b")];
    let a = world.candidate_for(&lock, &names[0], setup()).await?;
    let b = world.candidate_for(&lock, &names[1], setup()).await?;
    let lead = world.led(&a).await?;
    let waiting = b.stand();
    // The connections are there when they become slow: a login takes one answer more.
    let renewed = || world.applied(&names[0], Intent::Renew) > 0;
    world.until("it is renewed", LEASE, renewed).await?;
    let delay = timeout * step * 3 / 10;
    let _delay = a.link().strike(outage(delay));
    world.sleep(2 * LEASE).await;
    // Every request takes less than its timeout: nothing is lost. What the store itself takes comes
    // on top.
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
    world.over_network();
    let a = world.candidate("a").await?;
    let lost = a.link().strike(Outage::AnswerLost(Intent::Take));
    let campaign = a.stand();
    until_held_by(world, Some("a")).await?;
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
    let first = world.within("a leads", world.fresh(), a.campaign()).await??;
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
    world.over_network();
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
        world.until_some_leads(&format!("{round}/"), world.fresh()).await?;
        for _ in 0..world.rounds(20, 3) {
            let one = if world.draw(2) == 0 { &a } else { &b };
            let delay = Duration::from_millis(world.draw(2500));
            let fault = match world.draw(3) {
                0 => one.link().strike(Outage::SlowAnswers(delay)),
                1 => one.link().strike(Outage::SlowRequests(delay)),
                _ => one.link().strike(Outage::Cut),
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

/// LA4. A request whose answer is cut off is neither done nor refused: whoever sent it does not
/// know.
pub(super) async fn cut_answers(world: &World) -> Outcome {
    let (lock, clock) = (world.lock(), world.clock());
    // A server that learns how to compare with the first write answers to that twice.
    world.make_ready(lock).await;
    let (store, network) = world.networks()?.open_apart(lock, clock).await?;
    let plain = world.store().await?;
    // How many answers came whole in succession, and what became of the takes whose answer did not.
    let (mut whole, mut bytes, mut applied, mut lost) = (0, 0, 0, 0);
    while whole < 24 {
        let mut seen = plain.read().await?;
        while is_held(&seen) {
            // Applied after all, or kept by nobody until its lease is over.
            seen = free(&plain, &seen).await?;
        }
        // The connections stand when they are cut.
        let stands = async { while store.read().await.is_err() {} };
        world.within("it is connected again", LEASE, stands).await?;
        let cut = network.fault(proxy::Fault::CutAfter(Direction::Replies, bytes));
        let change = Change { intent: Intent::Take, record: record_of("cut", 1) };
        let limit = 3 * world.timing().request_timeout();
        let written = world.within("it says something", limit, store.write(&seen.version, &change));
        let written = written.await?;
        drop(cut);
        let stored = plain.read().await?;
        match written {
            Ok(Written::Written(observed)) => {
                let same = observed.version == stored.version && is_held(&stored);
                must(same, || format!("{bytes} bytes: told of a take that is not stored"))?;
                whole += 1;
            }
            Ok(Written::Conflict) => {
                must(!is_held(&stored), || {
                    format!("{bytes} bytes: told of a refusal, and the take is stored")
                })?;
                whole = 0;
            }
            Err(_) => {
                whole = 0;
                if is_held(&stored) { applied += 1 } else { lost += 1 }
            }
        }
        bytes += 1;
    }
    world.happened("take that was applied and whose answer was cut", applied)?;
    if world.networks()?.answers_first() {
        world.happened("take that was not applied and whose answer was cut", lost)?;
    }
    world.say(format!(
        "answers cut after 0 to {bytes} bytes: of those not whole {applied} takes were applied and \
         {lost} not"
    ));
    let some = [0, bytes / 4, bytes / 2, bytes * 3 / 4];
    let some = some.into_iter().enumerate();
    let led = some.map(|(round, after)| leads_after_a_cut(world, round, after));
    futures_util::future::try_join_all(led).await?;
    Ok(Finding::Holds)
}

/// A lock that was freed by hand may stay as a record without holder.
fn is_held(seen: &Observed) -> bool {
    seen.record().is_some_and(|record| record.holder.is_some())
}

/// A candidate whose answers are cut leads once they come: it does not lock itself out.
async fn leads_after_a_cut(world: &World, round: usize, bytes: u64) -> Result<(), Problem> {
    world.over_network();
    let (lock, name) = (format!("{}-{round}", world.lock()), format!("{round}/a"));
    let a = world.candidate_for(&lock, &name, setup()).await?;
    world.disturb_lock(&round.to_string(), "answers are cut");
    let cut = a.link().strike(Outage::AnswersCut(bytes));
    let waiting = a.stand();
    world.sleep(LEASE / 2).await;
    drop(cut);
    let bound = world.failover() + LEASE;
    let lead = world.within("it leads", bound, waiting).await?.map_err(Problem::violated)??;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())
}
