//! Members of the store: they stop, move and are replaced, and a side of them is alone.

mod balanced;
mod sides;
mod thaw;

use std::time::Duration;

use leasehold::Loss;
use leasehold::backend::{Change, Intent, Version};
use leasehold::status::Leader;

use super::partitions::last_sign;
use crate::candidate::{Candidate, Lead, Setup};
use crate::fixture::{Failure, Fixture, Tls, Wish};
use crate::hand::{first_intent, record_of};
use crate::history::What;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

/// Long enough that nobody notices the loss of one member.
const LONG: Duration = Duration::from_secs(15);

/// Until members agree on another leader: at most twice their timeout of a second, and once more if
/// two stood at once.
const ELECTION: Duration = Duration::from_secs(4);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// How a member is away for a while.
struct Away {
    word: &'static str,
    begin: fn(&mut dyn Fixture, usize) -> Result<(), Failure>,
    end: fn(&mut dyn Fixture, usize) -> Result<(), Failure>,
}

const FROZEN: Away = Away {
    word: "frozen",
    begin: |servers, member| servers.freeze(member),
    end: |servers, member| servers.thaw(member),
};

const CUT_OFF: Away = Away {
    word: "cut off",
    begin: |servers, member| servers.cuts()?.cut_off(member),
    end: |servers, member| servers.cuts()?.rejoin(member),
};

/// A leader that must never lose its term, and a follower that must see no other.
struct Pair {
    lead: Lead,
    follower: Candidate,
    /// How often that one wrote before it saw who leads.
    wrote: usize,
}

impl Pair {
    async fn on(world: &World, servers: &dyn Fixture) -> Result<Self, Problem> {
        let url = servers.url(&servers.endpoints(), "ride");
        world.ready_at(&url).await?;
        let timing = leasehold::TimingSettings::lease_duration(LONG);
        let leader = world.candidate_at(&url, "a", Setup { timing, ..setup() }).await?;
        let follower = world.candidate_at(&url, "b", Setup { timing, ..setup() }).await?;
        let fresh = LEASE + world.distrust(&leader.elector().timing());
        let lead = world.within("a leads", fresh, leader.campaign()).await??;
        let _waiting = follower.stand();
        let mut pair = Self { lead, follower, wrote: 0 };
        world.until("the follower sees the leader", LEASE, || pair.is_seen()).await?;
        // It may have tried to take what it did not know to be taken.
        pair.wrote = pair.writes(world);
        Ok(pair)
    }

    /// How often the follower tried to change who leads. Where the store may have forgotten that, a
    /// follower adopts what it finds, which changes nothing.
    fn writes(&self, world: &World) -> usize {
        let adopts = world.capabilities().forgets;
        world.count(|event| match event.what {
            What::Sent { intent: Some(Intent::Adopt), .. } if adopts => false,
            What::Sent { intent: Some(_), .. } => *event.node == *self.follower.name(),
            _ => false,
        })
    }

    fn is_seen(&self) -> bool {
        matches!(self.follower.elector().status().leader,
            Leader::Held(leading) if leading.identity == "a")
    }

    /// The follower knows nothing of who leads: a store that may have forgotten vouches for
    /// nothing until what it shows is adopted.
    fn doubts(&self, world: &World) -> bool {
        let leader = self.follower.elector().status().leader;
        world.capabilities().forgets && matches!(leader, Leader::Unknown)
    }

    /// How long it may, until a write of its own or of the leader's is through.
    fn longest_doubt(&self) -> Duration {
        let timing = self.follower.elector().timing();
        timing.retry_period() + timing.request_timeout()
    }

    /// Twice without the store's own leader, and then without each member.
    async fn rides_without_each(
        &self,
        world: &World,
        servers: &mut dyn Fixture,
        away: Away,
    ) -> Result<(), Problem> {
        let Away { word, begin, end } = away;
        for _ in 0..2 {
            let member = servers.leader().await?;
            begin(servers, member)?;
            self.rides(world, &format!("the store's leader {word}"), seconds(12)).await?;
            end(servers, member)?;
            servers.settled().await?;
            self.rides(world, "it is back", seconds(3)).await?;
        }
        for member in 0..servers.members() {
            begin(servers, member)?;
            self.rides(world, &format!("member {member} {word}"), seconds(5)).await?;
            end(servers, member)?;
            servers.settled().await?;
            self.rides(world, "it is back", seconds(3)).await?;
        }
        Ok(())
    }

    /// Watches it for so long, and says how little belief was left.
    async fn rides(&self, world: &World, what: &str, duration: Duration) -> Result<(), Problem> {
        let (end, limit) = (world.now() + duration, self.longest_doubt() + world.slack());
        let (mut least, mut sure) = (Duration::MAX, world.now());
        while world.now() < end {
            must(self.lead.check(), || format!("{what} ends the term"))?;
            if self.is_seen() {
                sure = world.now();
            }
            must(self.is_seen() || self.doubts(world), || {
                let seen = self.follower.elector().status().leader;
                format!("{what}: the follower notices, and says {seen:?}")
            })?;
            if world.now().since(sure) > limit {
                return Err(Problem::Late(format!("{what}: the follower knows nobody for long")));
            }
            least = least.min(self.lead.term().remaining());
            world.sleep(Duration::from_millis(10)).await;
        }
        must(self.writes(world) == self.wrote, || format!("{what}: the follower tried to take"))?;
        world.say(format!("{what}: {least:?} of belief left at the least"));
        Ok(())
    }
}

