//! The findings of an examination, and the end of bad input, on real servers.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

use std::path::Path;
use std::process::{Command, Stdio};

use leasehold::ErrorKind;
use leasehold::backend::{Holder, LockBackend};
use leasehold::doctor::{Diagnose, Finding, Level};
use leasehold::stores::redis::{Cas, Redis as Store, RedisLock};
use leasehold::timing::Timing;
use leasehold_conformance::fixture::Fixture as _;
use leasehold_conformance::process::command_under_test;
use leasehold_conformance::stores::redis::fixture::MASTER;
use leasehold_conformance::stores::redis::{Form, Options, Program, Redis};

const RIGHTS: &str = "get set eval evalsha publish subscribe wait time multi exec \
     info|replication info|stats info|server";

async fn started(program: Program, form: Form) -> Redis {
    Redis::start(Options { program, form, ..Options::default() }).await.unwrap()
}

/// A server without this command, as some vendors offer it.
async fn without(commands: &[&str]) -> Redis {
    let extra = commands.iter().map(|command| format!("rename-command {command} \"\"")).collect();
    Redis::start(Options { extra, ..Options::default() }).await.unwrap()
}

/// Makes a user of the lock's, but for one right, at one server.
async fn grant(redis: &Redis, member: usize, missing: &str) {
    let rights = RIGHTS.split_whitespace().filter(|right| *right != missing);
    let rights: Vec<String> = rights.map(|right| format!("+{right}")).collect();
    let mut words = vec!["ACL", "SETUSER", "u", "reset", "on", ">of-a-user", "resetchannels"];
    words.extend(["~leasehold:least", "&leasehold:least", "-@all"]);
    words.extend(rights.iter().map(String::as_str));
    redis.insist(member, &words).await.unwrap();
}

fn of_user(redis: &Redis) -> RedisLock {
    redis.shared().user("u", "of-a-user").build().unwrap().lock("least").unwrap()
}

async fn examined(lock: &RedisLock) -> Vec<Finding> {
    let findings = lock.diagnose(&Timing::default()).await;
    for found in &findings {
        println!("{:?} {}: {} -> {:?}", found.level, found.subject, found.text, found.cure);
    }
    findings
}

/// The one finding whose text has this in it.
fn with<'a>(findings: &'a [Finding], text: &str) -> &'a Finding {
    let found: Vec<_> = findings.iter().filter(|found| found.text.contains(text)).collect();
    assert_eq!(found.len(), 1, "{text:?} in {findings:#?}");
    found[0]
}

const DENIED: Level = Level::Problem(ErrorKind::Denied);

#[tokio::test]
async fn every_node_is_asked_whether_it_knows_the_user() {
    let redis = started(Program::Valkey, Form::Sentinel).await;
    let primary = redis.leader().await.unwrap();
    let addresses = redis.addresses();
    let others: Vec<usize> = (0..3).filter(|member| *member != primary).collect();
    grant(&redis, primary, "").await;
    // None of the others knows it.
    let findings = examined(&of_user(&redis)).await;
    for other in &others {
        let found = with(&findings, &format!("log in to a node: {}", addresses[*other]));
        assert_eq!(found.level, DENIED);
        let cure = found.cure.as_ref().unwrap();
        assert!(cure.contains(&format!("on {}: ACL SETUSER", addresses[*other])), "{cure}");
    }
    // One knows it, and does not let it write.
    grant(&redis, others[0], "set").await;
    grant(&redis, others[1], "publish").await;
    let findings = examined(&of_user(&redis)).await;
    let found = with(&findings, &format!("{}: this user lacks +set", addresses[others[0]]));
    assert_eq!(found.level, DENIED);
    let found = with(&findings, &format!("{}: this user lacks +publish", addresses[others[1]]));
    assert_eq!(found.level, Level::Warning);
    for other in others {
        grant(&redis, other, "").await;
    }
    let findings = examined(&of_user(&redis)).await;
    let good = with(&findings, "this user may do all that a candidate does on");
    assert!(addresses.iter().all(|address| good.text.contains(address)), "{}", good.text);
    // A Sentinel has users of its own.
    let words = ["ACL", "SETUSER", "default", "-sentinel|get-master-addr-by-name"];
    redis.ask_sentinel(1, &words).await.unwrap();
    let findings = examined(&of_user(&redis)).await;
    let found = with(&findings, &format!("where the primary is: {}", redis.endpoints()[1]));
    assert_eq!(found.level, DENIED);
    assert!(found.cure.as_ref().unwrap().contains("+sentinel|get-master-addr-by-name"));
}

