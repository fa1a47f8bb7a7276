//! Members that are alone: without the others, and with some of the clients.

use std::time::Duration;

use leasehold::Loss;
use leasehold::backend::{Change, Intent, Outcome as Written, Version};

use super::{CUT_OFF, ELECTION, Pair};
use crate::fixture::{Fixture, Wish};
use crate::hand::{first_intent, record_of, says_leader};
use crate::verdict::{Finding, Outcome, Problem, must, must_ever};
use crate::world::{LEASE, World, setup};

/// NP6.
pub(in super::super) async fn minority(world: &World) -> Outcome {
    let wish = Wish { can_cut: true, ..Wish::default() };
    let mut servers = world.servers_as(wish).await?;
    let pair = Pair::on(world, servers.as_ref()).await?;
    pair.rides_without_each(world, servers.as_mut(), CUT_OFF).await?;
    must(pair.lead.resign().await?, || "a release is not confirmed".to_owned())?;
    let leader = servers.leader().await?;
    alone_with(world, servers.as_mut(), leader).await?;
    servers.settled().await?;
    if servers.cuts()?.every_member_serves() {
        let another = (leader + 1) % servers.members();
        alone_with(world, servers.as_mut(), another).await?;
    } else {
        let another = (servers.leader().await? + 1) % servers.members();
        knows_only(world, servers.as_mut(), another).await?;
    }
    Ok(Finding::Holds)
}

/// Our leader knows one member only, which is alone and only names the one that serves.
async fn knows_only(
    world: &World,
    servers: &mut dyn Fixture,
    member: usize,
) -> Result<(), Problem> {
    let [alone, others] = sides(servers, member, &format!("named{member}"));
    let a = world.candidate_at(&alone, "named/a", setup()).await?;
    let b = world.candidate_at(&others, "named/b", setup()).await?;
    let lead = world.within("a leads", world.fresh(), a.campaign()).await??;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    servers.cuts()?.isolate(member)?;
    world.sleep(3 * LEASE).await;
    must(lead.check() && !waiting.is_finished(), || {
        "a member that only names the one that serves ends a term".to_owned()
    })?;
    servers.cuts()?.rejoin(member)?;
    world.sleep(LEASE).await;
    must(lead.check() && !waiting.is_finished(), || "its return ends a term".to_owned())
}

/// Our leader reaches one member only, and this one is alone.
async fn alone_with(
    world: &World,
    servers: &mut dyn Fixture,
    member: usize,
) -> Result<(), Problem> {
    let [alone, others] = sides(servers, member, &format!("alone{member}"));
    let names = [format!("{member}/a"), format!("{member}/b")];
    let a = world.candidate_at(&alone, &names[0], setup()).await?;
    let b = world.candidate_at(&others, &names[1], setup()).await?;
    let lead = world.within("a leads", world.fresh(), a.campaign()).await??;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    world.disturb_lock(&member.to_string(), "one member is isolated");
    servers.cuts()?.isolate(member)?;
    let deadline = world.timing().renew_deadline();
    let loss = world.within("the leader's term ends", deadline, lead.lost()).await?;
    must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
    drop(lead);
    let again = a.stand();
    says_nothing(world, &alone).await?;
    let bound = world.failover() + ELECTION + LEASE;
    let second = world.within("b leads", bound, waiting).await?.map_err(Problem::violated)??;
    says_nothing(world, &alone).await?;
    must_ever(!again.is_finished() && second.check(), || "it leads in the minority".to_owned())?;
    servers.cuts()?.rejoin(member)?;
    let hears = || says_leader(a.elector(), &names[1], second.token());
    // The member must be taken in again before it answers.
    world.until("it hears of its successor", ELECTION + 2 * LEASE, hears).await?;
    must(second.check() && !again.is_finished(), || "it disturbs its successor".to_owned())?;
    must(second.resign().await?, || "a release is not confirmed".to_owned())?;
    let third = world.within("a leads again", LEASE, again).await?.map_err(Problem::violated)??;
    must(third.resign().await?, || "a release is not confirmed".to_owned())
}

