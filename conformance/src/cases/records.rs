//! Records that are not ours: forged, absurd, foreign, unreadable, of another version.

use std::time::Duration;

use leasehold::ErrorKind;
use leasehold::backend::{Intent, MAX_TOKEN, Record, Version};
use leasehold::status::Leader;
use serde_json::json;

use crate::hand::{Resource, free, put, record_of};
use crate::history::What;
use crate::judge::Property;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World};

/// SE5.
pub(super) async fn forged(world: &World) -> Outcome {
    for property in [Property::BeliefExclusion, Property::Observers, Property::Identity] {
        world.exempt(property);
    }
    let fenced = Resource::new(world, true);
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    must(fenced.write(lead.token()), || "a leader's effect is refused".to_owned())?;
    let store = world.store().await?;
    world.disturb("an intruder writes");
    let mut now = store.read().await?;
    if world.by_server() {
        // Its key, and not what a challenger could reach: an administrator's hand.
        free(&store, &now).await?;
        now.version = Version::absent();
    }
    let mut record = record_of("intruder", lead.token() + 1);
    record.lease_duration = Duration::from_secs(1_000_000);
    let forged = put(&store, &now.version, Intent::Take, record).await?;
    let _waiting = b.stand();
    let loss = world.within("the leader notices", LEASE / 3, lead.lost()).await?;
    world.sleep(3 * LEASE).await;
    let blocked = a.leads().is_none() && b.leads().is_none();
    let told =
        matches!(&b.elector().status().leader, Leader::Held(who) if who.identity == "intruder");
    if world.by_server() {
        // A key of so long a lease would stay where nobody resets the store.
        free(&store, &forged).await?;
    }
    must(told, || "it is not told who holds the lock".to_owned())?;
    let token = forged.record().map_or(0, |record| record.token);
    must(fenced.write(token), || "the resource knows no intruders, only tokens".to_owned())?;
    must(!fenced.write(lead.token()), || "the resource lets the old token in".to_owned())?;
    world.history().note(&"intruder".into(), What::Up { token, until: world.now() });
    if blocked {
        let text = format!(
            "a forged record ended the term ({loss:?}) and blocks everybody; it is told by name"
        );
        return Ok(Finding::Shown(text));
    }
    Err(Problem::NotShown("a forged record changed nothing".to_owned()))
}

/// IN1.
pub(super) async fn no_record(world: &World) -> Outcome {
    let good = {
        let a = world.candidate("a").await?;
        let lead = world.led(&a).await?;
        let shown = world.bytes()?.show(world.lock()).await.map_err(Problem::NotApplicable)?;
        must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
        shown
    };
    let other_version = good.replace("\"v\":1", "\"v\":2");
    let mut garbage: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"hello".to_vec(),
        b"{}".to_vec(),
        b"[1]".to_vec(),
        vec![0; 64],
        good.as_bytes()[..good.len() / 2].to_vec(),
        good.replace("\"token\":", "\"token\":-").into_bytes(),
        other_version.into_bytes(),
    ];
    garbage.push(vec![b'x'; 1 << 20]);
    for (round, bytes) in garbage.iter().enumerate() {
        untouched(world, round, bytes).await?;
    }
    Ok(Finding::Holds)
}

/// Whoever finds these bytes says that they are no record, and leaves them.
async fn untouched(world: &World, round: usize, bytes: &[u8]) -> Result<(), Problem> {
    let stored = world.bytes()?;
    stored.overwrite(world.lock(), bytes).await.map_err(Problem::NotApplicable)?;
    // The tool of a store may show less than was written: its text, or the beginning.
    let before = stored.show(world.lock()).await.ok();
    let name = format!("{round}/c");
    let candidate = world.candidate_for(world.lock(), &name, crate::world::setup()).await?;
    let campaign = candidate.campaign();
    let ended = world.within("it says that this is no record", LEASE, campaign).await?;
    // Before it is asked again: who leads is never answered.
    must(ended.is_err(), || format!("bytes {round} were taken for a free lock"))?;
    let error = candidate.elector().campaign().await.err().map(|error| error.kind());
    must(error == Some(ErrorKind::Corrupt), || format!("bytes {round} give {error:?}"))?;
    let wrote =
        world.count(|event| *event.node == *name && matches!(event.what, What::Applied { .. }));
    must(wrote == 0, || format!("bytes {round} were overwritten"))?;
    let after = stored.show(world.lock()).await.ok();
    must(after == before, || format!("bytes {round} became {after:.60?}"))
}

