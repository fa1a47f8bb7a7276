//! Pauses: a process that is stopped at any point, for however long.

use std::process::{Child, Command};
use std::time::Duration;

use leasehold::backend::Intent;
use leasehold::timing::Clock;

use crate::cgroup::Cgroup;
use crate::history::{Event, What};
use crate::judge::Property;
use crate::link::{Fault, Requests};
use crate::mortal::Mortal;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

/// PA1.
pub(super) async fn stopped_leader(world: &World) -> Outcome {
    let a = world.mortal("a", "a").await?;
    let first = world.until_leads("a", world.fresh()).await?;
    let b = world.candidate("b").await?;
    let waiting = b.stand();
    world.sleep(LEASE).await;
    a.freeze();
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    world.sleep(Duration::from_secs(1)).await;
    a.thaw();
    world.sleep(LEASE).await;
    must(second.check(), || "the resumed one disturbs its successor".to_owned())?;
    let resumed = world.leader();
    must(resumed.is_some_and(|now| now.token > first.token), || "the old term is back".to_owned())?;
    Ok(Finding::Holds)
}

/// PA2. Whether answer or timeout is looked at first when the process goes on is chance: several
/// rounds.
pub(super) async fn stopped_while_taking(world: &World) -> Outcome {
    let rounds = world.rounds(8, 4);
    let rounds = (0..rounds).map(|round| late_answer(world, round));
    futures_util::future::try_join_all(rounds).await?;
    Ok(Finding::Holds)
}

async fn late_answer(world: &World, round: usize) -> Result<(), Problem> {
    let (lock, names) =
        (format!("{}-{round}", world.lock()), [format!("{round}/a"), format!("{round}/b")]);
    let a = world.candidate_for(&lock, &names[0], setup()).await?;
    let b = world.candidate_for(&lock, &names[1], setup()).await?;
    let held = a.link().fault_next(1, Requests::Only(Intent::Take), Fault::HoldAnswer);
    let first = a.stand();
    let taken = || world.applied(&names[0], Intent::Take) > 0;
    world.until("the take is applied", world.fresh(), taken).await?;
    a.freeze();
    held.lift();
    let waiting = b.stand();
    let second = world.within("b leads", world.failover() + LEASE, waiting).await?;
    let second = second.map_err(Problem::violated)??;
    a.thaw();
    world.sleep(LEASE).await;
    must(second.check(), || "the resumed one disturbs its successor".to_owned())?;
    let early = |event: &Event| *event.node == *names[0] && matches!(event.what, What::Up { .. });
    must(world.count(early) == 0 && !first.is_finished(), || {
        "an answer that came too late made a leader".to_owned()
    })?;
    first.abort();
    Ok(())
}

/// PA3.
pub(super) async fn stopped_follower(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    let _waiting = b.stand();
    world.sleep(LEASE / 2).await;
    b.freeze();
    world.sleep(10 * LEASE).await;
    b.thaw();
    world.sleep(LEASE).await;
    must(lead.check(), || "a follower that was stopped took from a living leader".to_owned())?;
    must(world.applied("b", Intent::Take) == 0, || "it took".to_owned())?;
    Ok(Finding::Holds)
}

/// PA4.
pub(super) async fn random_pauses(world: &World) -> Outcome {
    let candidates = world.candidates("c", 3).await?;
    let _running: Vec<_> = candidates.iter().map(|candidate| candidate.run()).collect();
    world.until_some_leads("c", world.fresh()).await?;
    let longest = u64::try_from(2 * LEASE.as_millis()).unwrap_or(u64::MAX);
    for _ in 0..world.rounds(200, 15) {
        let one = &candidates[usize::try_from(world.draw(3)).unwrap_or(0)];
        one.freeze();
        world.sleep(Duration::from_millis(1 + world.draw(longest))).await;
        one.thaw();
        world.sleep(Duration::from_millis(world.draw(1000))).await;
    }
    world.until_some_leads("c", world.failover() + LEASE).await?;
    let terms = world.count(|event: &Event| matches!(event.what, What::Up { .. }));
    world.happened("change of leader", terms.saturating_sub(1))?;
    Ok(Finding::Holds)
}

