//! Renewal: how a term goes on, and when it does not.

use std::time::Duration;

use leasehold::backend::{Intent, LockBackend};
use leasehold::timing::Time;
use leasehold::{ErrorKind, Loss, TimingSettings};
use serde_json::json;

use crate::candidate::{Candidate, Setup, Stop};
use crate::hand::put;
use crate::history::{Answer, Event, What};
use crate::link::{Fault, Outage, Requests};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, settings, setup};

const RENEWALS: Requests = Requests::Only(Intent::Renew);

/// When belief must end: the send of the last acknowledged write, plus D.
fn deadline(world: &World, node: &str) -> Option<Time> {
    let events = world.history().events();
    let of = |event: &&Event| &*event.node == node;
    let acknowledged = events.iter().filter(of).rev().find_map(|event| match event.what {
        What::Answered { op, answer: Answer::Done } => {
            let sent = events.iter().find(|sent| match sent.what {
                What::Sent { op: other, intent: Some(_) } => other == op,
                _ => false,
            });
            sent.map(|sent| sent.at)
        }
        _ => None,
    })?;
    Some(acknowledged + world.timing().renew_deadline())
}

/// The end of belief that a candidate announced last.
fn announced(world: &World, node: &str) -> Option<Time> {
    let events = world.history().events();
    events.iter().rev().filter(|event| &*event.node == node).find_map(|event| match event.what {
        What::Up { until, .. } | What::Extended { until, .. } => Some(until),
        _ => None,
    })
}

/// What a candidate announces must be what its requests allow.
fn counts_from_the_send(world: &World, node: &str) -> Result<Time, Problem> {
    let allowed = deadline(world, node);
    let allowed = allowed.ok_or_else(|| Problem::Vacuous("nothing was acknowledged".to_owned()))?;
    let said = announced(world, node).filter(|said| *said < Time::NEVER);
    let said =
        said.ok_or_else(|| Problem::Violated(format!("{node} announces no end of its belief")))?;
    // The request is noted a little after the candidate stamped it.
    must(said <= allowed, || {
        format!(
            "{node} believes {:?} longer than its last acknowledged send allows",
            said.since(allowed)
        )
    })?;
    let short = allowed.since(said);
    let worth =
        if world.target().virtual_time() { Duration::ZERO } else { Duration::from_millis(50) };
    must(short <= worth, || format!("{node} gives {short:?} away"))?;
    Ok(said)
}

/// RN1. Answers are slow before, so that send and answer differ.
pub(super) async fn all_fail(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let _running = a.run_until(Stop::After(Duration::from_millis(200)));
    world.until_leads("a", world.fresh()).await?;
    let slow = a.link().fault(Requests::All, Fault::DelayAnswer(Duration::from_millis(150)));
    world.sleep(LEASE / 2).await;
    let _fails = a.link().fault(RENEWALS, Fault::Refuse(ErrorKind::Unavailable));
    slow.lift();
    let gone = || world.count(|event| matches!(event.what, What::Down { .. })) > 0;
    world.until("a's belief ends", LEASE, gone).await?;
    let until = counts_from_the_send(world, "a")?;
    let down = world.last(|event| matches!(event.what, What::Down { .. })).unwrap_or(until);
    must(down >= until || a.leads().is_none(), || "belief ended early".to_owned())?;
    must(down <= until + world.slack(), || format!("belief ends {:?} late", down.since(until)))?;
    let stopped = || world.count(|event| matches!(event.what, What::WorkStopped { .. })) > 0;
    world.until("its work stops", Duration::from_millis(300), stopped).await?;
    Ok(Finding::Holds)
}

/// RN2.
pub(super) async fn one_fails(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    world.sleep(LEASE).await;
    let fails = a.link().fault_next(1, RENEWALS, Fault::Refuse(ErrorKind::Unavailable));
    let struck = || {
        world.count(|event| matches!(event.what, What::Answered { answer: Answer::Unknown, .. }))
            > 0
    };
    world.until("a renewal fails", LEASE, struck).await?;
    fails.lift();
    let before = world.applied("a", Intent::Renew);
    let again = || world.applied("a", Intent::Renew) > before;
    world.until("the next renewal succeeds", world.timing().retry_period() * 2, again).await?;
    world.sleep(Duration::from_millis(100)).await;
    must(lead.check(), || "one failed renewal ends the term".to_owned())?;
    counts_from_the_send(world, "a")?;
    Ok(Finding::Holds)
}

