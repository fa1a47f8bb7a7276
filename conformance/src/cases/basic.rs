//! Basic: what every user expects without ever thinking of it.

use std::time::Duration;

use leasehold::backend::{Intent, LockBackend};
use leasehold::{ErrorKind, Loss, Term, TimingSettings};

use crate::candidate::Setup;
use crate::hand::{first_intent, put, record_of, says_leader};
use crate::history::What;
use crate::link::{Fault, Requests};
use crate::verdict::{Finding, Outcome, Problem, must, must_ever};
use crate::world::{LEASE, World, setup};

/// BA1.
pub(super) async fn leads_alone(world: &World) -> Outcome {
    world.keep_fresh();
    let a = world.candidate("a").await?;
    let began = world.now();
    let lead = world.led(&a).await?;
    if world.capabilities().forgets {
        // Whoever led before the store forgot it may believe for as long.
        let took = world.now().since(began);
        must_ever(took >= LEASE, || format!("what may have been held was taken after {took:?}"))?;
        world.say(format!("on a lock that nobody ever held it led after {took:?}"));
    }
    must(lead.token() > 0, || "the token is 0".to_owned())?;
    must(lead.check(), || "check() says no to a new term".to_owned())?;
    // Read, adopt, take; and one read for each of what a watch shows of the two writes. Who waits
    // a lease out reads meanwhile, as every follower does.
    let timing = world.timing();
    let every = world.notices(&timing) - timing.request_timeout();
    let most = 6 + world.distrust(&timing).as_millis() / every.as_millis();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    must(world.sent("a") <= most, || format!("it took {} requests", world.sent("a")))?;
    let record = world.record().await?;
    let holder = record.as_ref().and_then(|record| record.holder.as_ref());
    must(holder.is_some_and(|holder| holder.identity == "a"), || format!("stored is {record:?}"))?;
    let token = record.map(|record| record.token);
    must(token == Some(lead.token()), || format!("{} is stored as {token:?}", lead.token()))?;
    if let Some(bytes) = world.target().bytes() {
        let shown = bytes.show(world.lock()).await.map_err(Problem::Violated)?;
        must(shown.contains("\"a\""), || format!("the store's own tool shows {shown}"))?;
    }
    Ok(Finding::Holds)
}

/// BA2.
pub(super) async fn others_are_refused(world: &World) -> Outcome {
    let [a, b, c] =
        [world.candidate("a").await?, world.candidate("b").await?, world.candidate("c").await?];
    let lead = world.led(&a).await?;
    let _asking = [b.stand(), c.stand()];
    for _ in 0..20 {
        world.sleep(world.timing().retry_period()).await;
        must(lead.check(), || "the leader lost its term".to_owned())?;
        for other in [&b, &c] {
            must(other.leads().is_none(), || format!("{} leads too", other.name()))?;
            must(says_leader(other.elector(), "a", lead.token()), || {
                format!("{} is told {:?}", other.name(), other.elector().status().leader)
            })?;
        }
    }
    let asked = world.sent("b") + world.sent("c");
    world.happened("request of the others", asked)?;
    Ok(Finding::Holds)
}

/// BA3.
pub(super) async fn ten_leases(world: &World) -> Outcome {
    let [a, b] = [world.candidate("a").await?, world.candidate("b").await?];
    let lead = world.led(&a).await?;
    let _waiting = b.stand();
    let before = world.applied("a", Intent::Renew);
    world.sleep(10 * LEASE).await;
    must(lead.check(), || "the leader lost its term".to_owned())?;
    let renewals = world.applied("a", Intent::Renew) - before;
    let period = world.timing().retry_period();
    let expected = (10 * LEASE).as_millis() / period.as_millis();
    // Each renewal counts from the send of the one before: a slow answer makes none more, and a
    // late wake-up fewer.
    let least = if world.target().virtual_time() { expected - 1 } else { expected * 4 / 5 };
    must((least..=expected + 1).contains(&(renewals as u128)), || {
        format!("{renewals} renewals in ten leases, expected {expected}")
    })?;
    Ok(Finding::Holds)
}

