//! A leader with two followers keeps its term while Sentinels replace the primary, and while a
//! server refuses, stands still or loads its data for three seconds.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

#[path = "common/redis.rs"]
mod common;
#[path = "common/redis_party.rs"]
mod party;

use std::time::{Duration, Instant};

use common::{LONG, Scene, millis, run};
use leasehold::ErrorKind;
use leasehold::stores::redis::Cas;
use leasehold_conformance::fixture::{Fixture, Snapshots};
use leasehold_conformance::stores::redis::fixture::{MASTER, Reply};
use leasehold_conformance::stores::redis::{Form, Options};
use party::{Host, Party};
use tokio::time::{sleep, timeout};

/// Of each kind.
const ROUNDS: usize = 10;

/// The longest fail-over that a lease of fifteen seconds is long enough for.
const RIDDEN_THROUGH: Duration = Duration::from_secs(6);

/// An outage that a lease of fifteen seconds is long enough for.
const OUTAGE: Duration = Duration::from_secs(3);

#[test]
fn the_leader_leads_on_when_the_primary_is_killed() {
    replaced(true);
}

#[test]
fn the_leader_leads_on_when_the_primary_is_frozen() {
    replaced(false);
}

/// A leader rides through a fail-over of six seconds. Sentinels that do not agree at once take
/// longer now and then, which says nothing: the rest is done with others.
fn replaced(is_killed: bool) {
    run(async {
        let _host = Host::watched();
        let mut done = 0;
        for _ in 0..4 {
            done += rounds(is_killed, ROUNDS - done).await;
            if done == ROUNDS {
                return;
            }
        }
        panic!("Sentinels took too long again and again: {done} rounds are done");
    });
}

/// How many rounds were done before a fail-over took too long.
async fn rounds(is_killed: bool, count: usize) -> usize {
    let mut scene = Scene::of(Form::Sentinel).await;
    let party = Party::of(&scene, LONG).await;
    let what = if is_killed { "killed" } else { "frozen" };
    for round in 1..=count {
        let old = party.during(scene.redis.leader()).await.unwrap();
        scene.disturb(what);
        if is_killed {
            scene.redis.kill_server(old);
        } else {
            scene.redis.freeze_server(old).unwrap();
        }
        let fault = Instant::now();
        let new = scene.redis.eventually_led_by_another(old).await.unwrap();
        let promoted = fault.elapsed();
        scene.redis.wait_for_replicas(new, 1).await.unwrap();
        let followed = fault.elapsed();
        if followed > RIDDEN_THROUGH {
            println!("{what} {round}: a fail-over of {followed:?} is too long");
            scene.judged(what);
            return round - 1;
        }
        if !party.renews_or_lacks_replicas().await {
            println!("{what} {round}: who followed after {followed:?} left again");
            scene.judged(what);
            return round - 1;
        }
        let renewed = fault.elapsed();
        party.during(restored(&mut scene, old, is_killed)).await;
        println!(
            "{what} {round}: another primary after {promoted:?}, a replica after {followed:?}, \
             renewed after {renewed:?}, a round of {:?}",
            fault.elapsed()
        );
    }
    scene.judged(what);
    count
}

/// The old primary follows the present one, and every Sentinel knows two replicas that are well.
async fn restored(scene: &mut Scene, old: usize, is_killed: bool) {
    let redis = &mut scene.redis;
    if is_killed {
        redis.restart_empty(old).await.unwrap();
    } else {
        redis.thaw_server(old).unwrap();
    }
    // Sentinels do this after ten seconds. They may also fail over once more.
    loop {
        let primary = redis.leader().await.unwrap();
        if primary != old {
            redis.follow(old, primary).await.unwrap();
        }
        let follow = redis.wait_for_replicas(primary, 2);
        if matches!(timeout(Duration::from_secs(2), follow).await, Ok(Ok(()))) {
            break;
        }
    }
    for sentinel in 0..redis.members() {
        loop {
            let replicas = redis.ask_sentinel(sentinel, &["SENTINEL", "REPLICAS", MASTER]).await;
            let replicas = replicas.unwrap();
            let flags = replicas.list().iter().filter(|it| field(it, "flags") == Some("slave"));
            if flags.count() == 2 {
                break;
            }
            sleep(millis(20)).await;
        }
    }
}

/// A field of a list of names and values.
fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let [names, values] = [0, 1].map(|from| reply.list().iter().skip(from).step_by(2));
    names.zip(values).find(|(it, _)| it.text() == name).map(|(_, value)| value.text())
}

/// Servers to which an outage is done.
struct Refusing {
    scene: Scene,
    party: Party,
}

impl Refusing {
    async fn of(form: Form, extra: &[&str]) -> Self {
        let extra = extra.iter().map(|&it| it.to_owned()).collect();
        let scene = Scene::with(Options { form, extra, ..Options::default() }).await;
        let party = Party::of(&scene, LONG).await;
        Self { scene, party }
    }

    async fn insist(&self, words: &[&str]) {
        let done = self.party.during(self.scene.redis.insist(0, words)).await;
        done.unwrap_or_else(|failure| panic!("{words:?}: {failure}"));
    }

    /// Just before the leader renews.
    async fn begins(&self, what: &str) {
        self.party.during(self.party.renews(1)).await;
        self.party.during(sleep(millis(1500))).await;
        self.party.said();
        self.scene.disturb(what);
    }

    /// It lasts for three seconds.
    async fn lasts(&self) {
        self.party.during(sleep(OUTAGE)).await;
    }

