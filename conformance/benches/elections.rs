//! What many elections in one process cost:
//! `cargo bench -p leasehold-conformance --bench elections -- [mem|k8s] [N] [MINUTES]`. `mem`, the
//! default, keeps 10,000 on the memory lock for a minute; `k8s` keeps 1,000 over one client on a
//! real API server for ten. Ends with a panic if a term is lost.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use leasehold::backend::LockBackend;
use leasehold::stores::k8s::Form;
use leasehold::testing::MemoryLock;
use leasehold::timing::BootClock;
use leasehold::{Elector, Held};
use leasehold_conformance::stores::kubernetes::{Kubernetes, Options};

/// So many contend at a time when all begin.
const AT_ONCE: usize = 50;

fn main() {
    // cargo adds its own.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let number =
        |index: usize, default: usize| argument(index).map_or(default, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match argument(0).unwrap_or("mem") {
            "mem" => in_memory(number(1, 10_000), minutes(number(2, 1))).await,
            "k8s" => on_kubernetes(number(1, 1000), minutes(number(2, 10))).await,
            other => panic!("{other:?}: mem or k8s"),
        }
    });
}

fn minutes(number: usize) -> Duration {
    Duration::from_secs(60 * u64::try_from(number).unwrap())
}

async fn in_memory(elections: usize, time: Duration) {
    let before = Cost::now();
    let lock = |number| Arc::new(MemoryLock::new(name(number))) as Arc<dyn LockBackend>;
    let held = elected(elections, lock).await;
    lasts(&held, time, &before).await;
}

async fn on_kubernetes(elections: usize, time: Duration) {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let kubeconfig = cluster.kubeconfig().unwrap();
    let client =
        leasehold::stores::k8s::Kubernetes::options().kubeconfig(kubeconfig).build().await.unwrap();
    let before = Cost::now();
    let lock = |number| {
        let lock = client.lock(Form::Lease, Some("default"), &name(number)).unwrap();
        Arc::new(lock) as Arc<dyn LockBackend>
    };
    let began = Instant::now();
    let held = elected(elections, lock).await;
    println!("all {elections} lead after {:.1?}", began.elapsed());
    let verbs = ["GET", "PUT", "WATCH"];
    let counted = async |metric: &str, verb: &str| {
        let verb = format!("verb=\"{verb}\"");
        admin.metric(metric, &["resource=\"leases\"", &verb]).await.unwrap()
    };
    let sent = async || {
        let mut sent = [0.0; 3];
        for (count, verb) in sent.iter_mut().zip(verbs) {
            *count = counted("apiserver_request_total", verb).await;
        }
        sent
    };
    let (sent_before, since) = (sent().await, Instant::now());
    lasts(&held, time, &before).await;
    let (sent_after, passed) = (sent().await, since.elapsed());
    for ((verb, before), after) in verbs.iter().zip(sent_before).zip(sent_after) {
        println!("{verb} of Leases: {:.1} a second", (after - before) / passed.as_secs_f64());
    }
    let open = counted("apiserver_longrunning_requests", "WATCH").await;
    println!("watches of Leases open: {open}");
}

fn name(number: usize) -> String {
    format!("election-{number}")
}

/// Leads all of them.
async fn elected(
    elections: usize,
    lock: impl Fn(usize) -> Arc<dyn LockBackend>,
) -> Vec<(Held, Elector)> {
    // One clock, and so one thread for all their timers.
    let clock = BootClock::new();
    let mut held = Vec::new();
    for begin in (0..elections).step_by(AT_ONCE) {
        let some = (begin..elections.min(begin + AT_ONCE)).map(|number| {
            let elector = Elector::builder(lock(number)).clock(clock.clone()).build().unwrap();
            async move { (elector.campaign().await.unwrap(), elector) }
        });
        held.extend(futures_util::future::join_all(some).await);
    }
    held
}

/// Waits, and says what it cost; every term must last.
async fn lasts(held: &[(Held, Elector)], time: Duration, before: &Cost) {
    let began = Cost::now();
    tokio::time::sleep(time).await;
    let now = Cost::now();
    let lost = held.iter().filter(|(held, _)| held.check().is_err()).count();
    let counters = held.iter().map(|(_, elector)| elector.status().counters);
    let (writes, failures) =
        counters.fold((0, 0), |sum, one| (sum.0 + one.writes, sum.1 + one.failures));
    let passed = (now.at - began.at).as_secs_f64();
    println!(
        "{} elections for {passed:.0} s: {lost} terms lost, {writes} writes, {failures} failures; \
         {} KiB resident more than before, {:.1} % of one core, {} sockets",
        held.len(),
        now.resident.saturating_sub(before.resident),
        // Ticks are hundredths of a second.
        (now.ticks - began.ticks) / passed,
        now.sockets
    );
    assert_eq!(lost, 0, "terms were lost");
}

/// What this process has used.
struct Cost {
    at: Instant,
    ticks: f64,
    resident: u64,
    sockets: usize,
}

impl Cost {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = [11, 12].map(|field: usize| fields[field].parse::<f64>().unwrap()).iter().sum();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let resident = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        let sockets = targets.filter(|to| to.to_string_lossy().starts_with("socket:")).count();
        Self { at: Instant::now(), ticks, resident, sockets }
    }
}
