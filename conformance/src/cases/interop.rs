//! Candidates that others wrote, on one lock with ours.

use std::sync::Arc;
use std::time::Duration;

use leasehold::{Time, Token};

use crate::fixture::{Fixture, Foreign, Peer, Tls};
use crate::hand::grows;
use crate::history::What;
use crate::verdict::{Finding, Outcome, Problem, must, must_ever};
use crate::world::{LEASE, World, setup};

/// For the start of a process, beside what an election takes.
const START: Duration = Duration::from_secs(10);

/// What the library's candidate said.
struct Said {
    at: Time,
    detail: String,
}

/// UP5.
pub(super) async fn own_elections(world: &World) -> Outcome {
    let servers = world.servers(3, Tls::Off).await?;
    in_turns(world, servers.as_ref()).await?;
    queues(world, servers.as_ref()).await?;
    by_command(world, servers.as_ref()).await?;
    Ok(Finding::Holds)
}

/// The next line of the library's candidate, which must be this one.
async fn hears(world: &World, peer: &mut Peer, word: &str) -> Result<Said, Problem> {
    let line = world.within(&format!("it says {word}"), START + 2 * LEASE, peer.line()).await?;
    let line = line.ok_or_else(|| Problem::Vacuous(format!("it ended, and never said {word}")))?;
    let words: Vec<&str> = line.split(' ').collect();
    must(words[0] == word, || format!("it says {line:?}, not {word}"))?;
    let at = words.get(1).and_then(|at| at.parse().ok()).map(Time);
    let at = at.ok_or_else(|| Problem::Vacuous(format!("no moment in {line:?}")))?;
    Ok(Said { at, detail: words.get(2).copied().unwrap_or_default().to_owned() })
}

/// Twenty terms in turn, ended in every way. Never two lead, by the judge.
async fn in_turns(world: &World, servers: &dyn Fixture) -> Result<(), Problem> {
    let endpoints = servers.endpoints();
    let (url, lock) = (servers.url(&endpoints, "turns"), "turns");
    world.disturb("candidates are killed and frozen");
    let mut ours = world.candidate_at(&url, "ours0", setup()).await?;
    let mut waiting = ours.stand();
    let mut last: Token = 0;
    for round in 0..10_usize {
        let bound = world.failover() + LEASE;
        let lead =
            world.within("ours leads", bound, waiting).await?.map_err(Problem::violated)??;
        grows(last, lead.token())?;
        let mut peer = servers.peer(Foreign::Library, &endpoints, lock, "library")?;
        hears(world, &mut peer, "campaigning").await?;
        let token = lead.token();
        // Ours end by a release and by a crash, whose handle is kept: a dead process says no farewell.
        let _kept = if round % 2 == 0 {
            must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
            None
        } else {
            ours.kill();
            Some(lead)
        };
        let elected = hears(world, &mut peer, "elected").await?;
        let revision: Token = elected.detail.parse().map_err(Problem::violated)?;
        grows(token, revision)?;
        let node: Arc<str> = format!("library{round}").into();
        let up = What::Up { token: revision, until: Time::NEVER };
        world.history().note_at(elected.at, &node, up);
        ours = world.candidate_at(&url, &format!("ours{}", round + 1), setup()).await?;
        waiting = ours.stand();
        world.sleep(LEASE / 3).await;
        let seen = leasehold::connect(&url).await?.read().await?;
        let stored = seen.record().map(|record| record.token);
        must(stored == Some(revision), || {
            format!("ours reads token {stored:?}, and theirs says {revision}")
        })?;
        must_ever(!waiting.is_finished(), || "both lead".to_owned())?;
        // Theirs end by a resignation, by a crash, and by a freeze, after which its library would believe for ever.
        let ended = world.now();
        let over = match round % 3 {
            0 => What::Resigned { token: revision },
            _ => What::Died,
        };
        world.history().note(&node, over);
        match round % 3 {
            0 => peer.ask_to_end(),
            1 => peer.kill(),
            _ => peer.freeze(),
        }
        if round % 3 > 0 {
            let led = || ours.leads().is_some();
            world.until("ours takes over", world.failover() + LEASE, led).await?;
            // It renews three times a lease, so a third of it may have passed.
            let shortest = LEASE * 2 / 3 - Duration::from_millis(100);
            let waited = world.now().since(ended);
            must_ever(waited > shortest, || {
                format!("taken after {waited:?}, before its lease was over")
            })?;
        }
        last = revision;
    }
    world.say("twenty terms of both in turn, ended by release, crash and freeze");
    ours.elector().shutdown();
    Ok(())
}

/// Theirs queue, ours do not: one of theirs that waits is next.
async fn queues(world: &World, servers: &dyn Fixture) -> Result<(), Problem> {
    let endpoints = servers.endpoints();
    let url = servers.url(&endpoints, "queue");
    let first = world.candidate_at(&url, "queue/a", setup()).await?;
    let second = world.candidate_at(&url, "queue/b", setup()).await?;
    let lead = world.within("a leads", LEASE, first.campaign()).await??;
    let waiting = second.stand();
    let mut peer = servers.peer(Foreign::Library, &endpoints, "queue", "library")?;
    hears(world, &mut peer, "campaigning").await?;
    // A key that waits behind it is no reason to lose a term.
    world.sleep(2 * LEASE).await;
    must(lead.check(), || "one of theirs that waits ends our term".to_owned())?;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    hears(world, &mut peer, "elected").await?;
    must_ever(!waiting.is_finished(), || "one of ours overtakes the queue".to_owned())?;
    peer.ask_to_end();
    hears(world, &mut peer, "resigned").await?;
    let bound = world.failover() + LEASE;
    let lead = world.within("b leads", bound, waiting).await?.map_err(Problem::violated)??;
    must(lead.check(), || "b does not lead".to_owned())?;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())
}

/// The command is one of the candidates too.
async fn by_command(world: &World, servers: &dyn Fixture) -> Result<(), Problem> {
    let endpoints = servers.endpoints();
    let url = servers.url(&endpoints, "command");
    let mut peer = servers.peer(Foreign::Command, &endpoints, "command", "by hand")?;
    let key = world.within("it is elected", START, peer.line()).await?.unwrap_or_default();
    must(key.starts_with("command/"), || format!("it says {key:?}"))?;
    let seen = leasehold::connect(&url).await?.read().await?;
    let holder = seen.record().and_then(|record| record.holder.as_ref());
    must(holder.is_some_and(|holder| holder.identity == "by hand"), || {
        format!("ours sees {holder:?}")
    })?;
    let ours = world.candidate_at(&url, "command/a", setup()).await?;
    let waiting = ours.stand();
    world.sleep(LEASE).await;
    must_ever(!waiting.is_finished(), || "both lead".to_owned())?;
    peer.ask_to_end();
    let lead = world.within("ours leads", LEASE, waiting).await?.map_err(Problem::violated)??;
    let mut peer = servers.peer(Foreign::Command, &endpoints, "command", "by hand")?;
    let early = tokio::time::timeout(LEASE, peer.line()).await;
    must(early.is_err(), || format!("it says {early:?} while ours leads"))?;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    let key = world.within("it is elected", START, peer.line()).await?;
    must(key.is_some(), || "it ended".to_owned())
}
