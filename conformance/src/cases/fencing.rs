//! Fencing: tokens, and what they are for.

use std::time::Duration;

use leasehold::Token;

use crate::candidate::{Candidate, Setup};
use crate::hand::{Resource, grows};
use crate::history::What;
use crate::verdict::{Finding, Outcome, Problem, must, must_ever};
use crate::world::{LEASE, World, setup};

/// FE1.
pub(super) async fn tokens_grow(world: &World) -> Outcome {
    let candidates = world.candidates("c", 2).await?;
    let mut last: Token = 0;
    for round in 0..world.rounds(200, 60) {
        let candidate = &candidates[round % 2];
        let lead = world.led(candidate).await?;
        grows(last, lead.token())?;
        last = lead.token();
        must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    }
    Ok(Finding::Holds)
}

/// FE2.
pub(super) async fn stopped_before_its_effect(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let (fenced, unfenced) = (Resource::new(world, true), Resource::new(world, false));
    let first = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 3).await;
    must(fenced.write(first.token()) && unfenced.write(first.token()), || {
        "a leader's effect is refused".to_owned()
    })?;
    must(first.check(), || "the leader lost its term".to_owned())?;
    // Here, between the check and the effect, it is stopped.
    a.freeze();
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    must(fenced.write(second.token()), || "the successor's effect is refused".to_owned())?;
    let _ = unfenced.write(second.token());
    a.thaw();
    must_ever(!fenced.write(first.token()), || {
        "a fenced resource lets a stale token in".to_owned()
    })?;
    if unfenced.write(first.token()) {
        must(!first.check(), || "it still believes".to_owned())?;
        let text = "a resource that compares no tokens takes the effect of a leader that was \
            stopped before it";
        return Ok(Finding::Shown(text.to_owned()));
    }
    Err(Problem::NotShown("the unfenced resource refused".to_owned()))
}

/// FE3.
pub(super) async fn restarts_under_its_name(world: &World) -> Outcome {
    let mut old = world.mortal("a", "a").await?;
    let first = world.until_leads("a", world.fresh()).await?;
    world.sleep(LEASE / 2).await;
    old.kill();
    let killed = world.now();
    let again = Setup { identity: Some("a".to_owned()), ..setup() };
    let new = world.candidate_with("b", again).await?;
    let lead = world.within("it leads again", world.failover(), new.campaign()).await??;
    grows(first.token, lead.token())?;
    let knows = world.capabilities().sees_deaths;
    let least = if knows || world.by_server() { Duration::ZERO } else { LEASE };
    must(world.now() >= killed + least, || "it took itself for its former self".to_owned())?;
    Ok(Finding::Holds)
}

/// FE4.
pub(super) async fn deleted(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let first = world.led(&a).await?;
    let token = first.token();
    must(first.resign().await?, || "a release is not confirmed".to_owned())?;
    world.admin()?.delete(world.lock()).await.map_err(Problem::NotApplicable)?;
    let b = world.candidate("b").await?;
    let second = world.led(&b).await?;
    grows(token, second.token())?;
    let token = second.token();
    world.disturb("an operator deletes the lock");
    // While somebody leads: asserted again, or over, but never two.
    world.admin()?.delete(world.lock()).await.map_err(Problem::NotApplicable)?;
    let timing = world.timing();
    world.sleep(timing.retry_period() + timing.request_timeout()).await;
    let asserted = second.check();
    // Where the store's own clock ends leases, absence is its word.
    must(asserted || world.by_server(), || "its term ended with its record".to_owned())?;
    let c = world.candidate("c").await?;
    let waiting = c.stand();
    world.sleep(LEASE).await;
    if asserted {
        must(second.check() && c.leads().is_none(), || {
            "what was asserted did not count".to_owned()
        })?;
    } else {
        let third = world.within("c leads", LEASE, waiting).await?.map_err(Problem::violated)??;
        grows(token, third.token())?;
    }
    deleted_unseen(world).await
}

/// The leader's watch is dead, and a newcomer takes what was deleted: both believe until the next
/// renewal. Where a fresh lock is waited out, the leader asserts its record again before anybody
/// takes.
async fn deleted_unseen(world: &World) -> Outcome {
    let timing = world.timing();
    let bound = timing.retry_period() + timing.request_timeout();
    world.exempt_on("deaf", crate::judge::Property::BeliefExclusion, bound + world.slack());
    let lock = format!("{}-deaf", world.lock());
    let a = world.candidate_for(&lock, "deaf/a", setup()).await?;
    let first = world.led(&a).await?;
    let _deaf = a.link().fault(crate::link::Requests::All, crate::link::Fault::Deafen);
    world.sleep(LEASE / 2).await;
    world.admin()?.delete(&lock).await.map_err(Problem::NotApplicable)?;
    let b = world.candidate_for(&lock, "deaf/b", setup()).await?;
    if world.capabilities().forgets {
        let _waiting = b.stand();
        world.sleep(2 * LEASE).await;
        must(first.check() && b.leads().is_none(), || "its term ended with its record".to_owned())?;
        return Ok(Finding::Holds);
    }
    let second = world.led(&b).await?;
    grows(first.token(), second.token())?;
    world.within("the old term ends", bound, first.lost()).await?;
    let up = world.leader().map_or(world.now(), |span| span.begin);
    must(second.check(), || "the newcomer lost its term".to_owned())?;
    let overlap = world.now().since(up);
    world.say(format!("without a watch two believed for {overlap:?}, at most P + T = {bound:?}"));
    Ok(Finding::Holds)
}

