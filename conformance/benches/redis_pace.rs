//! How fast a lock in Redis or Valkey is, next to the same commands sent by hand over one
//! connection, on one server and on a primary with two replicas.
//!
//! `cargo bench -p leasehold-conformance --bench redis_pace [-- ROUNDS]`, after
//! `cargo xtask servers redis`. Each round measures both, one after the other, so that other work
//! on the machine slows both. It ends with an error where ours is slower than what docs/REDIS.md
//! promises.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leasehold::Elector;
use leasehold::backend::{
    Change, Holder, Incarnation, Intent, LockBackend, Nonce, Observed, Outcome, Record,
};
use leasehold::stores::redis::{Redis as Store, RedisLock};
use leasehold::timing::Wall;
use leasehold_conformance::distribution::Distribution;
use leasehold_conformance::fixture::Fixture as _;
use leasehold_conformance::stores::redis::fixture::{Connection, Reply, key};
use leasehold_conformance::stores::redis::{Form, Options, Redis};

mod turns;

use turns::in_turns;

/// How often each is measured.
const ROUNDS: usize = 2000;

/// A round of these hands the lock over and waits until the next one is ready.
const HANDOVERS: usize = 200;

const LEASE: Duration = Duration::from_secs(15);

/// The script of a write of ours.
const SCRIPT: &str = include_str!("../../crates/backend-redis/src/cas.lua");

/// How a lock by hand is released, and announced.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) \
     redis.call('PUBLISH', KEYS[1], 'free') return 1 else return 0 end";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let rounds = words.next().map_or(ROUNDS, |word| word.parse().expect("a number of rounds"));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let holds = runtime.block_on(async {
        let mut holds = true;
        for form in [Form::One, Form::Replicated] {
            holds &= measure(form, rounds).await;
        }
        holds
    });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A server, or a primary with replicas, without anything in between.
struct Place {
    _redis: Redis,
    address: String,
    replicas: usize,
}

impl Place {
    async fn start(form: Form) -> Self {
        let redis = Redis::start(Options { form, ..Options::default() }).await.unwrap();
        let primary = redis.leader().await.unwrap();
        let (address, replicas) = (redis.addresses()[primary].clone(), form.replicas());
        Self { _redis: redis, address, replicas }
    }

    fn lock(&self, name: &str) -> RedisLock {
        let mut options = Store::at(&self.address);
        if self.replicas > 0 {
            options = options.replicas(self.replicas as u64);
        }
        options.build().unwrap().lock(name).unwrap()
    }

    async fn connect(&self) -> Connection {
        Connection::to(&self.address).await.unwrap()
    }

    /// How many replicas a write waits for.
    fn acknowledgements(&self) -> usize {
        self.replicas.div_ceil(2)
    }
}

async fn measure(form: Form, rounds: usize) -> bool {
    let place = Place::start(form).await;
    let k = place.acknowledgements();
    println!("{} replicas, a write waits for {k}:", place.replicas);
    let (renewals, by_hand) = renewals(&place, rounds).await;
    let (takes, sets) = takes(&place, rounds).await;
    let handovers = handovers(&place, rounds.min(HANDOVERS)).await;
    let by_hands = handovers_by_hand(&place, rounds.min(HANDOVERS)).await;
    let median = |times: &Distribution| times.at(50).as_secs_f64();
    let ratio = |ours: &Distribution, theirs: &Distribution| median(ours) / median(theirs);
    for (what, times) in [
        ("a renewal", &renewals),
        ("the same commands by hand", &by_hand),
        ("a take", &takes),
        ("SET NX PX by hand", &sets),
        ("a hand-over, release sent to the next one's check()", &handovers),
        ("a hand-over by hand: a script, a message, SET NX PX", &by_hands),
    ] {
        println!("  {what}: {times}");
    }
    let renewal = ratio(&renewals, &by_hand);
    let take = ratio(&takes, &sets);
    let handover = ratio(&handovers, &by_hands);
    println!(
        "  by the medians: renewal {renewal:.2} x its commands by hand, take {take:.2} x SET NX \
         PX, hand-over {handover:.2} x by hand"
    );
    let mut holds = true;
    for (what, is_so) in [
        ("a renewal takes at most 1.3 x its commands by hand", renewal <= 1.3),
        ("a take takes at most 2 x SET NX PX", k > 0 || take <= 2.0),
        ("median of a hand-over at most 2 ms", handovers.at(50) <= Duration::from_millis(2)),
        ("a hand-over takes at most 5 x one by hand", handover <= 5.0),
    ] {
        println!("  {}: {what}", if is_so { "holds" } else { "DOES NOT HOLD" });
        holds &= is_so;
    }
    holds
}

