//! What the tests of faults share: candidates over real servers, their history, and the lock that
//! everybody knows, which must fail.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its share")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use leasehold::TimingSettings;
use leasehold::timing::{BootClock, Clock};
use leasehold_conformance::candidate::{Candidate, Setup};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::history::{History, What};
use leasehold_conformance::judge::{Exemption, Property, Rules, Violation, judge, spans};
use leasehold_conformance::link::{Latency, Ledger};
use leasehold_conformance::stores::redis::fixture::{Connection, Reply};
use leasehold_conformance::stores::redis::{Form, Options, Redis};
use leasehold_conformance::timeline;
use tokio::task::LocalSet;
use tokio::time::sleep;

pub const LOCK: &str = "jobs";

/// Short, for what ends terms.
pub const SHORT: Duration = Duration::from_secs(3);

/// Long enough for a fail-over within the ride-through.
pub const LONG: Duration = Duration::from_secs(15);

pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Candidates of ours over servers of their own.
pub struct Scene {
    pub redis: Redis,
    clock: Arc<dyn Clock>,
    ledger: Ledger,
}

/// Runs a test whose candidates are tasks of one thread.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

impl Scene {
    pub async fn of(form: Form) -> Self {
        Self::with(Options { form, ..Options::default() }).await
    }

    pub async fn with(options: Options) -> Self {
        let redis = Redis::start(options).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(BootClock::new());
        let ledger = Ledger::new(History::new(clock.clone()));
        Self { redis, clock, ledger }
    }

    /// A candidate at the address that clients know.
    pub async fn candidate(&self, name: &str, lease: Duration) -> Candidate {
        self.candidate_at(&self.url(), name, lease).await
    }

    /// A candidate that stays at one server, whatever becomes of it.
    pub async fn pinned(&self, name: &str, member: usize, lease: Duration) -> Candidate {
        let url = self.redis.url(&[self.redis.addresses()[member].clone()], LOCK);
        self.candidate_at(&url, name, lease).await
    }

    /// A candidate at this URL.
    pub async fn candidate_at(&self, url: &str, name: &str, lease: Duration) -> Candidate {
        let store = leasehold::connect(url).await.unwrap();
        let timing = TimingSettings::lease_duration(lease);
        let setup = Setup { identity: None, timing, rate: 1_000_000, latency: Latency::default() };
        let parts = (store, None);
        let candidate =
            Candidate::new(name, parts, &self.clock, &self.ledger, setup, |it| it).unwrap();
        tokio::task::spawn_local(tell_errors(candidate.clone()));
        candidate
    }

    /// From here on a term may end.
    pub fn disturb(&self, what: &str) {
        let (id, what) = (self.ledger.number(), what.to_owned());
        self.ledger.history.note(&"outside".into(), What::Fault { id, what, on: true });
    }

    pub fn leader(&self) -> Option<String> {
        let span = self.ledger.history.leader(self.clock.now());
        span.map(|span| span.node.to_string())
    }

    /// The URL of the lock at the address that clients know.
    pub fn url(&self) -> String {
        self.redis.url(&self.redis.endpoints(), LOCK)
    }

    /// The end of the history, for whoever reads the output of a test that failed.
    pub fn told(&self) -> String {
        let text = timeline::text(&self.ledger.history.events());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Nobody may overlap, and tokens grow; says who led when.
    pub fn judged(&self, what: &str) {
        let violations = self.violations(what);
        assert!(violations.is_empty(), "{what}: {violations:#?}");
    }

    /// The violations of that; says who led when.
    pub fn violations(&self, what: &str) -> Vec<Violation> {
        let events = self.ledger.history.events();
        for span in spans(&events) {
            println!(
                "{what}: {} led from {:?} to {:?}, token {}",
                span.node, span.begin, span.end, span.token
            );
        }
        // A fault may end a term; and a leader asserts its record again over whatever came back.
        let exempt = [Property::Stability, Property::Identity];
        let exempt = exempt.map(|property| Exemption { property, lock: None, at_most: None });
        let rules = Rules {
            marginal: millis(2),
            request_limit: Duration::from_secs(20),
            exempt: exempt.into(),
        };
        judge(&events, &rules)
    }
}

/// What its store says, for whoever reads the output of a test that failed.
async fn tell_errors(candidate: Candidate) {
    let (began, mut told) = (Instant::now(), None);
    loop {
        let says = candidate.elector().status().store_error.map(|error| error.to_string());
        if says != told {
            println!("{:?} {}: {says:?}", began.elapsed(), candidate.name());
            told = says;
        }
        sleep(millis(50)).await;
    }
}

/// Waits until something holds, and says how long that took.
pub async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(millis(10)).await;
    }
    began.elapsed()
}

/// Watches for so long that it stays so.
pub async fn stays(what: &str, duration: Duration, holds: impl FnMut() -> bool) {
    assert!(keeps(duration, holds).await, "it does not stay so: {what}");
}

/// Returns whether the condition holds all that time.
pub async fn keeps(duration: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        if !holds() {
            return false;
        }
        sleep(millis(10)).await;
    }
    true
}

/// The lock that everybody knows: `SET NX PX`, a renewal that looks at its owner, and a counter for
/// tokens.
pub struct Canary {
    connection: Connection,
    owner: &'static str,
    lease: Duration,
    /// Acknowledgements of replicas that it asks for.
    replicas: u32,
    /// Until when it believes.
    pub until: Instant,
    pub token: i64,
}

const KEY: &str = "canary";
const TOKENS: &str = "canary-tokens";

const RENEW: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
     return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end";

impl Canary {
    pub async fn at(address: &str, owner: &'static str, lease: Duration) -> Self {
        let connection = Connection::to(address).await.unwrap().within(millis(800));
        Self { connection, owner, lease, replicas: 0, until: Instant::now(), token: 0 }
    }

    /// The same, which counts a write only if so many replicas have it.
    pub fn waiting_for(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    pub fn leads(&self) -> bool {
        Instant::now() < self.until
    }

    /// Tries to take the lock.
    pub async fn take(&mut self) -> bool {
        let sent = Instant::now();
        let lease = self.lease.as_millis().to_string();
        let words = ["SET", KEY, self.owner, "NX", "PX", &lease];
        let Ok(Reply::Text(_)) = self.connection.insist(&words).await else { return false };
        let Ok(token) = self.connection.insist(&["INCR", TOKENS]).await else { return false };
        self.token = token.number().unwrap();
        self.counts(sent).await
    }

    /// Extends the lease.
    pub async fn renew(&mut self) -> bool {
        let sent = Instant::now();
        let lease = self.lease.as_millis().to_string();
        let words = ["EVAL", RENEW, "1", KEY, self.owner, &lease];
        let renewed = self.connection.insist(&words).await;
        matches!(renewed, Ok(Reply::Number(1))) && self.counts(sent).await
    }

    async fn counts(&mut self, sent: Instant) -> bool {
        if self.replicas > 0 {
            let wait = ["WAIT", &self.replicas.to_string(), "300"];
            let acknowledged = self.connection.insist(&wait).await;
            let enough = i64::from(self.replicas);
            if acknowledged.ok().and_then(|it| it.number()).is_none_or(|count| count < enough) {
                return false;
            }
        }
        self.until = sent + self.lease;
        true
    }
}

/// Tries until it takes the lock, and says how long that took.
pub async fn takes(canary: &mut Canary, limit: Duration) -> Duration {
    let began = Instant::now();
    while !canary.take().await {
        assert!(began.elapsed() < limit, "the canary does not take the lock");
        sleep(millis(20)).await;
    }
    began.elapsed()
}
