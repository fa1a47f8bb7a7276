//! Servers that are killed and come back.

use std::time::Duration;

use leasehold::{Loss, TimingSettings};

use crate::candidate::Setup;
use crate::fixture::{Fixture, Tls};
use crate::hand::grows;
use crate::history::What;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

/// A cluster must be started again and agree on a leader within the ride-through: at this lease that is 6 s.
const LONG: Duration = Duration::from_secs(15);

async fn kill_all(servers: &mut dyn Fixture) -> Result<(), Problem> {
    for member in 0..servers.members() {
        servers.kill(member)?.required()?;
    }
    Ok(())
}

/// SV1. Every member at once, so that there is an outage at all.
pub(super) async fn back_in_time(world: &World) -> Outcome {
    let mut servers = world.servers(3, Tls::Off).await?;
    let url = servers.url(&servers.endpoints(), "jobs");
    let timing = TimingSettings::lease_duration(LONG);
    let a = world.candidate_at(&url, "a", Setup { timing, ..setup() }).await?;
    let b = world.candidate_at(&url, "b", Setup { timing, ..setup() }).await?;
    let lead = world.led(&a).await?;
    let _waiting = b.stand();
    world.sleep(LEASE).await;
    let until = lead.term().deadlines().until;
    let killed = world.now();
    world.disturb("every server is killed");
    kill_all(servers.as_mut()).await?;
    let reached = servers.url(&servers.endpoints(), "jobs");
    must(leasehold::connect(&reached).await?.read().await.is_err(), || {
        "a killed server answers".to_owned()
    })?;
    servers.restart_all().await?.required()?;
    let down = world.now().since(killed);
    let rides = a.elector().timing().bounds().ride_through;
    if down > rides {
        return Err(Problem::Late(format!("the servers took {down:?} to return, not {rides:?}")));
    }
    let extended = || lead.term().deadlines().until > until;
    world.until("a renewal after the return", rides, extended).await?;
    // Beyond what it believed before.
    world.sleep_until(until + LEASE).await;
    must(lead.check(), || format!("an outage of {down:?} ends a term that rides {rides:?}"))?;
    must(b.leads().is_none(), || "the follower leads too".to_owned())?;
    world.say(format!("every server was down for {down:?}; the term rides {rides:?}"));
    Ok(Finding::Holds)
}

/// SV2.
pub(super) async fn back_too_late(world: &World) -> Outcome {
    let mut servers = world.servers(3, Tls::Off).await?;
    let url = servers.url(&servers.endpoints(), "jobs");
    let [a, b] = [
        world.candidate_at(&url, "a", setup()).await?,
        world.candidate_at(&url, "b", setup()).await?,
    ];
    let lead = world.led(&a).await?;
    let token = lead.token();
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let killed = world.now();
    world.disturb("every server is killed");
    kill_all(servers.as_mut()).await?;
    let deadline = world.timing().renew_deadline();
    let loss = world.within("the leader's term ends", deadline, lead.lost()).await?;
    must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
    drop(lead);
    let again = a.stand();
    world.sleep_until(killed + 2 * LEASE).await;
    must(world.leader().is_none(), || "somebody leads without a server".to_owned())?;
    servers.restart_all().await?.required()?;
    let returned = world.now();
    // A store that ends leases itself begins them anew when it returns, and looks a moment later.
    let bound = LEASE + world.failover();
    let terms = || world.count(|event| matches!(event.what, What::Up { .. }));
    world.until("somebody leads after the return", bound, || terms() > 1).await?;
    let took = world.now().since(returned);
    let up = world.leader().ok_or_else(|| Problem::Violated("nobody leads".to_owned()))?;
    grows(token, up.token)?;
    world.sleep(LEASE).await;
    must(terms() == 2, || format!("{} terms began after the return", terms() - 1))?;
    world.say(format!("somebody led {took:?} after the servers returned"));
    drop((waiting, again));
    Ok(Finding::Holds)
}