/// UP6.
pub(super) async fn coordinated(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    drop(a);
    world.coordinator()?.coordinate(world.lock()).await.map_err(Problem::NotApplicable)?;
    let before = world.store().await?.read().await?;
    let b = world.candidate("b").await?;
    let ended = world.within("it says why it stays out", LEASE, b.campaign()).await?;
    let error = b.elector().campaign().await.err();
    must(
        ended.is_err() && error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Denied),
        || format!("a coordinated lock gives {error:?}"),
    )?;
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    must(text.contains("coordinated"), || format!("it is not told why: {text}"))?;
    let wrote =
        world.count(|event| &*event.node == "b" && matches!(event.what, What::Applied { .. }));
    must(wrote == 0, || format!("it wrote {wrote} times"))?;
    let after = world.store().await?.read().await?;
    must(after.version == before.version || after.record().is_none(), || {
        "what the coordinator keeps was changed".to_owned()
    })?;
    Ok(Finding::Holds)
}

/// IN2.
pub(super) async fn absurd_fields(world: &World) -> Outcome {
    let store = world.store().await?;
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    drop(a);
    let base = record_of("", 1);
    let forever = Duration::from_secs(1_000_000_000);
    let long = Record { lease_duration: forever, ..record_of("long", 1) };
    // An identity that is empty, a token beyond all, and a lease that never ends.
    let highest = record_of("highest", MAX_TOKEN);
    let by_server = world.by_server();
    for (round, record) in [base, long, highest].into_iter().enumerate() {
        let observed = store.read().await?;
        let mut record = record;
        record.token = record.token.max(observed.record().map_or(0, |now| now.token) + 1);
        let name = format!("{round}/c");
        let stored = put(&store, &observed.version, Intent::Take, record.clone()).await?;
        let c = world.candidate_for(world.lock(), &name, crate::world::setup()).await?;
        let campaign = c.stand();
        let bound = 2 * world.failover();
        world.sleep(bound).await;
        let status = c.elector().status();
        let waits = !campaign.is_finished();
        match round {
            0 => must(c.leads().is_some(), || {
                format!("an empty identity is waited for beyond its lease: {status:?}")
            })?,
            1 => must(waits && matches!(status.leader, Leader::Held(_)), || {
                format!("a lease of {forever:?} is not waited out, or not told: {status:?}")
            })?,
            // A store that mints tokens itself minds no token of a record.
            _ if by_server => {
                let minted = stored.record().map_or(MAX_TOKEN, |record| record.token);
                must(c.leads().is_some_and(|token| token > minted && token < MAX_TOKEN), || {
                    format!("after a token beyond all, stored as {minted}: {status:?}")
                })?;
            }
            _ => must(c.leads().is_none(), || "a token beyond all was given".to_owned())?,
        }
        world.disturb("an operator frees the lock");
        campaign.abort();
        drop((campaign, c));
        world.sleep(world.timing().request_timeout()).await;
        let now = store.read().await?;
        let kept = if now.version.is_absent() { Version::absent() } else { now.version };
        let token = stored.record().map_or(0, |record| record.token);
        if !kept.is_absent() && round < 2 {
            let released = Record { holder: None, ..record_of("", token.max(1)) };
            put(&store, &kept, Intent::Release, released).await?;
        }
    }
    Ok(Finding::Holds)
}

/// IN3.
pub(super) async fn belongs_to_another(world: &World) -> Outcome {
    let foreign = [
        &b"#!/bin/sh\nexec /usr/bin/important\n"[..],
        b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"}",
        b"SQLite format 3\0",
        b"12345\n",
    ];
    for (round, bytes) in foreign.iter().enumerate() {
        untouched(world, round, bytes).await?;
    }
    Ok(Finding::Holds)
}