/// FE5. Servers are restored whole, so a case has its own.
pub(super) async fn restored(world: &World) -> Outcome {
    let fenced = Resource::new(world, true);
    let mut last = one_term(world, &world.candidate("a").await?, &fenced).await?;
    let backup = world.backups()?.back_up(world.lock()).await.map_err(Problem::NotApplicable)?;
    for name in ["b", "c", "d"] {
        last = one_term(world, &world.candidate(name).await?, &fenced).await?;
    }
    backup().map_err(Problem::Vacuous)?;
    begins_anew(world, &world.candidate("e").await?, &fenced, last).await
}

/// Who never ran before the restore knows nothing of it.
pub(super) async fn begins_anew(
    world: &World,
    e: &Candidate,
    fenced: &Resource,
    last: Token,
) -> Outcome {
    let lead = world.within("e leads", world.failover(), e.campaign()).await??;
    let token = lead.token();
    if token > last && world.capabilities().forgets {
        // A store that expects to go back keeps its tokens above its clock.
        must(fenced.write(token), || "the resource refuses a new token".to_owned())?;
        world.say(format!("after the restore token {token} came after {last}"));
        return Ok(Finding::Holds);
    }
    if token > last {
        return Err(Problem::NotShown(format!("token {token} after {last}")));
    }
    world.exempt(crate::judge::Property::TokensGrow);
    // A token that names two terms names two owners.
    world.exempt(crate::judge::Property::Identity);
    must_ever(!fenced.write(token), || "the resource lets an old token in".to_owned())?;
    let text =
        format!("after the restore token {token} came after {last}; the resource refuses it");
    Ok(Finding::Shown(text))
}

pub(super) async fn one_term(
    world: &World,
    candidate: &Candidate,
    resource: &Resource,
) -> Result<Token, Problem> {
    let lead = world.led(candidate).await?;
    must(resource.write(lead.token()), || "a leader's effect is refused".to_owned())?;
    let token = lead.token();
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    Ok(token)
}

/// FE6. Data in the store itself needs no resource that compares tokens.
pub(super) async fn guarded_write(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let first = world.led(&a).await?;
    let (guard, lock) = (world.guard()?, world.lock());
    let by_a = guard.guarded(lock, first.token()).await.map_err(Problem::NotApplicable)?;
    let stored = Problem::Violated;
    must(by_a.write("a1").await.map_err(stored)?, || "a leader's write is refused".to_owned())?;
    let waiting = b.stand();
    world.sleep(LEASE / 3).await;
    must(by_a.write("a2").await.map_err(stored)?, || "a renewal shuts its term out".to_owned())?;
    a.freeze();
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    must_ever(!by_a.write("a3").await.map_err(stored)?, || {
        "a stale leader's write is let in".to_owned()
    })?;
    let by_b = guard.guarded(lock, second.token()).await.map_err(Problem::Violated)?;
    must(by_b.write("b1").await.map_err(stored)?, || "a leader's write is refused".to_owned())?;
    // Between two terms too: nobody leads, and nobody's write is let in.
    must(second.resign().await?, || "a release is not confirmed".to_owned())?;
    let late = [&by_a, &by_b].map(|guarded| guarded.write("late"));
    for late in futures_util::future::try_join_all(late).await.map_err(stored)? {
        must_ever(!late, || "a write of a term that is over is let in".to_owned())?;
    }
    let kept = by_b.read().await.map_err(stored)?;
    must_ever(kept == "b1", || format!("{kept:?} is stored"))?;
    a.thaw();
    world.sleep(LEASE / 3).await;
    must(!first.check(), || "the stale leader believes".to_owned())?;
    Ok(Finding::Holds)
}

/// FE7. The child is this project's own command's.
pub(super) async fn token_of_a_child(world: &World) -> Outcome {
    let url = world.target().url(world.lock());
    let url =
        url.ok_or_else(|| Problem::NotApplicable("no other process reaches it".to_owned()))?;
    let program = world.target().command().ok_or_else(|| {
        Problem::Vacuous(
            "the command leasehold is not built; LEASEHOLD_PROGRAM may name it".to_owned(),
        )
    })?;
    let mut command = tokio::process::Command::new(program);
    // A password in the URL is nothing for a command line.
    command.env("LEASEHOLD_LOCK", &url);
    command.args(["run", "--lease-duration", "3s", "--", "sh", "-c"]);
    command.arg("printf '%s' \"$LEASEHOLD_FENCING_TOKEN\"; read _").kill_on_drop(true);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        // What it logs is no news.
        .stderr(std::process::Stdio::null())
        .spawn()
        .map_err(Problem::violated)?;
    let mut told = vec![0; 64];
    let output = child.stdout.as_mut().expect("it is piped");
    let read = tokio::io::AsyncReadExt::read(output, &mut told);
    let bound = 2 * LEASE + world.distrust(&world.timing());
    let count = world.within("the child tells its token", bound, read).await?;
    told.truncate(count.map_err(Problem::violated)?);
    let told: Option<Token> = String::from_utf8_lossy(&told).trim().parse().ok();
    let stored = world.record().await?.map(|record| record.token);
    must(told.is_some() && told == stored, || {
        format!("the child was told {told:?}, and {stored:?} is stored")
    })?;
    // The end of its input ends the child, and that the command.
    drop(child.stdin.take());
    world.within("the command ends", 2 * LEASE, child.wait()).await?.map_err(Problem::violated)?;
    world.history().note(
        &"child".into(),
        What::Effect { token: told.unwrap_or_default(), fenced: true, accepted: true },
    );
    Ok(Finding::Holds)
}
