//! Schedule after schedule.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use leasehold_sim::{Coverage, generate_at, run as play};

use super::{Options, Outcome, core_time, keep, on_cores, per_second};

/// How many schedules a core takes at a time.
const CHUNK: u64 = 256;

/// How often the progress line is written anew.
const PROGRESS: Duration = Duration::from_millis(500);

/// What all cores did together.
#[derive(Debug, Default)]
struct Sum {
    cover: Coverage,
    schedules: u64,
    violations: u64,
    core_time: Duration,
    told: Option<Instant>,
}

/// Seeds not yet given out, and when to stop.
struct Seeds<'a> {
    options: &'a Options,
    next: AtomicU64,
    begun: Instant,
}

impl Seeds<'_> {
    /// The next few seeds, if there are any.
    fn take(&self) -> Option<std::ops::Range<u64>> {
        let over = self.options.limit().is_some_and(|limit| self.begun.elapsed() >= limit);
        let count = match self.options.limit() {
            Some(_) => u64::MAX,
            None => self.options.seeds.unwrap_or(1_000_000),
        };
        let from = self.next.fetch_add(CHUNK, Ordering::Relaxed);
        let to = count.min(from.saturating_add(CHUNK));
        let first = self.options.from;
        (!over && from < to).then(|| first.saturating_add(from)..first.saturating_add(to))
    }
}

/// Runs the seeds on all cores.
pub(super) fn run(options: &Options) -> Outcome {
    let seeds = Seeds { options, next: AtomicU64::new(0), begun: Instant::now() };
    let sum = Mutex::new(Sum::default());
    on_cores(options.threads(), || work(&seeds, &sum))?;
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    println!("from seed {}: {}", options.from, sum.cover);
    println!("{}", line(&sum));
    Ok(sum.violations == 0)
}

fn line(sum: &Sum) -> String {
    let Sum { schedules, violations, core_time, .. } = sum;
    let rate = per_second(*schedules, *core_time);
    format!("{schedules} schedules, {violations} violations, {rate} per second and core")
}

/// What one core does.
fn work(seeds: &Seeds<'_>, sum: &Mutex<Sum>) -> Result<(), String> {
    while let Some(range) = seeds.take() {
        let begun = core_time();
        let (mut cover, mut broken) = (Coverage::default(), Vec::new());
        let schedules = range.end - range.start;
        for seed in range {
            broken.extend(schedule(seed, seeds.options, &mut cover).map_err(|e| e.to_string())?);
        }
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.cover.add(&cover);
        sum.schedules += schedules;
        sum.violations += broken.len() as u64;
        sum.core_time += core_time() - begun;
        for told in broken {
            println!("{told}");
        }
        progress(&mut sum);
    }
    Ok(())
}

/// Runs one schedule and returns what to tell if it broke an invariant.
fn schedule(
    seed: u64,
    options: &Options,
    cover: &mut Coverage,
) -> Result<Option<String>, Box<dyn Error>> {
    let case = generate_at(seed, options.rates);
    let report = play(&case, false)?;
    cover.add(&report.cover);
    let Some(violation) = report.violation else { return Ok(None) };
    let kept = keep(&case, violation.rule, options.failures.as_deref())?;
    let what = &violation.what;
    Ok(Some(format!("seed {seed} ({:?}) {:?}: {what}{kept}", case.store, violation.rule)))
}

/// The progress line, for people at a terminal only.
fn progress(sum: &mut Sum) {
    let mut stderr = std::io::stderr();
    let due = sum.told.is_none_or(|told| told.elapsed() >= PROGRESS);
    if due && stderr.is_terminal() {
        sum.told = Some(Instant::now());
        let _ = write!(stderr, "\r\x1b[K{}; {}", line(sum), sum.cover.summary());
        let _ = stderr.flush();
    }
}