/// RN3.
pub(super) async fn around_the_deadline(world: &World) -> Outcome {
    let ms = |milliseconds| Some(Duration::from_millis(milliseconds));
    let timing = TimingSettings { retry_period: ms(200), request_timeout: ms(500), ..settings() };
    let a = world.candidate_with("a", Setup { timing, ..setup() }).await?;
    let lead = world.led(&a).await?;
    world.sleep(LEASE / 2).await;
    // Just before: it counts.
    let (until, held) = answer_held(world, &a).await?;
    world.sleep_until(until - Duration::from_millis(60)).await;
    let extended = world.count(is_extended);
    held.lift();
    let more = || world.count(is_extended) > extended;
    world.until("the answer in time counts", Duration::from_millis(50), more).await?;
    must(lead.check(), || "an answer in time came for nothing".to_owned())?;
    world.sleep(LEASE / 2).await;
    // Just after: it never does, although somebody waits for the next term.
    let (until, held) = answer_held(world, &a).await?;
    world.sleep_until(until + Duration::from_millis(10)).await;
    must(!lead.check(), || "a term goes on after its deadline".to_owned())?;
    let (token, term) = (lead.token(), lead.term());
    drop(lead);
    let next = a.stand();
    world.sleep_until(until + Duration::from_millis(40)).await;
    let extended = world.count(is_extended);
    held.lift();
    let again = world.within("a leads again", world.failover() + LEASE, next).await?;
    let again = again.map_err(Problem::violated)??;
    must(term.check().is_err(), || "a late answer brings a term back".to_owned())?;
    must(world.count(is_extended) == extended, || "a late answer extends a term".to_owned())?;
    crate::hand::grows(token, again.token())?;
    Ok(Finding::Holds)
}

fn is_extended(event: &Event) -> bool {
    matches!(event.what, What::Extended { .. })
}

/// Lets every renewal fail until shortly before the deadline, and keeps the answer to the next one.
async fn answer_held(world: &World, a: &Candidate) -> Result<(Time, crate::link::Guard), Problem> {
    let fails = a.link().fault(RENEWALS, Fault::Refuse(ErrorKind::Unavailable));
    world.sleep(Duration::from_millis(250)).await;
    let until = announced(world, "a").ok_or_else(|| Problem::Vacuous("no term".to_owned()))?;
    world.sleep_until(until - Duration::from_millis(420)).await;
    fails.lift();
    let held = a.link().fault(RENEWALS, Fault::HoldAnswer);
    let marked = world.history().mark();
    let applied = || {
        let renewed =
            |event: &Event| matches!(event.what, What::Applied { intent: Intent::Renew, .. });
        world.history().since(marked).iter().any(renewed)
    };
    let late = Duration::from_millis(350);
    let happened = world.until("a renewal close to the deadline", late, applied).await;
    happened.map_err(|_late| Problem::Late("no renewal came close to the deadline".to_owned()))?;
    Ok((until, held))
}

/// RN4.
pub(super) async fn ride_through(world: &World) -> Outcome {
    world.over_network();
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    let rides = world.timing().bounds().ride_through;
    world.sleep(LEASE / 2).await;
    after_renewal(world).await?;
    let cut = a.link().strike(Outage::Cut);
    world.sleep(rides - Duration::from_millis(200)).await;
    cut.lift();
    world.sleep(LEASE / 2).await;
    must(lead.check(), || format!("an outage shorter than {rides:?} ends the term"))?;
    after_renewal(world).await?;
    let cut = a.link().strike(Outage::Cut);
    world.sleep(world.timing().renew_deadline() + Duration::from_millis(20)).await;
    must(!lead.check(), || "it leads without store beyond its deadline".to_owned())?;
    cut.lift();
    must(lead.lost().await == Loss::Expired, || "another loss than expiry".to_owned())?;
    Ok(Finding::Holds)
}

/// Right after the next renewal was acknowledged.
async fn after_renewal(world: &World) -> Result<(), Problem> {
    let before = world.count(is_extended);
    world.until("a renewal", LEASE, || world.count(is_extended) > before).await
}

/// RN5.
pub(super) async fn own_earlier_write(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    let _waiting = b.stand();
    for _ in 0..world.rounds(10, 2) {
        world.sleep(LEASE / 2).await;
        let before = world.applied("a", Intent::Renew);
        let given_up = world.count(|event| matches!(event.what, What::GivenUp { .. }));
        let lost = a.link().fault_next(1, RENEWALS, Fault::LoseAnswer);
        let struck = || world.count(|event| matches!(event.what, What::GivenUp { .. })) > given_up;
        world.until("the answer to a renewal is given up", LEASE, struck).await?;
        lost.lift();
        let went_on = || world.applied("a", Intent::Renew) > before + 1;
        world.until("the term goes on from its own write", LEASE / 3, went_on).await?;
        world.sleep(Duration::from_millis(50)).await;
        must(lead.check(), || "its own earlier write ends a term".to_owned())?;
        counts_from_the_send(world, "a")?;
    }
    Ok(Finding::Holds)
}