#[tokio::test]
async fn the_nodes_of_a_cluster_are_asked_too() {
    let redis = started(Program::Valkey, Form::Cluster).await;
    let owner = redis.owner_of("leasehold:least").await.unwrap();
    for member in 0..3 {
        grant(&redis, member, "").await;
    }
    // This user may not ask for the nodes: replicas and seeds are looked at all the same.
    let findings = examined(&of_user(&redis)).await;
    assert_eq!(with(&findings, "may not ask for CLUSTER SLOTS").level, Level::Warning);
    with(&findings, "this user may do all that a candidate does on");
    redis.insist(owner, &["ACL", "SETUSER", "u", "+cluster|slots"]).await.unwrap();
    redis.insist((owner + 1) % 3, &["ACL", "DELUSER", "u"]).await.unwrap();
    let findings = examined(&of_user(&redis)).await;
    let refused = &redis.addresses()[(owner + 1) % 3];
    assert_eq!(with(&findings, &format!("log in to a node: {refused}")).level, DENIED);
}

#[tokio::test]
async fn each_right_that_a_replica_does_not_grant_is_named() {
    let redis = started(Program::Redis, Form::Replicated).await;
    let primary = redis.leader().await.unwrap();
    let replica = (primary + 1) % 3;
    for member in 0..3 {
        grant(&redis, member, "").await;
    }
    for missing in RIGHTS.split_whitespace() {
        grant(&redis, replica, missing).await;
        let findings = of_user(&redis).diagnose(&Timing::default()).await;
        let address = &redis.addresses()[replica];
        let found = with(&findings, &format!("{address}: this user lacks "));
        let news = ["publish", "subscribe"].contains(&missing);
        assert_eq!(found.level, if news { Level::Warning } else { DENIED }, "{missing}");
        assert!(found.text.contains(&format!("lacks +{missing}")), "{missing}: {}", found.text);
        assert!(found.cure.as_ref().unwrap().contains("&leasehold:least"), "{missing}");
    }
    grant(&redis, replica, "").await;
    for pattern in ["resetkeys", "resetchannels"] {
        redis.insist(replica, &["ACL", "SETUSER", "u", pattern]).await.unwrap();
    }
    let findings = of_user(&redis).diagnose(&Timing::default()).await;
    with(&findings, "this user lacks ~leasehold:least &leasehold:least");
}

/// A script passes over that it may not publish, so only an examination finds it.
#[tokio::test]
async fn a_denied_publish_is_found() {
    for program in [Program::Valkey, Program::Redis] {
        let redis = started(program, Form::One).await;
        grant(&redis, 0, "publish").await;
        let lock = of_user(&redis);
        lock.may_take(&Holder::unknown()).await.unwrap();
        let findings = examined(&lock).await;
        let found = with(&findings, "this user lacks +publish");
        assert_eq!(found.level, Level::Warning);
        assert!(found.text.contains("followers hear of a release only when they look"));
    }
}

#[tokio::test]
async fn a_server_that_lacks_a_command_is_refused_at_the_first_read() {
    let redis = without(&["WAIT", "EVALSHA"]).await;
    let address = redis.addresses().concat();
    let store = || Store::at(&address);
    let reads = async |store: Store| store.lock("lacking").unwrap().read().await;
    for (store, problem, cure) in [
        (store().replicas(1), "has no WAIT", "use a server with WAIT"),
        (store(), "runs no scripts", "add cas=ifeq"),
    ] {
        let error = reads(store.build().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.problem().contains(problem), "{error}");
        assert!(error.cure().unwrap().contains(cure), "{error}");
    }
    reads(store().cas(Cas::IfEq).build().unwrap()).await.unwrap();
    let redis = without(&["INFO"]).await;
    let error = reads(Store::at(redis.addresses().concat()).build().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.cure().unwrap().contains("without a proxy before it"), "{error}");
}

