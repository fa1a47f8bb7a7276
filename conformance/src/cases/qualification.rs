//! Qualification of the store: whoever fails here keeps no lock.

use std::sync::Arc;

use leasehold::backend::{Change, Contents, Intent, LockBackend, Outcome as Written, Version};
use tokio::sync::Barrier;

use crate::hand::{first_intent, free, put, record_of};
use crate::verdict::{Finding, Outcome, Problem, must_ever};
use crate::world::World;

/// How many write at once.
const CONNECTIONS: usize = 64;

/// How many read what one writes.
const READERS: usize = 8;

/// Q1. Truly side by side: on several threads, each over a connection of its own.
pub(super) async fn one_winner(world: &World) -> Outcome {
    let rounds = world.rounds(50, 8);
    let (target, lock, clock) = (world.shared(), world.lock().to_owned(), world.clock().clone());
    let race = move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(4).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(async {
            for round in 0..rounds {
                let lock = format!("{lock}-{round}");
                let mut stores = Vec::new();
                for _ in 0..CONNECTIONS {
                    let store = target.open(&lock, &clock).await;
                    stores.push(store.map_err(|error| error.to_string())?);
                }
                let capabilities = stores[0].capabilities();
                let absent = stores[0].read().await.map_err(|error| error.to_string())?.version;
                let version = winner(&stores, &absent, first_intent(&capabilities)).await?;
                // Where the store ends leases, nobody takes what is there.
                if !capabilities.ends_leases() {
                    winner(&stores, &version, Intent::Take).await?;
                }
            }
            Ok::<(), String>(())
        })
    };
    // Waited for by blocking: virtual time stands still meanwhile, or leases would end within the
    // race.
    let raced = std::thread::spawn(race).join();
    let raced = raced.map_err(|_panic| Problem::violated("the race panicked"))?;
    raced.map_err(Problem::Violated)?;
    Ok(Finding::Holds)
}

/// All write over the same version at once; the version that the only winner made.
async fn winner(
    stores: &[Arc<dyn LockBackend>],
    expected: &Version,
    intent: Intent,
) -> Result<Version, String> {
    let barrier = Arc::new(Barrier::new(stores.len()));
    let mut writes = Vec::new();
    for store in stores {
        let (store, expected, barrier) = (store.clone(), expected.clone(), barrier.clone());
        let change = Change { intent, record: record_of("racer", 1) };
        writes.push(tokio::spawn(async move {
            barrier.wait().await;
            store.write(&expected, &change).await
        }));
    }
    let mut winners = Vec::new();
    for write in writes {
        match write.await.map_err(|error| error.to_string())? {
            Ok(Written::Written(observed)) => winners.push(observed.version),
            Ok(Written::Conflict) => {}
            Err(error) => return Err(format!("a loser gets no definite refusal: {error}")),
        }
    }
    match <[Version; 1]>::try_from(winners) {
        Ok([version]) => Ok(version),
        Err(winners) => {
            Err(format!("{} of {} writes over one version won", winners.len(), stores.len()))
        }
    }
}

/// Q2.
pub(super) async fn wrong_versions(world: &World) -> Outcome {
    let store = world.store().await?;
    let absent = store.read().await?.version;
    let intent = first_intent(world.capabilities());
    let first = put(&store, &absent, intent, record_of("a", 1)).await?;
    refused(&store, &absent, intent, "a creation over what is there").await?;
    let gone = if world.by_server() {
        free(&store, &first).await?;
        first
    } else {
        let second = put(&store, &first.version, Intent::Take, record_of("a", 2)).await?;
        refused(&store, &first.version, Intent::Take, "a write over an old version").await?;
        if let Err(why) = world.admin()?.delete(world.lock()).await {
            return Err(Problem::NotApplicable(why));
        }
        second
    };
    let now = store.read().await?;
    must_ever(now.record().is_none_or(|record| record.holder.is_none()), || {
        format!("after the deletion there still is {now:?}")
    })?;
    refused(&store, &gone.version, Intent::Renew, "a write over what was deleted").await?;
    let after = store.read().await?;
    must_ever(after.contents == now.contents, || "a refused write changed something".to_owned())?;
    Ok(Finding::Holds)
}

