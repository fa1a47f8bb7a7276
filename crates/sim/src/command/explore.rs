//! Schedule after schedule.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use leasehold_sim::{Coverage, generate_at, run as play};

use super::{Failure, Options, Outcome, Output, SCHEDULES, core_time, keep, on_cores, per_second};

/// How many schedules a core takes at a time.
const CHUNK: u64 = 256;

/// So many schedules must have gone through every kind of fault and every branch.
const COVERED_BY: u64 = 100_000;

/// What all cores did together.
#[derive(Debug, Default)]
struct Sum {
    cover: Coverage,
    schedules: u64,
    violations: u64,
    core_time: Duration,
}

/// Seeds not yet given out, and when to stop.
struct Seeds<'a> {
    options: &'a Options,
    next: AtomicU64,
    begun: Instant,
}

impl Seeds<'_> {
    /// The next few seeds, if there are any.
    fn take(&self) -> Option<Range<u64>> {
        let over = self.options.limit().is_some_and(|limit| self.begun.elapsed() >= limit);
        let first = self.options.from;
        let count = match self.options.limit() {
            Some(_) => u64::MAX - first,
            None => self.options.seeds.unwrap_or(SCHEDULES),
        };
        let from = self.next.fetch_add(CHUNK, Ordering::Relaxed);
        let to = count.min(from.saturating_add(CHUNK));
        (!over && from < to).then(|| first + from..first + to)
    }
}

/// Runs the seeds on all cores.
pub(super) fn run(options: &Options, output: &Output) -> Outcome {
    let seeds = Seeds { options, next: AtomicU64::new(0), begun: Instant::now() };
    let sum = Mutex::new(Sum::default());
    on_cores(options.threads(), |stop| work(&seeds, &sum, stop, output))?;
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    output.line(format_args!("from seed {}: {}", options.from, sum.cover))?;
    let covered = sum.schedules < COVERED_BY || sum.cover.is_complete();
    if !covered {
        output.line("not everything that can happen did: see \"never\" above")?;
    }
    let Sum { schedules, violations, .. } = sum;
    let rate = sum.rate();
    output.line(format_args!(
        "{schedules} schedules, {violations} violations, {rate} per second and core"
    ))?;
    Ok(violations == 0 && covered)
}

impl Sum {
    fn rate(&self) -> u128 {
        per_second(self.schedules, self.core_time)
    }

    /// How far it is, in few words.
    fn progress(&self) -> String {
        let Self { schedules, violations, cover, .. } = self;
        let (rate, covered) = (self.rate(), cover.progress());
        format!("{schedules} schedules, {violations} violations, {rate}/s and core; {covered}")
    }
}

/// What one core does.
fn work(
    seeds: &Seeds<'_>,
    sum: &Mutex<Sum>,
    stop: &AtomicBool,
    output: &Output,
) -> Result<(), Failure> {
    while !stop.load(Ordering::Relaxed)
        && let Some(range) = seeds.take()
    {
        let begun = core_time();
        let (mut cover, mut violations) = (Coverage::default(), 0);
        let schedules = range.end - range.start;
        for seed in range {
            violations += u64::from(!schedule(seed, seeds.options, &mut cover, output)?);
        }
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.cover.add(&cover);
        sum.schedules += schedules;
        sum.violations += violations;
        sum.core_time += core_time() - begun;
        output.progress(|| sum.progress());
    }
    Ok(())
}

/// Runs one schedule. Tells if it broke an invariant, then shrinks and keeps it.
fn schedule(
    seed: u64,
    options: &Options,
    cover: &mut Coverage,
    output: &Output,
) -> Result<bool, Failure> {
    let case = generate_at(seed, options.rates);
    let report = play(&case, false)?;
    cover.add(&report.cover);
    let Some(violation) = report.violation else { return Ok(true) };
    let (rule, what) = (violation.rule, &violation.what);
    output.line(format_args!("seed {seed} ({:?}) {rule:?}: {what}", case.store))?;
    if let Some(directory) = &options.failures {
        output.line(keep(&case, rule, directory)?)?;
    }
    Ok(false)
}