fn change(intent: Intent, number: usize) -> Change {
    let incarnation = Some(Incarnation(7));
    let holder = Holder { identity: "node-a".to_owned(), incarnation, advertise: None };
    let record = Record {
        holder: Some(holder).filter(|_| !matches!(intent, Intent::Release | Intent::Adopt)),
        token: 1,
        lease_duration: LEASE,
        nonce: Nonce(number as u128),
        acquired: Wall(1),
        renewed: Wall(1),
        extra: serde_json::Map::new(),
    };
    Change { intent, record }
}

async fn write(lock: &RedisLock, over: &Observed, intent: Intent, number: usize) -> Observed {
    match lock.write(&over.version, &change(intent, number)).await.unwrap() {
        Outcome::Written(observed) => observed,
        Outcome::Conflict => panic!("a write lost against nobody"),
    }
}

/// A renewal, and the very same pipeline without this project.
async fn renewals(place: &Place, rounds: usize) -> (Distribution, Distribution) {
    let lock = place.lock("renewed");
    let mut state = lock.read().await.unwrap();
    state = write(&lock, &state, Intent::Adopt, 0).await;
    state = write(&lock, &state, Intent::Take, 1).await;
    let mut raw = Raw::of(place, &lock, &state).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first ones find the connections cold.
    for round in 0..rounds + 20 {
        let began = Instant::now();
        state = write(&lock, &state, Intent::Renew, round + 2).await;
        let our = began.elapsed();
        let their = raw.renew(place).await;
        if round >= 20 {
            ours.push(our);
            theirs.push(their);
        }
    }
    (Distribution::of(ours), Distribution::of(theirs))
}

/// The commands of a renewal by hand, of a lock of its own.
struct Raw {
    connection: Connection,
    digest: String,
    reign: String,
    stored: String,
    seq: u64,
}

impl Raw {
    /// Of a lock that looks like that one.
    async fn of(place: &Place, lock: &RedisLock, like: &Observed) -> Self {
        let mut connection = place.connect().await;
        let digest = connection.insist(&["SCRIPT", "LOAD", SCRIPT]).await.unwrap();
        let ours = connection.insist(&["GET", &key("renewed")]).await.unwrap();
        let reign = like.version.reign().unwrap();
        let reign = String::from_utf8(reign.to_vec()).unwrap();
        let stored = ours.text().to_owned();
        assert!(stored.contains(&reign), "{} stores its reign: {stored}", lock.name());
        connection.insist(&["SET", &key("by-hand"), &stored]).await.unwrap();
        let json: serde_json::Value = serde_json::from_str(&stored).unwrap();
        let (digest, seq) = (digest.text().to_owned(), json["seq"].as_u64().unwrap());
        Self { connection, digest, reign, stored, seq }
    }

    async fn renew(&mut self, place: &Place) -> Duration {
        let (old, new) = (self.seq.to_string(), (self.seq + 1).to_string());
        let next = self.stored.replace(&old, &new);
        let began = Instant::now();
        let (key, replicas) = (key("by-hand"), if place.replicas > 0 { "1" } else { "0" });
        let (digest, reign, stored) = (&*self.digest, &*self.reign, &*self.stored);
        let script = ["EVALSHA", digest, "1", &key, reign, stored, &next, replicas];
        let acknowledgements = place.acknowledgements().to_string();
        let wait = ["WAIT", &acknowledgements, "750"];
        let info = ["server", "replication", "stats"].map(|section| ["INFO", section]);
        let mut commands: Vec<&[&str]> = vec![&script];
        if place.replicas > 0 {
            commands.push(&wait);
            commands.extend(info.iter().map(|info| &info[..]));
        }
        let replies = self.connection.pipeline(&commands).await.unwrap();
        let took = began.elapsed();
        assert_eq!(replies[0], Reply::List(vec![Reply::Number(1)]), "{:?}", replies[0]);
        (self.stored, self.seq) = (next, self.seq + 1);
        took
    }
}