/// The exit code of the command for this lock, and its text.
async fn ran(url: &str) -> (Option<i32>, String) {
    let url = url.to_owned();
    let running = tokio::task::spawn_blocking(move || {
        let program = command_under_test().unwrap();
        let mut command = Command::new(program);
        command.args(["run", "--timeout", "20s", "--lock", &url, "--", "true"]);
        command.stdin(Stdio::null()).output().unwrap()
    });
    let output = running.await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Each of these ends at once, and not in an endless attempt.
#[tokio::test]
async fn bad_input_ends_with_78_and_says_what_to_do() {
    let redis = started(Program::Valkey, Form::Sentinel).await;
    let cluster = started(Program::Valkey, Form::Cluster).await;
    let bare = without(&["WAIT"]).await;
    let primary = redis.leader().await.unwrap();
    let replica = &redis.addresses()[(primary + 1) % 3];
    let (primary, sentinel) = (&redis.addresses()[primary], &redis.endpoints()[0]);
    let (node, bare) = (&cluster.addresses()[0], bare.addresses().concat());
    let ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let ca = ca.display();
    for (url, problem, cure) in [
        (format!("redis://{bare}/0"), "the name 0 is a number", "locks are in database 0"),
        (format!("redis://{bare}/jobs?db=1"), "locks are in database 0", "leave out db="),
        (format!("redis://{bare}/{{a}}"), "has { in it", "cluster keys"),
        (format!("redis://{bare}/a*"), "has * in it", "rules of access"),
        (format!("redis://{bare}/a%3F"), "has ? in it", "none of {}*?[]"),
        (format!("redis://{bare}/a[b]"), "has [ in it", "none of {}*?[]"),
        (format!("redis://{bare}/a%0Ab"), r"has \n in it", "no control characters"),
        (format!("redis://{sentinel}/jobs"), "is a Sentinel", "redis+sentinel://"),
        (format!("redis://{replica}/jobs?replicas=2"), "is a replica of", "name the primary"),
        (format!("redis://{primary}/jobs"), "2 replicas follow", "add replicas=N"),
        (format!("redis+sentinel://{primary}/{MASTER}/jobs"), "SENTINEL", "(port 26379)"),
        (format!("redis+sentinel://{sentinel}/no/jobs"), "no Sentinel knows", "sentinel monitor"),
        (format!("redis://{node}/jobs"), "is a node of a cluster", "redis+cluster://"),
        (format!("redis+cluster://{bare}/jobs"), "is not a node of a cluster", "redis://"),
        (format!("redis://{bare}/jobs?replicas=1"), "has no WAIT", "use a server with WAIT"),
        (format!("redis://{bare}/jobs?ca={ca}"), "are for TLS", "write rediss://"),
    ] {
        let (code, says) = ran(&url).await;
        assert_eq!(code, Some(78), "{url}: {says}");
        assert!(says.contains(problem) && says.contains(cure), "{url}: {says}");
    }
}

/// Whatever an application keeps under the lock's key stays.
#[tokio::test]
async fn what_is_not_a_record_is_never_overwritten() {
    let redis = started(Program::Valkey, Form::One).await;
    let address = redis.addresses().concat();
    let puts: [(&str, &[&str]); 5] = [
        ("list", &["RPUSH", "leasehold:list", "x"]),
        ("hash", &["HSET", "leasehold:hash", "f", "x"]),
        ("set", &["SADD", "leasehold:set", "x"]),
        ("text", &["SET", "leasehold:text", "x"]),
        ("empty", &["SET", "leasehold:empty", ""]),
    ];
    for (name, put) in puts {
        redis.insist(0, put).await.unwrap();
        let dump = redis.insist(0, &["DUMP", put[1]]).await.unwrap();
        for cas in ["script", "ifeq"] {
            let (code, says) = ran(&format!("redis://{address}/{name}?cas={cas}")).await;
            assert_eq!(code, Some(78), "{name}: {says}");
            assert!(says.contains("what is stored is left as it is"), "{name}: {says}");
            assert_eq!(redis.insist(0, &["DUMP", put[1]]).await.unwrap(), dump, "{name}");
        }
    }
}
