//! Many elections, a long time, and many leases that end at once.

use std::fs;
use std::time::Duration;

use leasehold::TimingSettings;
use leasehold::status::Leader;

use crate::candidate::{Candidate, Setup};
use crate::history::{Event, What};
use crate::link::{Guard, Outage};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

/// The lease duration of an application that does not choose one.
const LONG: Duration = Duration::from_secs(15);

const ELECTIONS: usize = 1_000;

const AT_A_TIME: usize = 50;

/// What this process has used and holds.
struct Used {
    /// Of processor time, in hundredths of a second.
    ticks: u64,
    resident_mib: u64,
    sockets: usize,
}

impl Used {
    fn now() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let stat = read("/proc/self/stat");
        // The name, in parentheses, may hold anything.
        let rest = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<u64> =
            rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let ticks = fields.iter().skip(11).take(2).sum();
        let status = read("/proc/self/status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|kib| kib.split_whitespace().next()?.parse::<u64>().ok());
        let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let is_socket = |link: std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
        let sockets = open.filter(|it| fs::read_link(it.path()).is_ok_and(is_socket)).count();
        Self { ticks, resident_mib: resident.unwrap_or(0) / 1024, sockets }
    }
}

fn knows(one: &Candidate) -> bool {
    matches!(one.elector().status().leader, Leader::Held(_))
}

/// It waits a lease out, since the store may have forgotten who led.
fn waits(one: &Candidate) -> bool {
    one.elector().status().forgotten_until.is_some()
}

/// SC1.
pub(super) async fn a_thousand(world: &World) -> Outcome {
    let virtual_time = world.target().virtual_time();
    let watched = Duration::from_secs(if virtual_time { 600 } else { 60 });
    let locks: Vec<String> = (0..ELECTIONS).map(|n| format!("{}-{n}", world.lock())).collect();
    let mut all: Vec<Vec<Candidate>> = Vec::new();
    for name in ["a", "b", "c"] {
        let stores = world.target().open_many(&locks, world.clock()).await?;
        if all.is_empty() {
            world.ready_all(&stores).await?;
        }
        let candidate = |(number, store)| {
            let setup = Setup { timing: TimingSettings::lease_duration(LONG), ..setup() };
            world.candidate_of(store, &format!("{number}/{name}"), setup)
        };
        all.push(stores.into_iter().enumerate().map(candidate).collect::<Result<_, _>>()?);
    }
    let began = world.now();
    let mut waiting = Vec::new();
    for candidates in &all {
        // All at once they would only wait for each other, beyond their timeouts.
        for some in candidates.chunks(AT_A_TIME) {
            waiting.extend(some.iter().map(Candidate::stand));
            let know = || some.iter().all(|one| knows(one) || waits(one));
            world.until("every candidate knows who leads", LONG, know).await?;
        }
        let timing = candidates[0].elector().timing();
        let know = || candidates.iter().all(knows);
        let limit = LONG + world.distrust(&timing);
        world.until("every candidate knows who leads", limit, know).await?;
    }
    let started = world.now().since(began);
    let ups = || world.count(|event| matches!(event.what, What::Up { .. }));
    // Followers have found their pace.
    world.sleep(LONG).await;
    let (mark, used) = (world.history().mark(), Used::now());
    world.sleep(watched).await;
    let (events, after) = (world.history().since(mark), Used::now());
    let is_down = |event: &&Event| matches!(event.what, What::Down { .. });
    if let Some(down) = events.iter().find(is_down) {
        let count = events.iter().filter(is_down).count();
        return Err(Problem::Late(format!("{count} terms ended, first that of {}", down.node)));
    }
    must(ups() == ELECTIONS, || format!("{} terms of {ELECTIONS} elections", ups()))?;
    let sent = events.iter().filter(|event| matches!(event.what, What::Sent { .. })).count();
    world.happened("request", sent)?;
    let seconds = watched.as_secs();
    let rate = u64::try_from(sent).unwrap_or(u64::MAX) / seconds;
    let held = format!("{} MiB resident, {} sockets", after.resident_mib, after.sockets);
    let real = if virtual_time {
        "virtual".to_owned()
    } else {
        format!("{} % of a processor", (after.ticks - used.ticks) / seconds)
    };
    world.say(format!(
        "{ELECTIONS} elections of 3 candidates, lease {LONG:?}: all led after {started:?}; then \
         {rate} requests/s, {held}, {real}, for {seconds} s"
    ));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(Finding::Holds)
}

