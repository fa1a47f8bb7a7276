//! What the lock in Redis does on real servers beyond the cases that every store has.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use leasehold::ErrorKind;
use leasehold::backend::{
    Change, Contents, Expiry, Holder, Incarnation, Intent, LockBackend, Nonce, Observed, Outcome,
    Record,
};
use leasehold::doctor::{Diagnose, Finding};
use leasehold::stores::redis::{Redis as Store, RedisLock};
use leasehold::timing::{Timing, Wall};
use leasehold_conformance::fixture::{Fixture as _, Tls};
use leasehold_conformance::stores::redis::{Form, Options, Program, Redis};

const RIGHTS: &str = "get set eval evalsha publish subscribe wait time multi exec \
     info|replication info|stats info|server";

async fn started(program: Program, form: Form) -> Redis {
    Redis::start(Options { program, form, ..Options::default() }).await.unwrap()
}

fn change(intent: Intent, lease: Duration, nonce: u128) -> Change {
    let holder = Holder {
        identity: "node-a".to_owned(),
        incarnation: Some(Incarnation(7)),
        advertise: None,
    };
    let record = Record {
        holder: Some(holder).filter(|_| intent != Intent::Release),
        token: 1,
        lease_duration: lease,
        nonce: Nonce(nonce),
        acquired: Wall(1),
        renewed: Wall(1),
        extra: Default::default(),
    };
    Change { intent, record }
}

/// The lock as one that can be taken.
async fn adopted(lock: &RedisLock) -> Observed {
    let seen = lock.read().await.unwrap();
    assert_eq!(seen.expiry, Expiry::Suspended, "nobody vouches for what was never there");
    let adopt = change(Intent::Adopt, Duration::from_secs(15), 1);
    written(lock.write(&seen.version, &adopt).await.unwrap())
}

fn written(outcome: Outcome) -> Observed {
    match outcome {
        Outcome::Written(observed) => observed,
        Outcome::Conflict => panic!("a write lost against nobody"),
    }
}

