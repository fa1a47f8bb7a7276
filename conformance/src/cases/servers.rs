//! Servers that are killed and come back, and whose wall clock jumps.

use std::time::Duration;

use leasehold::{Loss, TimingSettings};

use super::fencing::{begins_anew, one_term};
use super::overload::refuses_another;
use super::partitions::last_sign;
use crate::candidate::Setup;
use crate::fixture::{Fixture, Tls, Wish};
use crate::hand::{Resource, grows};
use crate::history::What;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

/// A cluster must be started again and agree on a leader within the ride-through: at this lease
/// that is 6 s.
const LONG: Duration = Duration::from_secs(15);

async fn kill_all(servers: &mut dyn Fixture) -> Result<(), Problem> {
    for member in 0..servers.members() {
        servers.kill(member)?;
    }
    Ok(())
}

/// SV1. Every member at once, so that there is an outage at all.
pub(super) async fn back_in_time(world: &World) -> Outcome {
    let mut servers = world.servers(3, Tls::Off).await?;
    let url = servers.url(&servers.endpoints(), "jobs");
    world.ready_at(&url).await?;
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
    servers.restart_all().await?;
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
    servers.restart_all().await?;
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

/// SV9. The new servers begin at the first revision, so that their tokens were used; only who never
/// knew the old ones leads there.
pub(super) async fn replaced(world: &World) -> Outcome {
    let mut servers = world.servers(3, Tls::Off).await?;
    let url = servers.url(&servers.endpoints(), "jobs");
    let timing = TimingSettings::lease_duration(LONG);
    let a = world.candidate_at(&url, "a", Setup { timing, ..setup() }).await?;
    let b = world.candidate_at(&url, "b", Setup { timing, ..setup() }).await?;
    let lead = world.led(&a).await?;
    let token = lead.token();
    let waiting = b.stand();
    world.sleep(LEASE).await;
    let until = lead.term().deadlines().until;
    world.disturb("every server is replaced");
    servers.cluster()?.supplant().await?;
    let serving = world.now();
    let timing = a.elector().timing();
    let bound = timing.retry_period() + timing.request_timeout() + world.slack();
    if until.since(serving) < bound {
        return Err(Problem::Late("the new servers came when the term was over anyway".to_owned()));
    }
    world.within("the term ends with an answer of the new servers", bound, lead.lost()).await?;
    world.say(format!("the old term ended {:?} after they served", world.now().since(serving)));
    drop(lead);
    refuses_another(world, waiting, bound).await?;
    // Its tokens are of another store: docs/ETCD.md says how they are kept above the old ones.
    world.exempt(crate::judge::Property::TokensGrow);
    world.exempt(crate::judge::Property::Identity);
    let c = world.candidate_at(&url, "c", setup()).await?;
    let second = world.within("a newcomer leads", world.fresh(), c.campaign()).await??;
    must(second.check() && a.leads().is_none(), || "two lead".to_owned())?;
    refuses_another(world, a.stand(), bound).await?;
    world.say(format!(
        "token {} after {token}: the new store counts from its beginning",
        second.token()
    ));
    Ok(Finding::Holds)
}

/// FE5.
pub(super) async fn restored(world: &World) -> Outcome {
    let mut servers = world.servers(1, Tls::Off).await?;
    let url = servers.url(&servers.endpoints(), "jobs");
    let candidate = async |name: &str| world.candidate_at(&url, name, setup()).await;
    let fenced = Resource::new(world, true);
    let mut last = one_term(world, &candidate("a").await?, &fenced).await?;
    servers.snapshots()?.back_up().await?;
    for name in ["b", "c", "d"] {
        last = one_term(world, &candidate(name).await?, &fenced).await?;
    }
    servers.snapshots()?.put_back().await?;
    begins_anew(world, &candidate("e").await?, &fenced, last).await
}

/// CK5. By a lease, an hour, and ten years, each time while somebody leads and again once it is
/// dead.
pub(super) async fn wall_clock(world: &World) -> Outcome {
    let hour: i64 = 3600;
    let lease = i64::try_from(LEASE.as_secs()).unwrap_or(i64::MAX);
    let years = 10 * 8766 * hour;
    let mut servers = world.servers_as(Wish { moves_clock: true, ..Wish::default() }).await?;
    let url = servers.url(&servers.endpoints(), "jobs");
    for (round, [leading, dead]) in
        [[lease, 2 * lease], [-hour, -2 * hour], [years, 2 * lease], [0, -hour]]
            .into_iter()
            .enumerate()
    {
        let names = [format!("a{round}"), format!("b{round}")];
        let a = world.candidate_at(&url, &names[0], setup()).await?;
        let b = world.candidate_at(&url, &names[1], setup()).await?;
        let lead = world.within("a leads", world.fresh(), a.campaign()).await??;
        let waiting = b.stand();
        world.sleep(LEASE / 2).await;
        servers.wall_clock()?.move_clock(leading).await?;
        world.sleep(2 * LEASE).await;
        must(lead.check(), || format!("a step to {leading} s ends the term"))?;
        must(!waiting.is_finished(), || format!("a step to {leading} s makes two leaders"))?;
        a.kill();
        servers.wall_clock()?.move_clock(dead).await?;
        let second = world.within("b leads", world.failover(), waiting).await?;
        let second = second.map_err(Problem::violated)??;
        let sign = last_sign(world, &names[0]).ok_or_else(|| Problem::violated("it never led"))?;
        let waited = world.now().since(sign);
        must(waited >= LEASE, || format!("taken {waited:?} after the last renewal"))?;
        world.say(format!(
            "{leading} s from the true time while it led, {dead} s once it was dead: taken \
             {waited:?} after its last renewal"
        ));
        must(second.resign().await?, || "a release is not confirmed".to_owned())?;
    }
    Ok(Finding::Holds)
}