async fn refused(
    store: &Arc<dyn LockBackend>,
    expected: &Version,
    intent: Intent,
    what: &str,
) -> Result<(), Problem> {
    let change = Change { intent, record: record_of("thief", 9) };
    match store.write(expected, &change).await {
        Ok(Written::Conflict) => Ok(()),
        Ok(Written::Written(_)) => Err(Problem::Violated(format!("{what} is let in"))),
        Err(error) => Err(Problem::Violated(format!("{what} is an error: {error}"))),
    }
}

/// Q3.
pub(super) async fn identical_writes(world: &World) -> Outcome {
    let store = world.store().await?;
    let record = record_of("a", 1);
    let absent = store.read().await?.version;
    let (first, second) = if world.by_server() {
        let first = put(&store, &absent, Intent::Take, record.clone()).await?;
        free(&store, &first).await?;
        (first, put(&store, &absent, Intent::Take, record).await?)
    } else {
        let first = put(&store, &absent, Intent::Adopt, record.clone()).await?;
        let second = put(&store, &first.version, Intent::Take, record).await?;
        (first, second)
    };
    must_ever(first.version != second.version, || {
        "the same bytes twice are one version".to_owned()
    })?;
    refused(&store, &first.version, Intent::Renew, "a write over the first of two equal states")
        .await?;
    Ok(Finding::Holds)
}

/// Q4.
pub(super) async fn reads_are_fresh(world: &World) -> Outcome {
    let writer = world.store().await?;
    // A store with several servers is reached at any of them: by these readers at all, sooner or
    // later.
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(world.store().await?);
    }
    let mut version = writer.read().await?.version;
    for (number, reader) in
        (1..=u64::try_from(world.rounds(1000, 200)).unwrap_or(1)).zip(readers.iter().cycle())
    {
        let record = record_of("a", number);
        if world.by_server() {
            let taken = put(&writer, &Version::absent(), Intent::Take, record.clone()).await?;
            let read = reader.read().await?;
            must_ever(read.version == taken.version, || format!("read {number} misses a take"))?;
            free(&writer, &taken).await?;
            let read = reader.read().await?;
            must_ever(read.contents == Contents::Absent, || {
                format!("read {number} misses a release")
            })?;
        } else {
            let intent = if version.is_absent() { Intent::Adopt } else { Intent::Take };
            version = put(&writer, &version, intent, record).await?.version;
            let read = reader.read().await?;
            must_ever(read.version == version, || {
                format!("read {number} is older than its write")
            })?;
        }
    }
    Ok(Finding::Holds)
}

/// Q5.
pub(super) async fn versions_never_repeat(world: &World) -> Outcome {
    let store = world.store().await?;
    let mut seen: Vec<Version> = Vec::new();
    for cycle in 1..=5 {
        let absent = store.read().await?.version;
        let first = first_intent(world.capabilities());
        let one = put(&store, &absent, first, record_of("a", cycle)).await?;
        must_ever(!seen.contains(&one.version), || format!("version {:?} came back", one.version))?;
        for old in &seen {
            refused(&store, old, Intent::Renew, "a write over a version of an earlier life")
                .await?;
        }
        seen.push(one.version.clone());
        if world.by_server() {
            free(&store, &one).await?;
        } else {
            let two = put(&store, &one.version, Intent::Take, record_of("a", cycle)).await?;
            must_ever(!seen.contains(&two.version), || {
                format!("version {:?} came back", two.version)
            })?;
            seen.push(two.version);
            world.admin()?.delete(world.lock()).await.map_err(Problem::NotApplicable)?;
        }
    }
    Ok(Finding::Holds)
}
