//! Watches and observers.

use std::time::Duration;

use futures_util::StreamExt;
use leasehold::ErrorKind;
use leasehold::backend::{Intent, Push, Version};
use leasehold::status::Leader;

use crate::hand::{free, put, record_of};
use crate::history::{Event, What};
use crate::link::{Fault, Outage, Requests};
use crate::stores::parts::WatchHistory;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World};

/// The tokens that an observer was told, in order.
fn told(world: &World, node: &str) -> Vec<u64> {
    let tokens = world.history().events().into_iter().filter(|event| &*event.node == node);
    let tokens = tokens.filter_map(|event| match event.what {
        What::Told { leader: Some((_, token)) } => token,
        _ => None,
    });
    let mut tokens: Vec<u64> = tokens.collect();
    tokens.dedup();
    tokens
}

/// Ten hand-overs between two candidates; the tokens in order. Where nothing is pushed, every term
/// lasts until an observer has read again: it learns of no leader that led for less.
async fn ten_hand_overs(world: &World) -> Result<Vec<u64>, Problem> {
    let pause = Duration::from_millis(100);
    let term = if world.pushes() { pause } else { pause + world.observers_read() };
    let candidates = world.candidates("c", 2).await?;
    let mut tokens = Vec::new();
    for round in 0..10 {
        let lead = world.led(&candidates[round % 2]).await?;
        tokens.push(lead.token());
        world.sleep(term).await;
        must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
        world.sleep(pause).await;
    }
    Ok(tokens)
}

/// WA1.
pub(super) async fn ten_in_order(world: &World) -> Outcome {
    let (_, _observer) = world.observer("o").await?;
    world.sleep(Duration::from_millis(100)).await;
    let tokens = ten_hand_overs(world).await?;
    world.sleep(world.timing().retry_period()).await;
    let told = told(world, "o");
    must(told == tokens, || format!("{tokens:?} led, and {told:?} were told"))?;
    Ok(Finding::Holds)
}

/// WA2. Where nothing is pushed there is no watch that could be dead, and the follower reads
/// anyway.
pub(super) async fn half_open(world: &World) -> Outcome {
    world.over_network();
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    let waiting = b.stand();
    world.sleep(LEASE / 2).await;
    let _deaf = b.link().strike(Outage::Silent);
    world.sleep(LEASE / 3).await;
    must(lead.resign().await?, || "the release is not confirmed".to_owned())?;
    let bound = world.notices(&world.timing());
    let second = world.within("b notices", bound, waiting).await?.map_err(Problem::violated)??;
    must(second.check(), || "b lost its term".to_owned())?;
    Ok(Finding::Holds)
}

/// WA3. More happens than the store remembers.
pub(super) async fn compacted(world: &World) -> Outcome {
    let history = world.target().watch_history();
    #[cfg(feature = "servers")]
    let mut own = match matches!(history, WatchHistory::UntilRestart) {
        true => Some(world.servers(1, crate::fixture::Tls::Off).await?),
        false => None,
    };
    #[cfg(feature = "servers")]
    let store = match &own {
        Some(servers) => leasehold::connect(&servers.url(&servers.endpoints(), "jobs")).await?,
        None => world.store().await?,
    };
    #[cfg(not(feature = "servers"))]
    let store = world.store().await?;
    if store.capabilities().push != Push::Resumable {
        return Err(Problem::NotApplicable("its watch resumes from nothing".to_owned()));
    }
    let by_server = world.by_server();
    let intent = if by_server { Intent::Take } else { Intent::Adopt };
    let absent = store.read().await?.version;
    let first = put(&store, &absent, intent, record_of("a", 1)).await?;
    let mut now = first.clone();
    for number in 2..400_u64 {
        let record = record_of("a", number);
        if by_server {
            free(&store, &now).await?;
            now = put(&store, &Version::absent(), Intent::Take, record).await?;
        } else {
            now = put(&store, &now.version, Intent::Take, record).await?;
        }
    }
    match history {
        WatchHistory::Compacted(store) => {
            store.compact(world.lock()).await.map_err(Problem::NotApplicable)?;
        }
        WatchHistory::Kept(why) => return Err(Problem::NotApplicable(why.to_owned())),
        WatchHistory::Short | WatchHistory::UntilRestart => {}
    }
    #[cfg(feature = "servers")]
    if let Some(servers) = &mut own {
        servers.restart(0).await?;
    }
    let newest = now.record().map_or(0, |record| record.token);
    let (mut last, mut events) = (0, 0);
    let mut watch = store.watch(&first);
    while last != newest {
        let event = world.within("the watch shows the present", LEASE, watch.next()).await?;
        let event = event.ok_or_else(|| Problem::Violated("the watch ended".to_owned()))?;
        // An end by an error is one that the driver answers with a read and another watch.
        let Ok(event) = event else {
            must(store.read().await?.record().map(|record| record.token) == Some(newest), || {
                "a read is older than the newest write".to_owned()
            })?;
            return Ok(Finding::Holds);
        };
        if let Some(record) = event.record() {
            must(record.token >= last, || format!("{} after {last}", record.token))?;
            (last, events) = (record.token, events + 1);
        }
    }
    must(events < 398, || "nothing was forgotten".to_owned())?;
    Ok(Finding::Holds)
}