async fn number(redis: &Redis, member: usize, section: &str, field: &str) -> u64 {
    let info = redis.insist(member, &["INFO", section]).await.unwrap();
    let text = info.text().to_owned();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default().to_owned();
    let digits = line[field.len().min(line.len())..].chars().skip_while(|c| !c.is_ascii_digit());
    digits.take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

#[tokio::test]
async fn many_locks_share_few_connections_and_few_waits() {
    let redis = started(Program::Valkey, Form::Replicated).await;
    let primary = redis.leader().await.unwrap();
    let before = number(&redis, primary, "clients", "connected_clients").await;
    let store = redis.shared().build().unwrap();
    let locks: Vec<RedisLock> =
        (0..100).map(|number| store.lock(&format!("many/{number}")).unwrap()).collect();
    let free = join_all(locks.iter().map(adopted)).await;
    let take = change(Intent::Take, Duration::from_secs(15), 2);
    let takes = locks.iter().zip(&free).map(|(lock, free)| lock.write(&free.version, &take));
    for taken in join_all(takes).await {
        assert_eq!(written(taken.unwrap()).expiry, Expiry::ByObserver);
    }
    let waits = number(&redis, primary, "commandstats", "cmdstat_wait:calls=").await;
    assert!((1..=50).contains(&waits), "{waits} waits for a hundred takes");
    let clients = number(&redis, primary, "clients", "connected_clients").await;
    assert!(clients <= before + 4, "{before} connections before, and {clients} now");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    for program in [Program::Valkey, Program::Redis] {
        let redis = started(program, Form::One).await;
        let lock = |user: &str| {
            let store = redis.shared().user(user, "of-a-user").build().unwrap();
            store.lock("least").unwrap()
        };
        for missing in [""].into_iter().chain(RIGHTS.split_whitespace()) {
            let rights = RIGHTS.split_whitespace().filter(|right| *right != missing);
            let rights: Vec<String> = rights.map(|right| format!("+{right}")).collect();
            let mut words = vec!["ACL", "SETUSER", "u", "reset", "on", ">of-a-user"];
            words.extend(["resetchannels", "~leasehold:least", "&leasehold:least", "-@all"]);
            words.extend(rights.iter().map(String::as_str));
            redis.insist(0, &words).await.unwrap();
            redis.insist(0, &["SCRIPT", "FLUSH"]).await.unwrap();
            let lock = lock("u");
            let says = match missing {
                "" | "publish" | "wait" => {
                    lock.may_take(&Holder::unknown()).await.unwrap();
                    let seen = lock.read().await.unwrap();
                    let renew = change(Intent::Renew, Duration::from_secs(15), 3);
                    written(lock.write(&seen.version, &renew).await.unwrap());
                    continue;
                }
                "subscribe" => {
                    let seen = lock.read().await.unwrap();
                    lock.watch(&seen).next().await.unwrap().unwrap_err()
                }
                "set" | "eval" | "evalsha" => lock.may_take(&Holder::unknown()).await.unwrap_err(),
                _ => lock.read().await.unwrap_err(),
            };
            assert_eq!(says.kind(), ErrorKind::Denied, "{missing}: {says}");
            assert!(says.problem().contains(missing), "{missing}: {says}");
            assert!(says.cure().unwrap().contains("ACL SETUSER NAME"), "{missing}: {says}");
        }
    }
}

#[tokio::test]
async fn what_only_looks_on_needs_no_right_to_write() {
    let redis = started(Program::Redis, Form::One).await;
    let store = redis.shared().build().unwrap();
    let taken = change(Intent::Take, Duration::from_secs(15), 2);
    let lock = store.lock("look").unwrap();
    let free = adopted(&lock).await;
    written(lock.write(&free.version, &taken).await.unwrap());
    let mut words = vec!["ACL", "SETUSER", "u", "on", ">of-a-user", "resetchannels"];
    words.extend(["~leasehold:look", "&leasehold:look", "-@all", "+get", "+subscribe", "+time"]);
    words.extend(["+multi", "+exec", "+info|replication", "+info|stats", "+info|server"]);
    redis.insist(0, &words).await.unwrap();
    let looks = redis.shared().user("u", "of-a-user").build().unwrap().lock("look").unwrap();
    let seen = looks.read().await.unwrap();
    assert_eq!(seen.record().unwrap().holder, taken.record.holder);
    assert_eq!(looks.watch(&seen).next().await.unwrap().unwrap().version, seen.version);
    let denied = looks.may_take(&Holder::unknown()).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_watch_shows_what_was_announced_without_a_read() {
    let redis = started(Program::Valkey, Form::One).await;
    let store = redis.shared().build().unwrap();
    let lock = store.lock("watched").unwrap();
    let mut state = adopted(&lock).await;
    let follower = redis.shared().build().unwrap().lock("watched").unwrap();
    let mut watch = follower.watch(&state);
    assert_eq!(watch.next().await.unwrap().unwrap().version, state.version);
    let before = number(&redis, 0, "commandstats", "cmdstat_multi:calls=").await;
    for nonce in 2..12 {
        let renew = change(Intent::Renew, Duration::from_secs(15), nonce);
        state = written(lock.write(&state.version, &renew).await.unwrap());
        let seen = watch.next().await.unwrap().unwrap();
        assert_eq!((&seen.version, seen.expiry), (&state.version, Expiry::ByObserver));
        assert_eq!(seen.version.reign(), state.version.reign());
    }
    let after = number(&redis, 0, "commandstats", "cmdstat_multi:calls=").await;
    assert_eq!(after, before, "a follower sends nothing while renewals arrive");
    // A message of nobody's is looked into, and is not believed.
    redis.insist(0, &["PUBLISH", "leasehold:watched", "hello"]).await.unwrap();
    let release = change(Intent::Release, Duration::from_secs(15), 99);
    state = written(lock.write(&state.version, &release).await.unwrap());
    assert_eq!(watch.next().await.unwrap().unwrap().version, state.version);
}

#[tokio::test]
async fn what_the_server_forgets_or_closes_costs_nothing() {
    let redis = started(Program::Valkey, Form::Replicated).await;
    let primary = redis.leader().await.unwrap();
    let lock = redis.shared().build().unwrap().lock("forgotten").unwrap();
    let mut state = adopted(&lock).await;
    redis.insist(primary, &["CONFIG", "SET", "timeout", "1"]).await.unwrap();
    for nonce in 2..6 {
        // Without its script, a WAIT would count for nothing.
        redis.insist(primary, &["SCRIPT", "FLUSH"]).await.unwrap();
        let renew = change(Intent::Renew, Duration::from_secs(15), nonce);
        state = written(lock.write(&state.version, &renew).await.unwrap());
        if nonce == 4 {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert_eq!(lock.read().await.unwrap().version, state.version);
    }
}

#[tokio::test]
async fn a_write_without_acknowledgements_counts_for_nothing_and_blocks_nobody() {
    let redis = started(Program::Valkey, Form::Replicated).await;
    let store = redis.shared().build().unwrap();
    let lock = store.lock("lonely").unwrap();
    let free = adopted(&lock).await;
    let primary = redis.leader().await.unwrap();
    for member in (0..3).filter(|member| *member != primary) {
        redis.cut_replica(member).await.unwrap();
    }
    let take = change(Intent::Take, Duration::from_secs(2), 2);
    let error = lock.write(&free.version, &take).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("0 of 1 replicas acknowledged within 100ms"), "{error}");
    // It waits for 30 seconds, and is given up: nobody waits behind it.
    let seen = lock.read().await.unwrap();
    let patient = change(Intent::Renew, Duration::from_secs(600), 3);
    let given_up = lock.write(&seen.version, &patient);
    assert!(tokio::time::timeout(Duration::from_millis(300), given_up).await.is_err());
    let began = Instant::now();
    let seen = lock.read().await.unwrap();
    let take = change(Intent::Take, Duration::from_secs(2), 4);
    lock.write(&seen.version, &take).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for member in (0..3).filter(|member| *member != primary) {
        redis.join_replica(member).await.unwrap();
    }
    // A second one that comes between the read and the write begins a reign.
    redis.wait_for_replicas(primary, 2).await.unwrap();
    let seen = lock.read().await.unwrap();
    let take = change(Intent::Take, Duration::from_secs(15), 5);
    written(lock.write(&seen.version, &take).await.unwrap());
}

#[tokio::test]
async fn what_is_meant_otherwise_is_refused_with_its_cure() {
    let redis = started(Program::Valkey, Form::Replicated).await;
    let primary = redis.leader().await.unwrap();
    let addresses = redis.addresses();
    let read = async |store: Store| store.lock("refused").unwrap().read().await.unwrap_err();
    let undeclared = read(Store::at(&addresses[primary]).build().unwrap()).await;
    let replica = &addresses[(primary + 1) % 3];
    let replica = read(Store::at(replica).replicas(2).build().unwrap()).await;
    let no_sentinel = read(Store::sentinels([&addresses[primary]], "main").build().unwrap()).await;
    let no_cluster = read(Store::cluster([&addresses[primary]]).build().unwrap()).await;
    for (error, says) in [
        (undeclared, "add replicas=N"),
        (replica, "name the primary"),
        (no_sentinel, "are Sentinels (port 26379)"),
        (no_cluster, "write redis://"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.cure().unwrap().contains(says), "{error}");
    }
    redis.insist(primary, &["RPUSH", "leasehold:list", "x"]).await.unwrap();
    let list = redis.shared().build().unwrap().lock("list").unwrap();
    let seen = list.read().await.unwrap();
    assert!(matches!(&seen.contents, Contents::Unreadable(why) if why.contains("a string")));
    let take = change(Intent::Take, Duration::from_secs(15), 2);
    let outcome = list.write(&seen.version, &take).await.unwrap();
    assert_eq!(outcome, Outcome::Conflict, "what is there is left as it is");
}

async fn problems(lock: &RedisLock) -> (Vec<Finding>, String) {
    let findings = lock.diagnose(&Timing::default()).await;
    let told: Vec<String> = findings.iter().map(|found| format!("{found:?}")).collect();
    (findings.into_iter().filter(Finding::is_problem).collect(), told.join("\n"))
}

#[tokio::test]
async fn a_doctor_looks_at_servers_replicas_and_sentinels() {
    let redis = started(Program::Valkey, Form::Sentinel).await;
    let lock = redis.shared().build().unwrap().lock("examined").unwrap();
    let (found, told) = problems(&lock).await;
    assert!(found.is_empty(), "{told}");
    for says in ["2 of 2 online", "3 Sentinels", "rides through 6s", "two candidates raced"] {
        assert!(told.contains(says), "{says:?} is missing:\n{told}");
    }
    let miscounted = redis.shared().replicas(1).build().unwrap().lock("examined").unwrap();
    let (found, told) = problems(&miscounted).await;
    assert_eq!(found.len(), 1, "{told}");
    assert!(found[0].text.contains("Sentinel knows 2 replicas"), "{told}");
    // A user that only the primary knows is lost with it.
    let primary = redis.leader().await.unwrap();
    let user = ["ACL", "SETUSER", "u", "on", ">of-a-user", "~*", "&*", "+@all"];
    redis.insist(primary, &user).await.unwrap();
    let store = redis.shared().user("u", "of-a-user").build().unwrap();
    let (found, told) = problems(&store.lock("examined").unwrap()).await;
    assert!(found.iter().all(|found| found.text.contains("log in to a node")), "{told}");
    assert_eq!(found.len(), 2, "{told}");
    let policy = ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"];
    redis.insist(primary, &policy).await.unwrap();
    assert!(problems(&lock).await.1.contains("may be thrown away"));
}

#[tokio::test]
async fn locks_are_listed() {
    for form in [Form::One, Form::Cluster] {
        let redis = started(Program::Valkey, form).await;
        let store = redis.shared().build().unwrap();
        for name in ["jobs/a", "jobs", "jobsx", "other"] {
            adopted(&store.lock(name).unwrap()).await;
        }
        let names = async |under: &str| {
            let locks = store.locks(under).await.unwrap();
            let names = locks.iter().map(|lock| lock.name().to_owned());
            names.map(|name| name.split_once("://").unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        let at = |name: &str| {
            let lock = store.lock(name).unwrap();
            lock.name().split_once("://").unwrap().1.to_owned()
        };
        assert_eq!(names("jobs/").await, [at("jobs"), at("jobs/a")]);
        assert_eq!(names("").await.len(), 4);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_told_apart() {
    let options = Options { program: Program::Redis, tls: Tls::Mutual, ..Options::default() };
    let redis = Redis::start(options).await.unwrap();
    let address = redis.addresses().concat();
    let ca = std::fs::read(redis.authority().unwrap().certificate()).unwrap();
    let store = Store::at(&address).ca(ca).build().unwrap();
    let error = store.lock("closed").unwrap().read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("look at the certificates"), "{error}");
    let plain = Store::at(&address).build().unwrap().lock("closed").unwrap();
    let error = plain.read().await.unwrap_err().to_string();
    assert!(error.contains("write rediss://"), "{error}");
}

/// Writes that share a WAIT: the one that sent them gives up, and the others are answered.
#[tokio::test]
async fn who_gives_up_takes_nobody_along() {
    let mut redis = started(Program::Valkey, Form::Replicated).await;
    let store = redis.shared().build().unwrap();
    // Every other one uses the same connection.
    let all: Vec<RedisLock> =
        (0..5).map(|number| store.lock(&format!("shared/{number}")).unwrap()).collect();
    let free = join_all(all.iter().map(adopted)).await;
    let take = |number: usize, lease: u64| {
        let change = change(Intent::Take, Duration::from_secs(lease), 2);
        let (lock, free) = (&all[number], &free[number]);
        async move { lock.write(&free.version, &change).await }
    };
    for replica in [1, 2] {
        redis.freeze_server(replica).unwrap();
    }
    // It waits for 200 ms. Meanwhile two come who wait for three seconds: one of them gives up.
    let (_, given_up, kept) = tokio::join!(
        take(0, 4),
        tokio::time::timeout(Duration::from_millis(800), take(2, 60)),
        async {
            let kept = take(4, 60);
            let thaw = async {
                tokio::time::sleep(Duration::from_millis(1000)).await;
                for replica in [1, 2] {
                    redis.thaw_server(replica).unwrap();
                }
            };
            tokio::join!(kept, thaw).0
        }
    );
    assert!(given_up.is_err(), "{given_up:?}");
    assert_eq!(written(kept.unwrap()).expiry, Expiry::ByObserver);
}

/// Whoever may publish or write fills nobody's memory: the connection ends with that reason, and a
/// later request makes a new one.
#[tokio::test]
async fn what_is_too_long_is_not_taken_in() {
    let redis = started(Program::Redis, Form::One).await;
    let long = "x".repeat(17 << 20);
    let store = redis.shared().build().unwrap();
    let (lock, other) = (store.lock("long").unwrap(), store.lock("short").unwrap());
    let free = adopted(&other).await;
    redis.insist(0, &["SET", "leasehold:long", &long]).await.unwrap();
    let error = lock.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("longer than 16 MiB"), "{error}");
    redis.insist(0, &["DEL", "leasehold:long"]).await.unwrap();
    assert_eq!(lock.read().await.unwrap().contents, Contents::Absent);
    // The same on the channel: what is announced after it is heard.
    let mut states = other.watch(&free);
    let take = change(Intent::Take, Duration::from_secs(15), 2);
    let mut heard = 0;
    let hears = async {
        redis.insist(0, &["PUBLISH", "leasehold:short", &long]).await.unwrap();
        let taken = written(other.write(&free.version, &take).await.unwrap());
        while let Some(state) = states.next().await {
            heard += 1;
            if state.is_ok_and(|seen| seen.version == taken.version) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), hears).await.expect("it hears no more");
    assert!(heard > 0);
}
