//! Two servers over one store: behind one address, and each known by its own.

use std::sync::Arc;

use leasehold::Loss;
use leasehold::backend::{Change, Intent, LockBackend, Outcome as Written, Version};

use super::{Pair, seconds};
use crate::candidate::Candidate;
use crate::fixture::{Fixture, Wish};
use crate::hand::{first_intent, free, grows, put, record_of, says_leader};
use crate::verdict::{Finding, Outcome, Problem, must, must_ever};
use crate::world::{LEASE, World, setup};

/// How many claims race through both servers.
const RACES: usize = 100;

pub(in super::super) async fn one_of_two(world: &World) -> Outcome {
    let wish = Wish { members: 2, one_address: true, ..Wish::default() };
    let mut servers = world.servers_as(wish).await?;
    rides(world, servers.as_mut()).await?;
    apart(world, servers.as_mut()).await?;
    Ok(Finding::Holds)
}

/// Who knows one address notices nothing.
async fn rides(world: &World, servers: &mut dyn Fixture) -> Result<(), Problem> {
    let pair = Pair::on(world, servers).await?;
    for member in [0, 1, 0, 1] {
        servers.kill(member)?;
        pair.rides(world, &format!("server {member} of two killed"), seconds(5)).await?;
        servers.restart(member).await?;
        pair.rides(world, "it is back", seconds(3)).await?;
    }
    must(pair.lead.resign().await?, || "a release is not confirmed".to_owned())
}

/// Who knows one server only loses its term with it, and hears what happened meanwhile once that is
/// back.
async fn apart(world: &World, servers: &mut dyn Fixture) -> Result<(), Problem> {
    let urls = servers.endpoints().into_iter().map(|one| servers.url(&[one], "apart"));
    let urls: Vec<String> = urls.collect();
    races(world, &urls).await?;
    for round in 0..4 {
        let [one, other] = [round % 2, (round + 1) % 2];
        let a = world.candidate_at(&urls[one], &format!("apart/a{round}"), setup()).await?;
        let b = world.candidate_at(&urls[other], &format!("apart/b{round}"), setup()).await?;
        killed(world, servers, one, [&a, &b]).await?;
    }
    Ok(())
}

/// The server of `a`, which leads.
async fn killed(
    world: &World,
    servers: &mut dyn Fixture,
    server: usize,
    [a, b]: [&Candidate; 2],
) -> Result<(), Problem> {
    let lead = world.within("a leads", world.fresh(), a.campaign()).await??;
    let token = lead.token();
    let waiting = b.stand();
    let seen = || says_leader(b.elector(), a.name(), token);
    world.until("the other server tells who leads", LEASE, seen).await?;
    world.disturb_lock("apart", "one of two servers is killed");
    servers.kill(server)?;
    let deadline = world.timing().renew_deadline();
    let loss = world.within("the leader's term ends", deadline, lead.lost()).await?;
    must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
    drop(lead);
    let second = world.within("b leads", world.failover(), waiting).await?;
    let second = second.map_err(Problem::violated)??;
    let next = second.token();
    grows(token, next)?;
    let again = a.stand();
    servers.restart(server).await?;
    let hears = || says_leader(a.elector(), b.name(), next);
    world.until("the server that is back tells who leads", 2 * LEASE, hears).await?;
    must(second.check() && !again.is_finished(), || "it disturbs its successor".to_owned())?;
    must(second.resign().await?, || "a release is not confirmed".to_owned())?;
    let third = world.within("a leads again", LEASE, again).await?.map_err(Problem::violated)??;
    grows(next, third.token())?;
    must(third.resign().await?, || "a release is not confirmed".to_owned())
}

/// Two claims over one version, by each server at once: one is let in, and both servers tell of it
/// at once.
async fn races(world: &World, urls: &[String]) -> Result<(), Problem> {
    let [one, other] = [connect(&urls[0]).await?, connect(&urls[1]).await?];
    let first = first_intent(world.capabilities());
    let mut now = put(&one, &Version::absent(), first, record_of("nobody", 1)).await?;
    let mut won = [0, 0];
    for number in 2..RACES as u64 + 2 {
        let take = |who: &str| Change { intent: Intent::Take, record: record_of(who, number) };
        let takes = [take("one"), take("other")];
        let (by_one, by_other) =
            tokio::join!(one.write(&now.version, &takes[0]), other.write(&now.version, &takes[1]));
        let let_in: Vec<(usize, _)> = ([by_one?, by_other?].into_iter().enumerate())
            .filter_map(|(who, written)| match written {
                Written::Written(observed) => Some((who, observed)),
                Written::Conflict => None,
            })
            .collect();
        let [(who, stored)] = &let_in[..] else {
            return Err(Problem::Unsafe(format!("{} of two claims were let in", let_in.len())));
        };
        won[*who] += 1;
        for server in [&one, &other] {
            let read = server.read().await?;
            must_ever(read.version == stored.version, || {
                format!("a claim was let in, and one of two servers still tells {read:?}")
            })?;
        }
        now = stored.clone();
    }
    world.say(format!("of {RACES} pairs of claims one was let in: {won:?} by the servers"));
    free(&one, &now).await.map(drop)
}

async fn connect(url: &str) -> Result<Arc<dyn LockBackend>, Problem> {
    Ok(leasehold::connect(url).await?)
}
