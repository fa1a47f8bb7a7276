//! The disk under the store: it is full, or its power fails.

use leasehold::Loss;
use leasehold::backend::{Change, Version};

use crate::fixture::{Disk, Failure, Fixture, Wish};
use crate::hand::{first_intent, grows, record_of};
use crate::history::What;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

/// Room for three members, each with two files of its log made in advance.
const ROOM: u32 = 1024;

/// What servers may store before they say that they are full.
const QUOTA: u32 = 2;

/// The store, and the disk that it is on.
enum Store {
    Servers(Box<dyn Fixture>),
    Files(Disk),
}

impl Store {
    /// A store on a disk of its own, with servers like this, and the URLs of two locks there.
    async fn on_disk(world: &World, wish: Wish) -> Result<(Self, [String; 2]), Problem> {
        if world.target().servers().is_some() {
            let servers = world.servers_as(wish).await?;
            let urls = ["jobs", "others"].map(|lock| servers.url(&servers.endpoints(), lock));
            return Ok((Self::Servers(servers), urls));
        }
        let (disk, url) = world.disks()?.on_disk(world.lock()).map_err(Problem::NotApplicable)?;
        let other = format!("{url}-other");
        Ok((Self::Files(disk), [url, other]))
    }

    /// Whoever served serves again afterwards.
    async fn lose_power(&mut self) -> Result<(), Failure> {
        match self {
            Self::Servers(servers) => servers.storage()?.lose_power().await,
            Self::Files(disk) => disk.lose_power(),
        }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        match self {
            Self::Servers(servers) => servers.storage()?.fill().await,
            Self::Files(disk) => disk.fill().await,
        }
    }

    /// What an operator does.
    async fn make_room(&mut self) -> Result<(), Failure> {
        match self {
            Self::Servers(servers) => servers.storage()?.make_room().await,
            Self::Files(disk) => disk.free(),
        }
    }
}

/// SV3. Right after a take was acknowledged.
pub(super) async fn power_fails(world: &World) -> Outcome {
    let wish = Wish { disk: Some(ROOM), ..Wish::default() };
    let (mut store, [url, _]) = Store::on_disk(world, wish).await?;
    let mut last = 0;
    for round in 0..3 {
        let name = format!("round{round}");
        let a = world.candidate_at(&url, &name, setup()).await?;
        let bound = world.failover() + 2 * LEASE;
        let lead = world.within("it leads", bound, a.campaign()).await??;
        let token = lead.token();
        grows(last, token)?;
        // Everything of the machine ends with its power, its candidates too.
        world.disturb("the power fails");
        a.kill();
        store.lose_power().await?;
        let seen = leasehold::connect(&url).await?.read().await?;
        let stored = seen.record().map(|record| record.token);
        must(stored == Some(token), || {
            format!("term {token} was acknowledged, and after a loss of power there is {stored:?}")
        })?;
        last = token;
        drop(lead);
    }
    world.say(
        "three times power failed right after a take: the take was there, and unflushed data \
        was not",
    );
    Ok(Finding::Holds)
}

/// Without room nobody takes another lock; else the store was not full. What it says of that.
async fn refuses(world: &World, other: &str) -> Result<String, Problem> {
    let other = leasehold::connect(other).await?;
    let intent = first_intent(world.capabilities());
    let take = Change { intent, record: record_of("other", 1) };
    let over = match other.read().await {
        Ok(seen) => seen.version,
        Err(_) => Version::absent(),
    };
    match tokio::time::timeout(LEASE, other.write(&over, &take)).await {
        Ok(Ok(written)) => Err(Problem::Vacuous(format!("a full store took it: {written:?}"))),
        Ok(Err(error)) => Ok(error.to_string()),
        Err(_) => Ok("nothing".to_owned()),
    }
}

/// SV8. Servers are full at their own quota: past it they do what they do where a disk is, and it
/// fills none here.
pub(super) async fn full(world: &World) -> Outcome {
    let (mut store, [url, other]) =
        Store::on_disk(world, Wish { quota: Some(QUOTA), ..Wish::default() }).await?;
    let a = world.candidate_at(&url, "a", setup()).await?;
    let b = world.candidate_at(&url, "b", setup()).await?;
    let lead = world.within("a leads", world.fresh(), a.campaign()).await??;
    let token = lead.token();
    let waiting = b.stand();
    world.sleep(LEASE).await;
    world.disturb("the store is full");
    store.fill().await?;
    // A renewal may need no room. Whoever leads then gives the lock back, which may need none
    // either; nobody takes it.
    let deadline = world.timing().renew_deadline();
    let ended = tokio::time::timeout(3 * deadline, lead.lost()).await;
    let outcome = match ended {
        Ok(loss) => {
            must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
            drop(lead);
            "its term ended".to_owned()
        }
        Err(_) => format!("it led on, and its release was confirmed: {:?}", lead.resign().await),
    };
    let said = refuses(world, &other).await?;
    world.sleep(LEASE).await;
    let taken = world.leader().map(|span| span.token);
    store.make_room().await?;
    let again = a.stand();
    let terms = || world.count(|event| matches!(event.what, What::Up { .. }));
    let bound = world.failover() + 3 * LEASE;
    world.until("somebody leads once there is room", bound, || terms() > 1).await?;
    let up = world.until_some_leads("", bound).await?;
    grows(token, up.token)?;
    world.say(format!(
        "the store was full, and the leader: {outcome}; then led: {taken:?}; a take \
        was told {said:?}"
    ));
    drop((waiting, again));
    Ok(Finding::Holds)
}