/// SV4.
pub(super) async fn the_stores_own_leader(world: &World) -> Outcome {
    let mut servers = world.servers(3, Tls::Off).await?;
    let pair = Pair::on(world, servers.as_ref()).await?;
    for _ in 0..2 {
        let member = servers.leader().await?;
        servers.kill(member)?;
        pair.rides(world, "the store's leader killed", seconds(8)).await?;
        servers.restart(member).await?;
    }
    for member in 0..servers.members() {
        servers.kill(member)?;
        pair.rides(world, &format!("member {member} killed"), seconds(4)).await?;
        servers.restart(member).await?;
    }
    servers.cluster()?.fail_over().await?;
    pair.rides(world, "the store's leader moved", seconds(4)).await?;
    let member = servers.leader().await?;
    servers.cluster()?.replace(member).await?;
    pair.rides(world, "the store's leader replaced", seconds(4)).await?;
    both_crash(world, servers.as_mut()).await?;
    Ok(Finding::Holds)
}

/// The store's leader and ours at one moment: the store's next leader keeps every lease for its
/// whole duration again.
async fn both_crash(world: &World, servers: &mut dyn Fixture) -> Result<(), Problem> {
    let url = servers.url(&servers.endpoints(), "crash");
    let c = world.candidate_at(&url, "crash/c", setup()).await?;
    let d = world.candidate_at(&url, "crash/d", setup()).await?;
    let _lead = world.within("c leads", world.fresh(), c.campaign()).await??;
    let waiting = d.stand();
    world.sleep(LEASE).await;
    let member = servers.leader().await?;
    c.kill();
    servers.kill(member)?;
    let crashed = world.now();
    let bound = world.failover() + ELECTION + LEASE;
    let second = world.within("d leads", bound, waiting).await?.map_err(Problem::violated)??;
    let sign = last_sign(world, "crash/c").unwrap_or(crashed);
    let waited = world.now().since(sign);
    must(waited >= LEASE, || format!("taken {waited:?} after the last renewal"))?;
    let took = world.now().since(crashed);
    world.say(format!("both leaders killed: the next one leads after {took:?}, bound {bound:?}"));
    must(second.resign().await?, || "a release is not confirmed".to_owned())?;
    servers.restart_all().await?;
    Ok(())
}

/// SV6.
pub(super) async fn stopped(world: &World) -> Outcome {
    let wish = Wish { one_address: true, ..Wish::default() };
    let mut servers = world.servers_as(wish).await?;
    if !servers.takes_over() {
        // Nobody rides through the loss of the one that serves for long.
        rides_without_others(world, servers.as_mut()).await?;
        all_stopped(world, servers.as_mut()).await?;
        return Ok(Finding::Holds);
    }
    let pair = Pair::on(world, servers.as_ref()).await?;
    pair.rides_without_each(world, servers.as_mut(), FROZEN).await?;
    must(pair.lead.resign().await?, || "a release is not confirmed".to_owned())?;
    all_stopped(world, servers.as_mut()).await?;
    thaw::stopped_for_a_lease(world, servers.as_mut()).await?;
    Ok(Finding::Holds)
}

/// The others are only copied to: each may be away.
async fn rides_without_others(world: &World, servers: &mut dyn Fixture) -> Result<(), Problem> {
    if servers.members() == 1 {
        return Ok(());
    }
    let pair = Pair::on(world, servers).await?;
    let serves = servers.leader().await?;
    for member in (0..servers.members()).filter(|member| *member != serves) {
        servers.freeze(member)?;
        pair.rides(world, &format!("member {member} frozen"), seconds(8)).await?;
        servers.thaw(member)?;
        pair.rides(world, "it is back", seconds(2)).await?;
    }
    Ok(())
}

/// Every member for two leases. What was sent meanwhile waits in them.
async fn all_stopped(world: &World, servers: &mut dyn Fixture) -> Result<(), Problem> {
    let url = servers.url(&servers.endpoints(), "stopped");
    let a = world.candidate_at(&url, "stopped/a", setup()).await?;
    let b = world.candidate_at(&url, "stopped/b", setup()).await?;
    let lead = world.within("a leads", world.fresh(), a.campaign()).await??;
    let token = lead.token();
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let store = leasehold::connect(&url).await?;
    // Where no version is of a lock that is absent, that of the moment is.
    let over = match world.capabilities().forgets {
        true => store.read().await?.version,
        false => Version::absent(),
    };
    world.disturb_lock("stopped", "every server is frozen");
    let frozen = world.now();
    for member in 0..servers.members() {
        servers.freeze(member)?;
    }
    let deadline = world.timing().renew_deadline();
    let loss = world.within("the leader's term ends", deadline, lead.lost()).await?;
    must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
    drop(lead);
    let again = a.stand();
    let take =
        Change { intent: first_intent(world.capabilities()), record: record_of("of the past", 1) };
    let given_up = tokio::time::timeout(LEASE / 10, store.write(&over, &take)).await;
    must(given_up.is_err(), || "a frozen store answers".to_owned())?;
    world.sleep_until(frozen + 2 * LEASE).await;
    must(world.leader().is_none(), || "somebody leads without a server".to_owned())?;
    for member in 0..servers.members() {
        servers.thaw(member)?;
    }
    let returned = world.now();
    let bound = world.failover() + ELECTION + LEASE;
    let up = world.until_some_leads("stopped/", bound).await?;
    crate::hand::grows(token, up.token)?;
    world.say(format!("somebody led {:?} after the servers went on", world.now().since(returned)));
    world.sleep(LEASE).await;
    let now = world.leader().filter(|now| now.token == up.token);
    must(now.is_some(), || "a request of the past ended the term".to_owned())?;
    drop((waiting, again));
    Ok(())
}

/// SV7.
pub(super) use balanced::one_of_two;

/// NP6 and NP7.
pub(super) use sides::{minority, split};
