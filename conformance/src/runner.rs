//! Runs cases, each in a thread of its own, and says what became of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::testing::VirtualClock;
use leasehold::timing::Clock;
use tokio::task::LocalSet;

use crate::canary::Canary;
use crate::cases::{self, CASES, Case, Run, Turn};
use crate::expected::{Expectation, Expected};
use crate::history::{Event, History};
use crate::judge::{Property, Rules, judge};
use crate::options::Options;
use crate::report::{Line, Report};
use crate::stores::{MemoryTarget, Target};
use crate::verdict::{Finding, Outcome, Problem, Verdict};
use crate::world::World;

/// A case that is not done by then, of real or of virtual time, never will be.
const REAL_LIMIT: Duration = Duration::from_secs(300);
const VIRTUAL_LIMIT: Duration = Duration::from_secs(200_000);

/// How often it is looked whether a case has ended.
const LOOK: Duration = Duration::from_millis(200);

/// How long a case that was stopped may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is said of it.
const STOPPED: &str = "it was stopped";

/// How much virtual time passes in one go; whoever sleeps wakes at the very moment.
const STEP: Duration = Duration::from_secs(1);

/// Runs the chosen cases against the target, telling of each as it ends.
pub fn run(
    target: &Arc<dyn Target>,
    expected: &Expected,
    options: &Options,
    tell: impl Fn(&Line) + Sync,
) -> Report {
    let began = Instant::now();
    let chosen = options.chosen();
    let lines = Mutex::new(Vec::new());
    let canary = Canary::start();
    let each = |case| {
        let Some(line) = one(target, expected, case, options, 1, &canary) else { return };
        if !line.crowded {
            tell(&line);
        }
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    };
    // Virtual time takes a whole core.
    let parallel = if target.virtual_time() { 2 } else { options.parallel.max(1) };
    let of = |turn| chosen.iter().copied().filter(|case: &&Case| case.turn == turn).collect();
    let [first, others, last]: [Vec<&'static Case>; 3] =
        [of(Turn::First), of(Turn::Among), of(Turn::Last)];
    first.into_iter().for_each(each);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..parallel.min(others.len()) {
            scope.spawn(|| {
                while let Some(case) = others.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(case);
                }
            });
        }
    });
    let lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    // What failed among others, and is no matter of safety, is run once more, alone.
    let (again, mut lines): (Vec<Line>, Vec<Line>) =
        lines.into_iter().partition(|line| line.crowded);
    for first in again {
        let alone = one(target, expected, first.case, options, 3, &canary);
        let Some(mut line) = alone else { break };
        line.notes.push(format!(
            "run again, alone: among others it ended with {}: {}",
            first.verdict.word(),
            first.verdict.text()
        ));
        tell(&line);
        lines.push(line);
    }
    for case in last {
        let Some(line) = one(target, expected, case, options, 1, &canary) else { break };
        tell(&line);
        lines.push(line);
    }
    lines.sort_by_key(|line| CASES.iter().position(|case| case.id == line.case.id));
    Report {
        backend: target.backend().to_owned(),
        seed: options.seed,
        filtered: options.is_filtered(),
        took: began.elapsed(),
        oversleep: canary.worst_since(began),
        lines,
    }
}

/// Runs one case, again if that came to nothing; `None` once the run was stopped.
fn one(
    target: &Arc<dyn Target>,
    expected: &Expected,
    case: &'static Case,
    options: &Options,
    first: u32,
    canary: &Canary,
) -> Option<Line> {
    let began = Instant::now();
    let expectation = expected.case(case.id).clone();
    let without = |expectation, verdict| {
        let (notes, events) = (Vec::new(), Vec::new());
        let took = began.elapsed();
        Line { case, expectation, verdict, took, notes, events, crowded: false }
    };
    let run = match (&expectation, case.on(has_servers(target.as_ref()))) {
        (Expectation::NotApplicable(reason), _) => {
            let verdict = Verdict::NotApplicable(reason.clone());
            return Some(without(expectation, verdict));
        }
        (_, None) => return Some(without(expectation, Verdict::Missing)),
        (_, Some(run)) => run,
    };
    let mut attempt = first;
    loop {
        let start = Instant::now();
        let lock = format!("{}-{}-{attempt}", case.id.to_lowercase(), options.seed);
        let Ended { found, notes, events } = isolated(target, run, lock, options);
        if options.stop.asked().is_some() {
            return None;
        }
        let harmful = matches!(found, Found::Unsafe(_));
        let slow = !target.virtual_time() && canary.is_too_slow_since(start);
        let verdict = excuse(found, slow);
        // Once more with the same seed, and then it is said.
        if attempt == first && matches!(verdict, Verdict::Inconclusive(_)) {
            attempt += 1;
            continue;
        }
        let crowded = !harmful
            && !target.virtual_time()
            && matches!(
                verdict,
                Verdict::Fail(_) | Verdict::Inconclusive(_) | Verdict::NotApplicable(_)
            );
        let took = began.elapsed();
        return Some(Line { case, expectation, verdict, took, notes, events, crowded });
    }
}

/// Whether it has servers that the suite starts.
fn has_servers(target: &dyn Target) -> bool {
    #[cfg(feature = "servers")]
    return target.servers().is_some();
    #[cfg(not(feature = "servers"))]
    {
        let _ = target;
        false
    }
}

/// A case that ended.
struct Ended {
    found: Found,
    notes: Vec<String>,
    events: Vec<Event>,
}

impl Ended {
    fn early(verdict: Verdict) -> Self {
        Self { found: Found::Verdict(verdict), notes: Vec::new(), events: Vec::new() }
    }
}