/// SC2.
pub(super) async fn soak(world: &World) -> Outcome {
    world.over_network();
    let virtual_time = world.target().virtual_time();
    let (lease, faults, every) = match virtual_time {
        true => (LONG, 288, Duration::from_secs(300)),
        false => (LEASE, 22, Duration::from_secs(10)),
    };
    let timing = TimingSettings::lease_duration(lease);
    let mut candidates = Vec::new();
    for name in ["c1", "c2", "c3"] {
        candidates.push(world.candidate_with(name, Setup { timing, ..setup() }).await?);
    }
    let (_link, _observer) = world.observer("o").await?;
    let _running: Vec<_> = candidates.iter().map(Candidate::run).collect();
    let timing = candidates[0].elector().timing();
    world.until_some_leads("c", lease + world.distrust(&timing)).await?;
    let bound = world.failover_of(&timing) + LEASE;
    let mut tasks = Vec::new();
    for _ in 0..faults {
        let begins = world.now();
        let one = &candidates[usize::try_from(world.draw(3)).unwrap_or(0)];
        strikes(world, one, every / 2).await;
        // Whoever had the fault or not: somebody leads within the bound after it.
        world.until_some_leads("c", bound).await?;
        world.sleep_until(begins + every).await;
        tasks.push(tokio::runtime::Handle::current().metrics().num_alive_tasks());
    }
    let terms = world.count(|event| matches!(event.what, What::Up { .. }));
    world.happened("change of leader", terms.saturating_sub(1))?;
    let half = tasks.len() / 2;
    let most = |tasks: &[usize]| tasks.iter().copied().max().unwrap_or(0);
    let (before, after) = (most(&tasks[..half]), most(&tasks[half..]));
    must(after <= before + before / 4 + 4, || {
        format!("{before} tasks at the most in the first half, {after} in the second")
    })?;
    let took = every * faults;
    world.say(format!(
        "{faults} faults in {took:?}: {terms} terms; at the most {before} tasks, then {after}"
    ));
    Ok(Finding::Holds)
}

/// One fault of a kind by chance, for a time by chance.
async fn strikes(world: &World, one: &Candidate, longest: Duration) {
    let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    let (lasts, delay) = (Duration::from_millis(world.draw(longest)), world.draw(600));
    let outage = match world.draw(8) {
        0 => Outage::Cut,
        1 => Outage::RequestsLost,
        2 => Outage::AnswersLost,
        3 => Outage::Held,
        4 => Outage::SlowAnswers(Duration::from_millis(delay)),
        5 => Outage::Refused,
        6 => Outage::Silent,
        _ => {
            one.freeze();
            world.sleep(lasts).await;
            one.thaw();
            return;
        }
    };
    let fault: Guard = one.link().strike(outage);
    world.sleep(lasts).await;
    fault.lift();
}

/// How many leases end together, beside that of a dead leader.
#[cfg(feature = "servers")]
const ABANDONED: usize = 5_000;

/// SC3.
#[cfg(feature = "servers")]
pub(super) async fn leases_end_together(world: &World) -> Outcome {
    let alone = after_a_standstill(world, 0).await?;
    let among = after_a_standstill(world, ABANDONED).await?;
    let shown = format!(
        "the next leader came {among:?} after its predecessor's lease and {ABANDONED} others had \
         ended together, and {alone:?} without these"
    );
    if among > alone + Duration::from_secs(2) {
        Ok(Finding::Shown(shown))
    } else {
        Err(Problem::NotShown(shown))
    }
}

/// A server that stands still finds every lease over when it goes on. From then until the next one
/// leads.
#[cfg(feature = "servers")]
async fn after_a_standstill(world: &World, leases: usize) -> Result<Duration, Problem> {
    let lease = Duration::from_secs(20);
    let mut servers = world.servers(1, crate::fixture::Tls::Off).await?;
    let url = servers.url(&servers.endpoints(), "jobs");
    let timing = TimingSettings::lease_duration(lease);
    let names = [format!("{leases}/a"), format!("{leases}/b")];
    let a = world.candidate_at(&url, &names[0], Setup { timing, ..setup() }).await?;
    let b = world.candidate_at(&url, &names[1], Setup { timing, ..setup() }).await?;
    servers.leases()?.abandon(leases, lease.as_secs()).await?;
    let _lead = world.within("a leads", world.fresh(), a.campaign()).await??;
    let waiting = b.stand();
    world.sleep(Duration::from_secs(1)).await;
    world.disturb("the server stands still");
    a.kill();
    servers.freeze(0)?;
    world.sleep(lease + Duration::from_secs(1)).await;
    servers.thaw(0)?;
    let from = world.now();
    let second =
        world.within("b leads", 3 * lease, waiting).await?.map_err(Problem::violated)??;
    let took = world.now().since(from);
    must(second.resign().await?, || "a release is not confirmed".to_owned())?;
    Ok(took)
}
