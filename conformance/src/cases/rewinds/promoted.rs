//! A replica that missed writes is promoted.

use std::time::Duration;

use leasehold::TimingSettings;

use crate::candidate::Setup;
use crate::fixture::Tls;
use crate::hand::grows;
use crate::judge::Property;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

/// Long enough for a fail-over within the ride-through.
const LONG: Duration = Duration::from_secs(15);

/// SV5, on servers. A replica receives nothing from before a hand-over on, so that it knows another
/// leader than there is; then it is promoted.
pub(in crate::cases) async fn promoted(world: &World) -> Outcome {
    world.exempt(Property::Identity);
    let mut servers = world.servers(3, Tls::Off).await?;
    let url = servers.url(&servers.endpoints(), "jobs");
    world.ready_at(&url).await?;
    let timing = TimingSettings::lease_duration(LONG);
    let candidate =
        async |name: &str| world.candidate_at(&url, name, Setup { timing, ..setup() }).await;
    let [a, b, c] = [candidate("a").await?, candidate("b").await?, candidate("c").await?];
    let fresh = LONG + world.distrust(&a.elector().timing());
    let lead = world.within("a leads", fresh, a.campaign()).await??;
    let first = lead.token();
    let waiting = b.stand();
    world.sleep(LEASE).await;
    servers.replicas()?.hold_one_back().await?;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    let lead = world.within("b leads", LEASE, waiting).await?.map_err(Problem::violated)??;
    let second = lead.token();
    grows(first, second)?;
    let newcomer = c.stand();
    world.sleep(LEASE).await;
    let (until, began) = (lead.term().deadlines().until, world.now());
    world.disturb("a replica that missed a hand-over is promoted");
    servers.replicas()?.promote_it().await?;
    let promoted = world.now().since(began);
    let extended = || lead.term().deadlines().until > until;
    let limit = b.elector().timing().renew_deadline();
    world.until("a renewal after the promotion", limit, extended).await?;
    world.sleep(LONG + LEASE).await;
    must(lead.check(), || "the promotion ended the term".to_owned())?;
    must(!newcomer.is_finished(), || "a newcomer took from a living leader".to_owned())?;
    b.kill();
    let bound = 2 * world.failover_of(&c.elector().timing());
    let third = world.within("c leads", bound, newcomer).await?.map_err(Problem::violated)??;
    grows(second, third.token())?;
    world.say(format!("the replica was the primary after {promoted:?}; the leader stayed"));
    Ok(Finding::Holds)
}