/// The lock's URL by this member alone, and by the others.
fn sides(servers: &dyn Fixture, member: usize, lock: &str) -> [String; 2] {
    let endpoints = servers.endpoints();
    let (mut others, mut alone) = (endpoints.clone(), endpoints);
    others.remove(member);
    alone = vec![alone.swap_remove(member)];
    [servers.url(&alone, lock), servers.url(&others, lock)]
}

/// A side without a majority tells nothing from memory, and acknowledges nothing. Where a store may
/// tell of the past, no decision rests on it: it acknowledges nothing.
async fn says_nothing(world: &World, url: &str) -> Result<(), Problem> {
    let store = leasehold::connect(url).await?;
    if world.capabilities().forgets {
        let take = Change { intent: Intent::Take, record: record_of("of the minority", 1) };
        let asked = async { store.write(&store.read().await?.version, &take).await };
        let written = tokio::time::timeout(LEASE, asked).await;
        must_ever(!matches!(written, Ok(Ok(Written::Written(_)))), || {
            "a write in the minority is acknowledged".to_owned()
        })?;
        return nobody_believes(world);
    }
    let take = Change {
        intent: first_intent(world.capabilities()),
        record: record_of("of the minority", 1),
    };
    let absent = Version::absent();
    let asked = async { (store.read().await, store.write(&absent, &take).await) };
    if let Ok((read, written)) = tokio::time::timeout(LEASE / 2, asked).await {
        must_ever(read.is_err(), || format!("a read of the minority is answered: {read:?}"))?;
        must_ever(!matches!(written, Ok(Written::Written(_))), || {
            "a write in the minority is acknowledged".to_owned()
        })?;
    }
    let read = tokio::time::timeout(LEASE / 2, store.read()).await;
    must_ever(!matches!(read, Ok(Ok(_))), || "a read of the minority is answered".to_owned())?;
    nobody_believes(world)
}

fn nobody_believes(world: &World) -> Result<(), Problem> {
    must_ever(world.leader().is_none_or(|span| !span.node.ends_with("/a")), || {
        "somebody believes in the minority".to_owned()
    })
}

/// NP7. The store's leader is on one side with one half of us, and the majority with the other.
pub(in super::super) async fn split(world: &World) -> Outcome {
    let wish = Wish { can_cut: true, ..Wish::default() };
    let servers = world.servers_as(wish).await?;
    for round in 0..4 {
        servers.settled().await?;
        let old = servers.leader().await?;
        let [alone, others] = sides(servers.as_ref(), old, &format!("split{round}"));
        let few = world.candidate_at(&alone, &format!("{round}/a"), setup()).await?;
        let many = world.candidate_at(&others, &format!("{round}/b"), setup()).await?;
        // Connections stand when the split comes.
        leasehold::connect(&alone).await?.read().await?;
        world.disturb_lock(&round.to_string(), "the store is split");
        // The split meets the takes themselves: before, among and after them.
        let delay = Duration::from_millis(world.draw(12));
        let running = if round % 2 == 0 {
            servers.cuts()?.isolate(old)?;
            [few.run(), many.run()]
        } else {
            let both = [few.run(), many.run()];
            world.sleep(delay).await;
            servers.cuts()?.isolate(old)?;
            both
        };
        let bound = world.failover() + ELECTION + LEASE;
        world.until_leads(many.name(), bound).await?;
        says_nothing(world, &alone).await?;
        servers.cuts()?.rejoin(old)?;
        world.sleep(LEASE).await;
        let leads = || few.leads().is_some() || many.leads().is_some();
        world.until("somebody leads after the split", bound, leads).await?;
        few.elector().shutdown();
        many.elector().shutdown();
        for one in running {
            let _ended = world.within("it ends", LEASE, one).await?;
        }
    }
    Ok(Finding::Holds)
}
