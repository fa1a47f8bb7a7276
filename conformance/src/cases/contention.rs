//! Contention: many want what one may have.

use std::time::Duration;

use leasehold::backend::Intent;

use crate::history::{Event, What};
use crate::link::{Fault, Requests};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

fn is_up(event: &Event) -> bool {
    matches!(event.what, What::Up { .. })
}

/// CO1.
pub(super) async fn all_at_once(world: &World) -> Outcome {
    for round in 0..world.rounds(20, 4) {
        let lock = format!("{}-{round}", world.lock());
        let prefix = format!("r{round}/");
        let mut candidates = Vec::new();
        for number in 1..=16 {
            let name = format!("{prefix}{number}");
            candidates.push(world.candidate_for(&lock, &name, setup()).await?);
        }
        let standing: Vec<_> = candidates.iter().map(|candidate| candidate.stand()).collect();
        let ups = || world.count(|event| is_up(event) && event.node.starts_with(&prefix));
        world.until("one of sixteen leads", world.fresh(), || ups() > 0).await?;
        world.sleep(Duration::from_millis(600)).await;
        must(ups() == 1, || format!("{} of sixteen lead", ups()))?;
        standing.iter().for_each(tokio::task::JoinHandle::abort);
    }
    Ok(Finding::Holds)
}

/// CO2.
pub(super) async fn all_wait(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    let others = world.candidates("w", 16).await?;
    let standing: Vec<_> = others.iter().map(|candidate| candidate.stand()).collect();
    world.sleep(LEASE / 2).await;
    a.kill();
    drop(lead);
    let up = world.until_some_leads("w", world.failover()).await?;
    let window = LEASE / 4;
    world.sleep(window).await;
    let ups = world.count(|event| is_up(event) && event.node.starts_with('w'));
    must(ups == 1, || format!("{ups} of sixteen lead"))?;
    // The takes of all of them fall within the jitter.
    let jitter = Duration::from_millis(200);
    let from = up.begin - jitter;
    // A take, the read after it, and one more; or as many as are due where nothing is pushed.
    let polls = (jitter + window).as_millis() / world.timing().retry_period().as_millis() + 1;
    let most = if world.pushes() { 3 } else { 2 + usize::try_from(polls).unwrap_or(1) };
    for other in others.iter().filter(|other| other.name() != &*up.node) {
        let requests = world.count(|event| {
            event.at >= from
                && &*event.node == other.name()
                && matches!(event.what, What::Sent { .. })
        });
        must(requests <= most, || {
            format!("{} sent {requests} requests for nothing", other.name())
        })?;
    }
    drop(standing);
    Ok(Finding::Holds)
}

/// CO3.
pub(super) async fn a_hundred(world: &World) -> Outcome {
    let count = world.rounds(100, 40);
    let candidates = world.candidates("c", count).await?;
    let _running: Vec<_> = candidates.iter().map(|candidate| candidate.run()).collect();
    for kill in 0..10 {
        let leader = world.until_some_leads("c", world.failover() + LEASE).await?;
        world.sleep(LEASE / 2).await;
        let before = world.count(|event| matches!(event.what, What::Sent { .. }));
        let dead = candidates.iter().find(|one| one.name() == &*leader.node);
        dead.ok_or_else(|| Problem::Vacuous("nobody to kill".to_owned()))?.kill();
        let bound = world.failover();
        let next = || world.leader().is_some_and(|next| next.token != leader.token);
        world.until("the next of a hundred leads", bound, next).await?;
        let requests = world.count(|event| matches!(event.what, What::Sent { .. })) - before;
        let most = 8 * count;
        must(requests <= most, || format!("failover {kill}: {requests} requests of {count}"))?;
    }
    Ok(Finding::Holds)
}

/// CO4.
pub(super) async fn churn(world: &World) -> Outcome {
    let candidates = world.candidates("c", 5).await?;
    let end = world.now() + Duration::from_secs(60);
    let mut tasks = Vec::new();
    let mut slow = Vec::new();
    for candidate in candidates {
        // Without any latency no time would pass at all where it is virtual.
        let delay = Fault::DelayAnswer(Duration::from_millis(5));
        slow.push(candidate.link().fault(Requests::Writes, delay));
        let clock = world.clock().clone();
        tasks.push(tokio::task::spawn_local(async move {
            while clock.now() < end {
                candidate.campaign().await?.resign().await?;
            }
            Ok::<(), Problem>(())
        }));
    }
    world.sleep_until(end).await;
    let released: usize = (1..=5).map(|n| world.applied(&format!("c{n}"), Intent::Release)).sum();
    world.happened("hand-over", released.saturating_sub(10))?;
    for task in tasks {
        if task.is_finished() {
            task.await.map_err(Problem::violated)??;
        } else {
            task.abort();
        }
    }
    Ok(Finding::Holds)
}