/// BA4.
pub(super) async fn two_locks(world: &World) -> Outcome {
    let names = [format!("{}-1", world.lock()), format!("{}-2", world.lock())];
    let a = world.candidate_for(&names[0], "1/a", setup()).await?;
    let b = world.candidate_for(&names[1], "2/b", setup()).await?;
    let c = world.candidate_for(&names[0], "1/c", setup()).await?;
    let (first, second) = (world.led(&a).await?, world.led(&b).await?);
    must(first.check() && second.check(), || "one of two locks keeps the other".to_owned())?;
    must(first.resign().await?, || "the release is not confirmed".to_owned())?;
    let third = world.led(&c).await?;
    world.sleep(LEASE).await;
    must(second.check() && third.check(), || "a hand-over of one lock ends the other".to_owned())?;
    Ok(Finding::Holds)
}

/// BA5.
pub(super) async fn strange_names(world: &World) -> Outcome {
    let long = "x".repeat(253);
    let names = ["x", &long, "ü-é-漢", "a/b", "a b", "a%20b", "..", "*", "line\nfeed", "a.b", "A"];
    let mut stores: Vec<(String, std::sync::Arc<dyn LockBackend>)> = Vec::new();
    for name in names {
        let lock = format!("{}-{name}", world.lock());
        match world.target().open(&lock, world.clock()).await {
            Ok(store) => stores.push((name.to_owned(), store)),
            Err(error) => must(error.kind() == ErrorKind::Invalid, || {
                format!("the name {name:?} is refused as {:?}: {error}", error.kind())
            })?,
        }
    }
    world.happened("name that is taken", stores.len())?;
    let intent = first_intent(world.capabilities());
    for (name, store) in &stores {
        let observed = store.read().await?;
        must(observed.version.is_absent(), || format!("{name:?} names another's lock"))?;
        put(store, &observed.version, intent, record_of(name.trim(), 1)).await?;
    }
    for (name, store) in &stores {
        let observed = store.read().await?;
        let holder = observed.record().and_then(|record| record.holder.clone());
        must(holder.is_some_and(|holder| holder.identity == name.trim()), || {
            format!("{name:?} holds another's record")
        })?;
    }
    identities(world).await
}

async fn identities(world: &World) -> Outcome {
    let named = |identity: &str| Setup { identity: Some(identity.to_owned()), ..setup() };
    for bad in ["", "line\nfeed", "nul\0", &"x".repeat(254)] {
        let error = world.build(world.lock(), "bad", named(bad)).await.err();
        must(error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Invalid), || {
            format!("the identity {bad:?} gives {error:?}")
        })?;
    }
    let odd = "ü /..* \"quoted\" 漢";
    let a = world.candidate_with("a", named(odd)).await?;
    let lead = world.led(&a).await?;
    let record = world.record().await?;
    let holder = record.and_then(|record| record.holder);
    must(holder.is_some_and(|holder| holder.identity == odd), || {
        "an identity was changed".to_owned()
    })?;
    drop(lead);
    Ok(Finding::Holds)
}

/// BA6.
pub(super) async fn dropped_and_cancelled(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let lead = world.led(&a).await?;
    let term = lead.term();
    let requests = world.sent("a");
    drop(lead);
    must(term.check() == Err(Loss::Dropped), || "a dropped owner still believes".to_owned())?;
    must(world.sent("a") == requests, || "a drop sends something".to_owned())?;
    world.sleep(Duration::from_millis(500)).await;
    must(world.applied("a", Intent::Release) == 0, || {
        "a drop releases: its work may run".to_owned()
    })?;
    panics(world).await?;
    cancelled(world).await
}

async fn panics(world: &World) -> Result<(), Problem> {
    let lock = format!("{}-panic", world.lock());
    let p = world.candidate_for(&lock, "panic/p", setup()).await?;
    let elector = p.elector().clone();
    let (sender, mut terms) = tokio::sync::mpsc::unbounded_channel::<Term>();
    let work = tokio::task::spawn_local(async move {
        let bug = async |term: Term| {
            let _ = sender.send(term);
            std::panic::resume_unwind(Box::new("a bug in the work"));
        };
        elector.run(bug).await
    });
    let ended = world.within("the panic reaches the caller", world.fresh(), work).await?;
    must(ended.is_err_and(|error| error.is_panic()), || "a panic was swallowed".to_owned())?;
    let term = terms.recv().await.ok_or_else(|| Problem::Vacuous("no term began".to_owned()))?;
    must(term.check().is_err(), || "belief outlives a panic".to_owned())?;
    world.sleep(Duration::from_millis(500)).await;
    must(world.applied("panic/p", Intent::Release) == 0, || "a panic releases".to_owned())
}