/// PA5.
pub(super) async fn starved(world: &World) -> Outcome {
    let group = Cgroup::new().map_err(no_group)?;
    let Mortal::Process(a) = world.mortal("a", "a").await? else {
        return Err(Problem::NotApplicable("no other process reaches this store".to_owned()));
    };
    group.take_in(a.id()).map_err(no_group)?;
    world.until_leads("a", world.fresh()).await?;
    let b = world.candidate("b").await?;
    let waiting = b.stand();
    world.sleep(LEASE).await;
    // A paused container is a frozen group.
    world.history().note(&"a".into(), What::Stopped(true));
    group.freeze(true).map_err(no_group)?;
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    world.sleep(Duration::from_secs(1)).await;
    world.history().note(&"a".into(), What::Stopped(false));
    group.freeze(false).map_err(no_group)?;
    world.sleep(LEASE).await;
    must(second.check(), || "the one that goes on disturbs its successor".to_owned())?;
    must(second.resign().await?, || "a release is not confirmed".to_owned())?;
    world.until_leads("a", world.fresh()).await?;
    b.run();
    // A starved process tells late of what it was granted in time; what it believes then, the judge
    // counts.
    world.exempt(Property::NoResurrection);
    for (percent, busy) in [(50, 0), (5, 0), (20, 8)] {
        let others: Vec<Busy> = (0..busy).map(|_| Busy::start(&group)).collect::<Result<_, _>>()?;
        let before = (downs(world), group.times_throttled().map_err(no_group)?);
        group.quota(Some(percent)).map_err(no_group)?;
        world.sleep(4 * LEASE).await;
        group.quota(None).map_err(no_group)?;
        let throttled = group.times_throttled().map_err(no_group)? - before.1;
        drop(others);
        if busy > 0 {
            world.happened("time without a processor", throttled)?;
        }
        // Who leads in the end is chance; that two do not, the judge says.
        let lost = downs(world) - before.0;
        world.say(format!(
            "{percent} % of a processor, {busy} busy beside it: {throttled} times without, {lost} \
             terms ended"
        ));
        world
            .until("somebody leads", world.failover() + LEASE, || world.leader().is_some())
            .await?;
    }
    Ok(Finding::Holds)
}

fn downs(world: &World) -> usize {
    world.count(|event| matches!(event.what, What::Down { .. }) && &*event.node == "a")
}

fn no_group(error: std::io::Error) -> Problem {
    Problem::NotApplicable(format!("this user has no control groups here: {error}"))
}

/// A process that does nothing but run.
struct Busy(Child);

impl Busy {
    fn start(group: &Cgroup) -> Result<Self, Problem> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "sh", "-c", "while :; do :; done"]);
        let busy = Self(command.spawn().map_err(no_group)?);
        group.take_in(busy.0.id()).map_err(no_group)?;
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// PA6.
pub(super) async fn blocked_runtime(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    world.sleep(LEASE / 2).await;
    let term = lead.term();
    // Whatever is acknowledged was sent before this.
    let until = a.clock().now() + world.timing().renew_deadline();
    world.block(world.timing().renew_deadline() + Duration::from_millis(50));
    // Nothing of the runtime has run since; another thread asks.
    let clock = a.clock().clone();
    let asked = std::thread::spawn(move || (clock.now(), term.check()));
    let (now, answer) = asked.join().map_err(|_panic| Problem::violated("check() panicked"))?;
    world.happened("block beyond the deadline", usize::from(now >= until))?;
    must(answer.is_err(), || {
        "check() says yes after the deadline while the runtime is blocked".to_owned()
    })?;
    let waiting = b.stand();
    let _lead =
        world.within("b leads", world.failover(), waiting).await?.map_err(Problem::violated)??;
    Ok(Finding::Holds)
}