/// RN6. The edit keeps the nonce: it is no sign of life, and no end of a term.
pub(super) async fn foreign_edit(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    let _waiting = b.stand();
    let store = world.store().await?;
    for number in 0..3 {
        world.sleep(LEASE / 3).await;
        edit(&store, number).await?;
    }
    world.sleep(LEASE / 2).await;
    must(lead.check(), || "an edit that changes nothing ends the term".to_owned())?;
    let kept = world.record().await?.and_then(|record| record.extra.get("label").cloned());
    must(kept == Some(json!(2)), || format!("the foreign field became {kept:?}"))?;
    // A dead leader stays dead, however often its record is edited.
    a.kill();
    let signed = |event: &Event| {
        matches!(event.what, What::Applied { intent: Intent::Renew, .. }) && &*event.node == "a"
    };
    let sign = world.last(signed).ok_or_else(|| Problem::Vacuous("no renewal".to_owned()))?;
    let end = sign + world.failover() + world.slack();
    while world.leader().is_none_or(|leader| &*leader.node != "b") {
        must(world.now() < end, || "edits keep a dead leader alive".to_owned())?;
        world.sleep(LEASE / 10).await;
        if world
            .record()
            .await?
            .and_then(|record| record.holder)
            .is_some_and(|it| it.identity == "a")
        {
            // Lost only to b's take.
            let _ = edit(&store, 9).await;
        }
    }
    Ok(Finding::Holds)
}

async fn edit(store: &std::sync::Arc<dyn LockBackend>, number: u64) -> Result<(), Problem> {
    for _ in 0..5 {
        let observed = store.read().await?;
        let mut record = observed
            .record()
            .cloned()
            .ok_or_else(|| Problem::Vacuous("there is nothing to edit".to_owned()))?;
        record.extra.insert("label".to_owned(), json!(number));
        if put(store, &observed.version, Intent::Renew, record).await.is_ok() {
            return Ok(());
        }
    }
    Err(Problem::Vacuous("every edit met a renewal".to_owned()))
}

/// RN7.
pub(super) async fn hangs(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    for fault in [Fault::LoseRequest, Fault::LoseAnswer] {
        world.sleep(LEASE / 2).await;
        let before = world.count(|event| matches!(event.what, What::GivenUp { .. }));
        let hang = a.link().fault_next(1, RENEWALS, fault);
        let cut = || world.count(|event| matches!(event.what, What::GivenUp { .. })) > before;
        let limit = world.timing().retry_period() + world.timing().request_timeout();
        world.until("the request is cut", limit + Duration::from_millis(50), cut).await?;
        hang.lift();
        after_renewal(world).await?;
        must(lead.check(), || "one hanging renewal ends the term".to_owned())?;
    }
    Ok(Finding::Holds)
}

/// The lease of a term in which the store refuses for a quarter of it.
const REFUSED: Duration = Duration::from_secs(6);

/// RN8. A refusal proves nothing about who leads: whatever its class, the term goes on to its
/// deadline.
pub(super) async fn refused(world: &World) -> Outcome {
    #[cfg(feature = "servers")]
    if world.target().servers().is_some() {
        super::security::refused(world).await?;
    }
    let timing = TimingSettings::lease_duration(REFUSED);
    let [a, b] = [
        world.candidate_with("a", Setup { timing, ..setup() }).await?,
        world.candidate_with("b", Setup { timing, ..setup() }).await?,
    ];
    let fresh = REFUSED + world.distrust(&a.elector().timing());
    let lead = world.within("a leads", fresh, a.campaign()).await??;
    let waiting = b.stand();
    world.sleep(REFUSED / 4).await;
    let timing = a.elector().timing();
    for kind in [
        ErrorKind::Denied,
        ErrorKind::Invalid,
        ErrorKind::Throttled { retry_after: None },
        ErrorKind::Unavailable,
    ] {
        after_renewal(world).await?;
        let last = lead.term().deadlines().until;
        let refusals = [&a, &b].map(|one| one.link().fault(Requests::All, Fault::Refuse(kind)));
        world.sleep(REFUSED / 4).await;
        for refusal in refusals {
            refusal.lift();
        }
        let renewed = || lead.term().deadlines().until > last;
        let left = last.since(world.now());
        let soon = timing.retry_period() + timing.request_timeout();
        if left < soon {
            return Err(Problem::Late(format!("{left:?} of the term were left, not {soon:?}")));
        }
        world.until("the term is renewed again", left, renewed).await?;
        must(lead.check(), || format!("{kind:?} for {:?} ends a term", REFUSED / 4))?;
        must(!waiting.is_finished(), || format!("{kind:?} ends the wait of a candidate"))?;
    }
    must(lead.resign().await?, || "the release is not confirmed".to_owned())?;
    let second = world.within("b leads", 2 * REFUSED, waiting).await?;
    must(second.map_err(Problem::violated)??.check(), || "b does not lead".to_owned())?;
    Ok(Finding::Holds)
}
