//! Candidates that others wrote, on one lock with ours.

use std::sync::Arc;
use std::time::Duration;

use leasehold::Token;
use leasehold::backend::LockBackend;
use leasehold::timing::Time;

use crate::candidate::Candidate;
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
    let servers = servers.as_ref();
    // The command has a lease of a minute, so that its crash and its freeze take their time side by
    // side. Twenty rounds in the slow tier.
    let library: Vec<End> = ALL.into_iter().cycle().take(world.turns(12, 6)).collect();
    let turns = world.turns(4, 1);
    let one = &[End::Crash, End::Resign, End::Freeze, End::Resign][..turns];
    let other = &[End::Freeze, End::Resign, End::Crash, End::Resign][..turns];
    let library = in_turns(world, servers, Foreign::Library, "library", &library);
    let one = in_turns(world, servers, Foreign::Command, "one", one);
    let other = in_turns(world, servers, Foreign::Command, "other", other);
    let (library, one, other) = tokio::join!(library, one, other);
    library.and(one).and(other)?;
    queues(world, servers).await?;
    by_command(world, servers).await?;
    Ok(Finding::Holds)
}

/// How a term ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Resign,
    Crash,
    Freeze,
}

const ALL: [End; 3] = [End::Resign, End::Crash, End::Freeze];

/// How long the store keeps the key of a candidate of theirs that is gone.
fn lease_of(kind: Foreign) -> Duration {
    match kind {
        Foreign::Library => LEASE,
        // It takes no other.
        Foreign::Command => Duration::from_secs(60),
    }
}

/// The next line of one of theirs, which must come in time.
async fn line(world: &World, peer: &mut Peer, what: &str) -> Result<String, Problem> {
    let line = world.within(&format!("it says {what}"), START + 2 * LEASE, peer.line()).await?;
    line.ok_or_else(|| Problem::Vacuous(format!("it ended, and never said {what}")))
}

/// The next line of the library's candidate, which must be this one.
async fn hears(world: &World, peer: &mut Peer, word: &str) -> Result<Said, Problem> {
    let line = line(world, peer, word).await?;
    let words: Vec<&str> = line.split(' ').collect();
    must(words[0] == word, || format!("it says {line:?}, not {word}"))?;
    let at = words.get(1).and_then(|at| at.parse().ok()).map(Time);
    let at = at.ok_or_else(|| Problem::Vacuous(format!("no moment in {line:?}")))?;
    Ok(Said { at, detail: words.get(2).copied().unwrap_or_default().to_owned() })
}

/// One of theirs contends while ours leads, or will once it does.
async fn contends(
    world: &World,
    servers: &dyn Fixture,
    kind: Foreign,
    lock: &str,
) -> Result<Peer, Problem> {
    let mut peer = servers.peers()?.peer(kind, &servers.endpoints(), lock, "theirs")?;
    if kind == Foreign::Library {
        hears(world, &mut peer, "campaigning").await?;
    }
    Ok(peer)
}

/// It is elected: since when, and what the store counts it as.
async fn elected(
    world: &World,
    peer: &mut Peer,
    kind: Foreign,
    lock: &str,
    store: &dyn LockBackend,
) -> Result<(Time, Token), Problem> {
    let (at, says) = match kind {
        Foreign::Library => {
            let said = hears(world, peer, "elected").await?;
            (said.at, Some(said.detail.parse::<Token>().map_err(Problem::violated)?))
        }
        Foreign::Command => {
            let key = line(world, peer, "its key").await?;
            must(key.starts_with(&format!("{lock}/")), || format!("it says {key:?}"))?;
            (world.now(), None)
        }
    };
    let seen = store.read().await?;
    let record = seen
        .record()
        .filter(|record| record.holder.as_ref().is_some_and(|holder| holder.identity == "theirs"));
    let stored = record.map(|record| record.token);
    let stored = stored.ok_or_else(|| Problem::violated("ours does not see that it leads"))?;
    must(says.is_none_or(|says| says == stored), || {
        format!("ours reads token {stored}, and theirs says {says:?}")
    })?;
    Ok((at, stored))
}