/// IN4.
pub(super) async fn random_bytes(world: &World) -> Outcome {
    let good = Record {
        extra: serde_json::Map::from_iter([(
            "ask".to_owned(),
            json!({"step_down": [1, null, "x"]}),
        )]),
        ..record_of("node-\"a\"\\é", 42)
    };
    must(Record::from_json(&good.to_json()).as_ref() == Ok(&good), || {
        "it does not survive".to_owned()
    })?;
    let bytes = good.to_json();
    let (mut read, mut refused) = (0, 0);
    for _ in 0..world.rounds(200_000, 200_000) {
        let mut mutated = bytes.clone();
        for _ in 0..=world.draw(4) {
            let at = usize::try_from(world.draw(mutated.len() as u64)).unwrap_or(0);
            match world.draw(3) {
                0 => mutated[at] = u8::try_from(world.draw(256)).unwrap_or(0),
                1 => mutated.truncate(at.max(1)),
                _ => mutated.insert(at, u8::try_from(world.draw(256)).unwrap_or(0)),
            }
        }
        match Record::from_json(&mutated) {
            Ok(record) => {
                read += 1;
                let again = Record::from_json(&record.to_json());
                must(again.as_ref() == Ok(&record), || format!("{record:?} does not survive"))?;
                must(record.token <= MAX_TOKEN, || format!("token {} is let in", record.token))?;
            }
            Err(why) => {
                refused += 1;
                must(!why.is_empty(), || "it is refused without a word".to_owned())?;
            }
        }
    }
    world.happened("record that was read", read)?;
    world.happened("record that was refused", refused)?;
    Ok(Finding::Holds)
}

/// UP1. The newer version writes a field that ours does not know.
pub(super) async fn unknown_fields(world: &World) -> Outcome {
    let candidates = world.candidates("c", 3).await?;
    if world.by_server() {
        return after_a_newer_version(world, &candidates).await;
    }
    let first = world.led(&candidates[0]).await?;
    let store = world.store().await?;
    let mut newer = Err(Problem::Vacuous("every write met a renewal".to_owned()));
    for _ in 0..5 {
        let observed = store.read().await?;
        let mut record =
            observed.record().cloned().ok_or_else(|| Problem::Vacuous("no record".to_owned()))?;
        record.extra.insert("history".to_owned(), json!(["x", 1]));
        newer = put(&store, &observed.version, Intent::Renew, record).await;
        if newer.is_ok() {
            break;
        }
    }
    newer?;
    world.sleep(LEASE).await;
    must(first.check(), || "an unknown field ends the term".to_owned())?;
    let mut lead = first;
    for candidate in [&candidates[1], &candidates[2], &candidates[0]] {
        let token = lead.token();
        must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
        lead = world.led(candidate).await?;
        crate::hand::grows(token, lead.token())?;
        world.sleep(LEASE / 3).await;
        let kept = world.record().await?.and_then(|record| record.extra.get("history").cloned());
        must(kept == Some(json!(["x", 1])), || format!("the unknown field became {kept:?}"))?;
    }
    Ok(Finding::Holds)
}

/// Where a renewal stores nothing, ours only read what the newer version wrote, and come after it.
async fn after_a_newer_version(world: &World, ours: &[crate::candidate::Candidate]) -> Outcome {
    let store = world.store().await?;
    let mut record = record_of("newer", 1);
    record.extra.insert("history".to_owned(), json!(["x", 1]));
    let taken = put(&store, &Version::absent(), Intent::Take, record).await?;
    let token = taken.record().map_or(0, |record| record.token);
    let waiting: Vec<_> = ours.iter().map(|candidate| candidate.stand()).collect();
    world.sleep(LEASE / 3).await;
    for candidate in ours {
        must(crate::hand::says_leader(candidate.elector(), "newer", token), || {
            format!("it is told {:?}", candidate.elector().status().leader)
        })?;
    }
    let up = world.until_some_leads("c", world.failover()).await?;
    crate::hand::grows(token, up.token)?;
    drop(waiting);
    Ok(Finding::Holds)
}