/// A campaign is dropped at every moment of a slow acquisition: whatever it got by then is given
/// back.
async fn cancelled(world: &World) -> Outcome {
    let step = Duration::from_millis(30);
    // The acquisition begins once a store that may forget was waited out, without the jitter.
    let timing = world.timing();
    let waits = world.waits_first(&timing).saturating_sub(timing.max_jitter());
    let mut given_back = 0;
    for round in 0..u32::try_from(world.rounds(20, 6)).unwrap_or(1) {
        let (lock, node) = (format!("{}-c{round}", world.lock()), format!("c{round}/c"));
        let c = world.candidate_for(&lock, &node, setup()).await?;
        let _slow = [
            c.link().fault(Requests::All, Fault::DelayRequest(Duration::from_millis(40))),
            c.link().fault(Requests::All, Fault::DelayAnswer(Duration::from_millis(40))),
        ];
        let after = step * if world.target().virtual_time() { round } else { 3 * round };
        tokio::select! {
            biased;
            lead = c.campaign() => drop(lead?),
            () = world.sleep(waits + after) => {}
        }
        world.sleep(Duration::from_millis(1500)).await;
        must(c.leads().is_none(), || "a campaign that was dropped leads".to_owned())?;
        if world.applied(&node, Intent::Take) > 0
            && world.count(|event| {
                &*event.node == node.as_str() && matches!(event.what, What::Up { .. })
            }) == 0
        {
            let store = world.target().open(&lock, world.clock()).await?;
            let observed = store.read().await?;
            let held = observed.record().is_some_and(|record| record.holder.is_some());
            must(!held, || "a take that nobody wanted is kept".to_owned())?;
            given_back += 1;
        }
    }
    world.happened("take that nobody wanted any more", given_back)?;
    Ok(Finding::Holds)
}

/// BA7.
pub(super) async fn invalid_configurations(world: &World) -> Outcome {
    let ms = |milliseconds| Some(Duration::from_millis(milliseconds));
    let base = TimingSettings::lease_duration(LEASE);
    let wrong = [
        ("D >= L", TimingSettings { renew_deadline: ms(3000), ..base }),
        ("P + 3T > D", TimingSettings { retry_period: ms(1800), ..base }),
        ("T > D", TimingSettings { request_timeout: ms(2500), ..base }),
        ("m too small", TimingSettings { clock_margin: ms(10), ..base }),
        ("D + G + m > L", TimingSettings { stop_grace: ms(2000), ..base }),
        ("P = 0", TimingSettings { retry_period: ms(0), ..base }),
        ("L > 1 h", TimingSettings::lease_duration(Duration::from_secs(3601))),
        ("L < 1 s alone", TimingSettings::lease_duration(Duration::from_millis(900))),
    ];
    for (name, timing) in wrong {
        let built = world.build(world.lock(), "a", Setup { timing, ..setup() }).await;
        must(built.as_ref().is_err_and(|error| error.kind() == ErrorKind::Invalid), || {
            format!("{name} gives {built:?}")
        })?;
    }
    must(world.sent("a") == 0, || "something was sent before the refusal".to_owned())?;
    granularity(world).await
}

/// Below the store's shortest lease duration it is refused, fractions above it are rounded up.
async fn granularity(world: &World) -> Outcome {
    let capabilities = world.store().await?.capabilities();
    let (min, step) = (capabilities.min_lease_duration, capabilities.lease_duration_step);
    if min > Duration::from_secs(1) {
        let timing = TimingSettings::lease_duration(min - Duration::from_millis(1));
        let built = world.build(world.lock(), "a", Setup { timing, ..setup() }).await;
        must(built.is_err(), || format!("a lease below {min:?} is taken"))?;
    }
    let asked = LEASE + Duration::from_nanos(1);
    let timing = TimingSettings::lease_duration(asked);
    let a = world.candidate_with("a", Setup { timing, ..setup() }).await?;
    let given = a.elector().timing().lease_duration();
    must(given >= asked && given.as_nanos() % step.as_nanos() == 0, || {
        format!("{asked:?} became {given:?}, in steps of {step:?}")
    })?;
    Ok(Finding::Holds)
}