/// A take over a released record, and the lock that everybody knows.
async fn takes(place: &Place, rounds: usize) -> (Distribution, Distribution) {
    let lock = place.lock("taken");
    let mut state = lock.read().await.unwrap();
    state = write(&lock, &state, Intent::Adopt, 0).await;
    let mut raw = place.connect().await;
    let acknowledgements = place.acknowledgements().to_string();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds + 20 {
        let began = Instant::now();
        let taken = write(&lock, &state, Intent::Take, 2 * round + 1).await;
        let our = began.elapsed();
        state = write(&lock, &taken, Intent::Release, 2 * round + 2).await;
        raw.insist(&["DEL", "set"]).await.unwrap();
        let began = Instant::now();
        take_by_hand(&mut raw, "set", "me", &acknowledgements).await;
        let their = began.elapsed();
        if round >= 20 {
            ours.push(our);
            theirs.push(their);
        }
    }
    (Distribution::of(ours), Distribution::of(theirs))
}

/// `SET NX PX`, and as many acknowledgements as ours waits for.
async fn take_by_hand(raw: &mut Connection, key: &str, who: &str, acknowledgements: &str) {
    let set: &[&str] = &["SET", key, who, "NX", "PX", "15000"];
    let wait: &[&str] = &["WAIT", acknowledgements, "750"];
    let both = [set, wait];
    let commands = if acknowledgements == "0" { &both[..1] } else { &both };
    let replies = raw.pipeline(commands).await.unwrap();
    assert_eq!(replies[0].text(), "OK", "{replies:?}");
}

/// Two of ours, in turns.
async fn handovers(place: &Place, rounds: usize) -> Distribution {
    let elector = |identity: &str| {
        let lock = Arc::new(place.lock("handed"));
        Elector::builder(lock).identity(identity).build().unwrap()
    };
    // A fresh lock would be waited for.
    let lock = place.lock("handed");
    let state = lock.read().await.unwrap();
    write(&lock, &state, Intent::Adopt, 0).await;
    let (a, b) = (elector("a"), elector("b"));
    in_turns([&a, &b], rounds, Duration::from_millis(10)).await
}

/// One releases by a script that also publishes; another one, who listens, takes.
async fn handovers_by_hand(place: &Place, rounds: usize) -> Distribution {
    let acknowledgements = place.acknowledgements().to_string();
    let (mut owner, mut taker) = (place.connect().await, place.connect().await);
    let mut listener = place.connect().await;
    listener.insist(&["SUBSCRIBE", "hand"]).await.unwrap();
    let digest = owner.insist(&["SCRIPT", "LOAD", RELEASE]).await.unwrap();
    take_by_hand(&mut owner, "hand", "x", &acknowledgements).await;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let wants = acknowledgements.clone();
        let waiting = tokio::spawn(async move {
            let heard = listener.hear().await.unwrap();
            assert_eq!(heard.list()[2].text(), "free");
            take_by_hand(&mut taker, "hand", "x", &wants).await;
            (listener, taker, Instant::now())
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let began = Instant::now();
        let release: &[&str] = &["EVALSHA", digest.text(), "1", "hand", "x"];
        let wait: &[&str] = &["WAIT", &acknowledgements, "750"];
        let both = [release, wait];
        let commands = if acknowledgements == "0" { &both[..1] } else { &both };
        let replies = owner.pipeline(commands).await.unwrap();
        assert_eq!(replies[0].number(), Some(1));
        let (heard, took, led) = waiting.await.unwrap();
        times.push(led - began);
        (listener, taker, owner) = (heard, owner, took);
    }
    Distribution::of(times)
}