    /// The leader renews again. Some candidate had a failure of this kind that says this; `None`:
    /// nobody had any.
    async fn passes(&self, what: &str, says: Option<(ErrorKind, &str)>) {
        let began = Instant::now();
        self.party.during(self.party.renews(1)).await;
        let renewed = began.elapsed();
        self.party.during(self.party.is_content()).await;
        let said = self.party.said();
        println!("{what}: renewed {renewed:?} after its end; candidates heard {said:#?}");
        match says {
            Some((kind, says)) => {
                let heard = said.iter().any(|(of, text)| *of == kind && text.contains(says));
                assert!(heard, "{what}: nobody heard {says:?}");
            }
            None => assert!(said.is_empty(), "{what}"),
        }
        self.party.renews(1).await;
        self.party.is_as_it_was();
    }
}

/// A failure that passes.
const LATER: ErrorKind = ErrorKind::Unavailable;

#[test]
fn a_server_refuses_everything_or_every_write() {
    run(async {
        let _host = Host::watched();
        let on = Refusing::of(Form::One, &["busy-reply-threshold 50"]).await;

        on.begins("BUSY").await;
        let mut busy = on.scene.redis.connect(0).await.unwrap().within(4 * OUTAGE);
        let endless = ["EVAL", "while true do end", "0"];
        let endless = tokio::task::spawn_local(async move { busy.ask(&endless).await });
        on.lasts().await;
        on.insist(&["SCRIPT", "KILL"]).await;
        assert!(endless.await.unwrap().unwrap().text().contains("SCRIPT KILL"));
        on.passes("BUSY", Some((LATER, "BUSY"))).await;

        on.begins("NOREPLICAS").await;
        on.insist(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
        on.lasts().await;
        on.insist(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
        on.passes("NOREPLICAS", Some((LATER, "NOREPLICAS"))).await;

        on.begins("MISCONF").await;
        // No snapshot can take the place of a directory.
        let dump = on.scene.redis.directory().join("data/m0/dump.rdb");
        std::fs::create_dir_all(dump.join("taken")).unwrap();
        on.insist(&["CONFIG", "SET", "save", "3600 1"]).await;
        on.insist(&["BGSAVE"]).await;
        let mut refused = on.scene.redis.connect(0).await.unwrap();
        let refuses = async {
            while !refused.ask(&["SET", "k", "v"]).await.unwrap().text().starts_with("MISCONF") {
                sleep(millis(20)).await;
            }
        };
        on.party.during(refuses).await;
        on.lasts().await;
        std::fs::remove_dir_all(&dump).unwrap();
        on.insist(&["SAVE"]).await;
        on.passes("MISCONF", Some((LATER, "MISCONF"))).await;
        on.insist(&["CONFIG", "SET", "save", ""]).await;

        on.begins("READONLY").await;
        on.insist(&["REPLICAOF", "127.0.0.1", "1"]).await;
        on.lasts().await;
        on.insist(&["REPLICAOF", "NO", "ONE"]).await;
        on.passes("READONLY", Some((LATER, "is a replica of"))).await;
        on.scene.judged("refusals");
    });
}

/// The script may write where memory is short; a bare `SET` may not.
#[test]
fn memory_is_short() {
    run(async {
        let _host = Host::watched();
        let on = Refusing::of(Form::One, &["maxmemory-policy noeviction"]).await;
        on.begins("OOM").await;
        // Less than what it uses.
        on.insist(&["CONFIG", "SET", "maxmemory", "1"]).await;
        let refused = on.scene.redis.ask(0, &["SET", "k", "v"]).await.unwrap();
        assert!(refused.text().starts_with("OOM"), "{refused:?}");
        on.party.during(on.party.renews(2)).await;
        let store = on.scene.redis.shared().cas(Cas::IfEq).build().unwrap();
        let error = party::over_absent(&store.lock("other").unwrap()).await.unwrap_err();
        println!("without a script: {error}");
        assert!(error.kind() == LATER && error.to_string().contains("maxmemory: raise it"));
        on.insist(&["CONFIG", "SET", "maxmemory", "0"]).await;
        on.passes("OOM", None).await;
        on.scene.judged("OOM");
    });
}

#[test]
fn clients_are_paused() {
    run(async {
        let _host = Host::watched();
        let on = Refusing::of(Form::Replicated, &[]).await;
        for kind in ["WRITE", "ALL"] {
            on.begins(kind).await;
            let duration = OUTAGE.as_millis().to_string();
            on.insist(&["CLIENT", "PAUSE", &duration, kind]).await;
            on.lasts().await;
            on.passes(kind, Some((LATER, "no answer within the request timeout"))).await;
        }
        on.scene.judged("pauses");
    });
}

/// It has two hundred keys, and takes ten more milliseconds for each.
#[test]
fn a_server_loads_its_data() {
    run(async {
        let _host = Host::watched();
        let slowly = ["key-load-delay 10000", "loading-process-events-interval-bytes 1024"];
        let mut on = Refusing::of(Form::One, &[&slowly[..], &["rdbcompression no"]].concat()).await;
        let mut connection = on.scene.redis.connect(0).await.unwrap();
        for number in 0..OUTAGE.as_millis() / 15 {
            let (key, value) = (format!("k{number}"), "x".repeat(2048));
            connection.insist(&["SET", &key, &value]).await.unwrap();
        }
        on.begins("LOADING").await;
        let (party, redis) = (&on.party, &mut on.scene.redis);
        let began = Instant::now();
        party.during(redis.back_up()).await.unwrap();
        party.during(redis.put_back()).await.unwrap();
        println!("loaded after {:?}", began.elapsed());
        assert!(began.elapsed() > millis(2000), "it loads at once");
        on.passes("LOADING", Some((LATER, "LOADING"))).await;
        on.scene.judged("LOADING");
    });
}