/// Terms of ours and theirs in turn, ours ended in every way and theirs in the given ones. Never
/// two lead, by the judge.
async fn in_turns(
    world: &World,
    servers: &dyn Fixture,
    kind: Foreign,
    lock: &str,
    ends: &[End],
) -> Result<(), Problem> {
    let url = servers.url(&servers.endpoints(), lock);
    let store = leasehold::connect(&url).await?;
    world.disturb_lock(lock, "candidates are killed and frozen");
    let mut ours = world.candidate_at(&url, &format!("{lock}/ours0"), setup()).await?;
    let mut waiting = ours.stand();
    let mut last: Token = 0;
    for (round, theirs_end) in ends.iter().enumerate() {
        // Against the other's, so that nine rounds have every pair.
        let ours_end = ALL[(round + round / ALL.len()) % ALL.len()];
        let bound = world.failover() + LEASE;
        let lead =
            world.within("ours leads", bound, waiting).await?.map_err(Problem::violated)??;
        let token = lead.token();
        grows(last, token)?;
        let mut peer = contends(world, servers, kind, lock).await?;
        // A dead process says no farewell, and one that is stopped says nothing yet: their handles
        // are kept.
        let kept = match ours_end {
            End::Resign => {
                must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
                None
            }
            End::Crash => {
                ours.kill();
                Some(lead)
            }
            End::Freeze => {
                ours.freeze();
                Some(lead)
            }
        };
        let (at, revision) = elected(world, &mut peer, kind, lock, store.as_ref()).await?;
        grows(token, revision)?;
        let node: Arc<str> = format!("{lock}/theirs{round}").into();
        let up = What::Up { token: revision, until: Time::NEVER };
        world.history().note_at(at, &node, up);
        if let (End::Freeze, Some(lead)) = (ours_end, &kept) {
            ours.thaw();
            must_ever(!lead.check(), || "who was frozen believes when it goes on".to_owned())?;
        }
        let before = std::mem::replace(
            &mut ours,
            world.candidate_at(&url, &format!("{lock}/ours{}", round + 1), setup()).await?,
        );
        waiting = ours.stand();
        world.sleep(LEASE / 3).await;
        let stored = store.read().await?.record().map(|record| record.token);
        must_ever(stored == Some(revision), || {
            format!("token {stored:?} is stored while theirs leads under {revision}")
        })?;
        must_ever(!waiting.is_finished() && before.leads().is_none(), || "both lead".to_owned())?;
        ends_theirs(world, &mut peer, kind, *theirs_end, (&node, revision), &ours).await?;
        last = revision;
        if ours_end != End::Crash {
            before.elector().shutdown();
        }
    }
    world.say(format!("{lock}: ours and theirs in turn, {} times", ends.len()));
    let lead = world.within("ours leads", LEASE, waiting).await?.map_err(Problem::violated)??;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    ours.elector().shutdown();
    Ok(())
}

/// Ends a term of theirs, after which ours leads: not before its lease is over, unless it said
/// farewell.
async fn ends_theirs(
    world: &World,
    peer: &mut Peer,
    kind: Foreign,
    end: End,
    (node, token): (&Arc<str>, Token),
    ours: &Candidate,
) -> Result<(), Problem> {
    let ended = world.now();
    // Of what is frozen nothing believes until it goes on.
    world
        .history()
        .note(node, if end == End::Resign { What::Resigned { token } } else { What::Died });
    match end {
        End::Resign => peer.ask_to_end(),
        End::Crash => peer.kill(),
        End::Freeze => peer.freeze(),
    }
    let lease = lease_of(kind);
    let bound = world.failover() + lease;
    world.until("ours takes over", bound, || ours.leads().is_some()).await?;
    if end == End::Resign {
        return Ok(());
    }
    // It renews three times a lease, so a third of it may have passed.
    let shortest = lease * 2 / 3 - Duration::from_millis(100);
    let waited = world.now().since(ended);
    must_ever(waited > shortest, || format!("taken after {waited:?}, before its lease was over"))?;
    if end == End::Freeze {
        // It finds its lease gone, and disturbs nobody.
        peer.thaw();
        world.sleep(LEASE / 2).await;
        if ours.leads().is_none() {
            return Err(Problem::Late("the term after a frozen one of theirs ended".to_owned()));
        }
    }
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
    let mut peer = servers.peers()?.peer(Foreign::Library, &endpoints, "queue", "library")?;
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
    let mut peer = servers.peers()?.peer(Foreign::Command, &endpoints, "command", "by hand")?;
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
    let mut peer = servers.peers()?.peer(Foreign::Command, &endpoints, "command", "by hand")?;
    let early = tokio::time::timeout(LEASE, peer.line()).await;
    must(early.is_err(), || format!("it says {early:?} while ours leads"))?;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    let key = world.within("it is elected", START, peer.line()).await?;
    must(key.is_some(), || "it ended".to_owned())
}