/// WA4. An old event must neither be told as news nor end a good term.
pub(super) async fn late_and_twice(world: &World) -> Outcome {
    if !world.pushes() {
        let why = "nothing is pushed, so nothing comes late, twice or out of order";
        return Err(Problem::NotApplicable(why.to_owned()));
    }
    let (link, _observer) = world.observer("o").await?;
    let _faults = [
        link.fault(Requests::All, Fault::Replay),
        link.fault(Requests::All, Fault::DelayEvents(Duration::from_millis(30))),
    ];
    let candidates = world.candidates("c", 2).await?;
    let _replayed: Vec<_> =
        candidates.iter().map(|one| one.link().fault(Requests::All, Fault::Replay)).collect();
    let mut tokens = Vec::new();
    for round in 0..6 {
        let lead = world.led(&candidates[round % 2]).await?;
        tokens.push(lead.token());
        world.sleep(LEASE / 3).await;
        must(lead.check(), || "an old event ended a good term".to_owned())?;
        must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
        world.sleep(Duration::from_millis(100)).await;
    }
    world.sleep(LEASE / 2).await;
    let told = told(world, "o");
    world.happened("event", told.len())?;
    must(told.last() == tokens.last(), || format!("{tokens:?} led, and {told:?} were told"))?;
    Ok(Finding::Holds)
}

/// WA5.
pub(super) async fn never_writes(world: &World) -> Outcome {
    let (link, _observer) = world.observer("o").await?;
    let _read_only = link.fault(Requests::Writes, Fault::Refuse(ErrorKind::Denied));
    let tokens = ten_hand_overs(world).await?;
    let wrote = |event: &Event| {
        &*event.node == "o" && matches!(event.what, What::Sent { intent: Some(_), .. })
    };
    must(world.count(wrote) == 0, || format!("it wrote {} times", world.count(wrote)))?;
    world.sleep(LEASE / 3).await;
    must(told(world, "o").last() == tokens.last(), || "it was not told".to_owned())?;
    Ok(Finding::Holds)
}

/// WA6.
pub(super) async fn nobody_leads(world: &World) -> Outcome {
    let (_, observer) = world.observer("o").await?;
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    world.sleep(if world.pushes() { LEASE / 2 } else { world.observers_read() }).await;
    let named =
        |leader: &Leader| matches!(leader, Leader::Held(leading) if leading.identity == "a");
    must(named(&observer.status().leader), || "it is not told of the leader".to_owned())?;
    a.kill();
    drop(lead);
    let what = "it no longer names the dead leader";
    // An observer's own timing has it read a lock three times in a lease, where nothing is pushed.
    let read = if world.pushes() { LEASE / 100 } else { LEASE / 3 };
    world.until(what, world.failover() + read, || !named(&observer.status().leader)).await?;
    world.sleep(LEASE).await;
    must(!named(&observer.status().leader), || "it names the dead leader again".to_owned())?;
    Ok(Finding::Holds)
}