/// What a case found, before the host's state is looked at.
enum Found {
    Verdict(Verdict),
    /// The judge or the case saw what no host excuses.
    Unsafe(String),
    /// Too late, which a slow host excuses.
    Late(String),
}

fn excuse(found: Found, slow: bool) -> Verdict {
    match found {
        Found::Late(text) if slow => Verdict::Inconclusive(format!("{text}; the host is too slow")),
        Found::Late(text) => Verdict::Fail(text),
        Found::Verdict(Verdict::NotDemonstrated(text)) if slow => {
            Verdict::Inconclusive(format!("{text}; the host is too slow"))
        }
        Found::Verdict(verdict) => verdict,
        Found::Unsafe(text) => Verdict::Fail(text),
    }
}

/// Runs one case in a thread of its own, so that neither a panic nor a hang takes the others along.
fn isolated(target: &Arc<dyn Target>, run: Run, lock: String, options: &Options) -> Ended {
    let stop = &options.stop;
    if stop.asked().is_some() {
        return Ended::early(Verdict::Inconclusive(STOPPED.to_owned()));
    }
    let (sender, receiver) = mpsc::channel();
    let (target, options) = (target.clone(), options.clone());
    let name = lock.clone();
    let thread = thread::Builder::new().name(name).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| world(&target, run, lock, &options)));
        let outcome = outcome.unwrap_or_else(|panic| {
            Ended::early(Verdict::Fail(format!("panicked: {}", said(&*panic))))
        });
        // The runner waits no longer than its limit.
        let _ = sender.send(outcome);
    });
    if let Err(error) = thread {
        let text = format!("no thread for it: {error}");
        return Ended::early(Verdict::Inconclusive(text));
    }
    let end = Instant::now() + REAL_LIMIT + Duration::from_secs(10);
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(ended) => return ended,
            Err(_) if stop.asked_before(PATIENCE) => {
                return Ended::early(Verdict::Inconclusive(STOPPED.to_owned()));
            }
            Err(_) if Instant::now() >= end => {
                let text = format!("it hangs: no end within {REAL_LIMIT:?}");
                return Ended::early(Verdict::Fail(text));
            }
            Err(_) => {}
        }
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a word".to_owned())
}

fn world(target: &Arc<dyn Target>, run: Run, lock: String, options: &Options) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the kernel gives an event queue");
    let simulated = target.virtual_time().then(VirtualClock::new);
    let world = World::new(target.clone(), lock, simulated.clone(), options.seed, options.slow);
    let world = match runtime.block_on(world) {
        Ok(world) => world,
        Err(error) => return Ended::early(Verdict::Inconclusive(format!("no lock: {error}"))),
    };
    let local = LocalSet::new();
    let outcome = local.block_on(&runtime, async {
        let limit = async {
            match &simulated {
                Some(clock) => pump(clock).await,
                None => world.sleep(REAL_LIMIT).await,
            }
        };
        tokio::select! {
            biased;
            outcome = run(&world) => outcome,
            () = limit => Err(Problem::Violated("it never ends".to_owned())),
            () = options.stop.wait() => Err(Problem::Vacuous(STOPPED.to_owned())),
        }
    });
    let (history, rules): (History, Rules) = (world.history().clone(), rules(&world));
    let (events, notes) = (history.events(), world.notes());
    // Whatever still runs belongs to this case, and goes with it.
    drop(local);
    runtime.shutdown_background();
    Ended { found: judged(outcome, &events, &rules), notes, events }
}

/// Lets virtual time run while the case waits for it.
async fn pump(clock: &VirtualClock) {
    let end = clock.now() + VIRTUAL_LIMIT;
    while clock.now() < end {
        clock.advance(STEP).await;
    }
}

fn rules(world: &World) -> Rules {
    let simulated = world.target().virtual_time();
    let marginal = if simulated { Duration::ZERO } else { Duration::from_millis(2) };
    let request_limit = 3 * world.longest_timeout() + world.slack();
    Rules { marginal, request_limit, exempt: world.exempted() }
}

fn judged(outcome: Outcome, events: &[Event], rules: &Rules) -> Found {
    let violations = judge(events, rules);
    if let Some(first) = violations.first() {
        let more = match violations.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let text = format!("{first}{more}");
        let lively = violations.iter().all(|violation| {
            matches!(violation.property, Property::Stability | Property::Termination)
        });
        return if lively { Found::Verdict(Verdict::Fail(text)) } else { Found::Unsafe(text) };
    }
    Found::Verdict(match outcome {
        Ok(Finding::Holds) => Verdict::Pass,
        Ok(Finding::Shown(text)) => Verdict::Demonstrated(text),
        Err(Problem::Violated(text)) => Verdict::Fail(text),
        Err(Problem::Vacuous(text)) => Verdict::Inconclusive(text),
        Err(Problem::NotShown(text)) => Verdict::NotDemonstrated(text),
        Err(Problem::NotApplicable(text)) => Verdict::NotApplicable(text),
        Err(Problem::Late(text)) => return Found::Late(text),
        Err(Problem::Unsafe(text)) => return Found::Unsafe(text),
    })
}

/// Runs one case on locks in memory that were made to misbehave; for negative controls.
///
/// # Panics
/// There is no such case.
#[must_use]
pub fn run_on(target: MemoryTarget, id: &str, seed: u64) -> Verdict {
    let target: Arc<dyn Target> = Arc::new(target);
    let run = cases::case(id).and_then(|case| case.on(false)).expect("the case is built");
    let lock = format!("{}-{seed}-1", id.to_lowercase());
    let options = Options { seed, ..Options::default() };
    excuse(isolated(&target, run, lock, &options).found, false)
}
