//! What the command does, by its arguments.
//!
//! - `explore.rs`: schedule after schedule, none may fail.
//! - `defects.rs`: every deliberate defect must be found.
//! - `replay.rs`: one schedule, told and drawn.
//! - `rates.rs`: how often two lead at once as clock rates differ more and more.

mod defects;
mod explore;
mod rates;
mod replay;

use std::error::Error;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use leasehold_sim::{Case, Mutant, Rule, shrink};
use rustix::time::{ClockId, clock_gettime};

/// Whether all is well, or why the command could not run.
type Outcome = Result<bool, Box<dyn Error>>;

/// Deterministic simulation of the election: faults, invariants, deliberate defects, replay.
///
/// Without --mutants, --mutant, --replay, --show and --plot: runs schedules of 30 virtual seconds, one for every
/// seed, and judges each after every event. Ends with 1 if an invariant was broken.
#[derive(Debug, Parser)]
#[command(name = "leasehold-sim", bin_name = "cargo xtask sim", version, max_term_width = 110)]
pub(crate) struct Options {
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// How many schedules [default: 1000000, with --plot 200000 for every ratio].
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    seeds: Option<u64>,
    /// As many schedules as fit into this time.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: Option<u64>,
    /// How many cores work [default: all].
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Let the clock rates differ by this many percent of the bound.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rates: u32,
    /// Shrink failures and write them here as JSON.
    #[arg(long, value_name = "DIR")]
    failures: Option<PathBuf>,
    /// Run every deliberate defect until an invariant finds it.
    #[arg(long, conflicts_with_all = ["minutes", "seeds", "rates", "mutant"])]
    mutants: bool,
    /// Run this deliberate defect until an invariant finds it.
    #[arg(long, value_name = "NAME", value_parser = mutant, conflicts_with_all = ["minutes", "seeds", "rates"])]
    mutant: Vec<Mutant>,
    /// How long a defect may survive, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    budget: u64,
    /// Tell a failure file line by line, and draw it beside the file as SVG.
    #[arg(long, value_name = "FILE", group = "told")]
    replay: Option<PathBuf>,
    /// Tell the schedule of a seed; with --svg, draw it.
    #[arg(long, value_name = "SEED", group = "told")]
    show: Option<u64>,
    /// Where to draw a schedule that is told.
    #[arg(long, value_name = "FILE", requires = "told")]
    svg: Option<PathBuf>,
    /// Plot how often two lead at once against the ratio of clock rates, as SVG.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["minutes", "mutants", "mutant", "told", "rates"])]
    plot: Option<PathBuf>,
}

impl Options {
    fn threads(&self) -> usize {
        let all = std::thread::available_parallelism().map_or(1, NonZero::get);
        self.threads.map_or(all, NonZero::get)
    }

    fn limit(&self) -> Option<Duration> {
        self.minutes.map(|minutes| Duration::from_secs(60 * minutes))
    }
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let known = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
    known.ok_or_else(|| {
        let all: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        format!("there are: {}", all.join(", "))
    })
}

/// Does what was asked.
///
/// # Errors
/// A file cannot be read or written, or is no schedule.
pub(crate) fn run(options: &Options) -> Outcome {
    if let Some(file) = &options.replay {
        return replay::file(file, options.svg.as_deref());
    }
    if let Some(seed) = options.show {
        return replay::seed(seed, options.rates, options.svg.as_deref());
    }
    if let Some(file) = &options.plot {
        return rates::plot(file, options);
    }
    if options.mutants {
        return defects::run(Mutant::ALL, options);
    }
    if !options.mutant.is_empty() {
        return defects::run(&options.mutant, options);
    }
    explore::run(options)
}

/// Shrinks a failure and keeps it as a file. Returns what to tell of it.
fn keep(case: &Case, rule: Rule, directory: Option<&Path>) -> Result<String, Box<dyn Error>> {
    let Some(directory) = directory else { return Ok(String::new()) };
    std::fs::create_dir_all(directory)?;
    let (small, violation) = shrink(case, rule);
    let name = match case.mutant {
        Some(mutant) => mutant.name(),
        None => format!("{rule:?}-{}-{}", small.faults.len(), case.seed),
    };
    let file = directory.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_vec_pretty(&small)?)?;
    let what = violation.map(|violation| violation.what).unwrap_or_default();
    Ok(format!("\n  shrunk to {} faults: {what}: {}", small.faults.len(), file.display()))
}

/// Runs `work` on so many cores until each is done with it.
fn on_cores(
    count: usize,
    work: impl Fn() -> Result<(), String> + Sync,
) -> Result<(), Box<dyn Error>> {
    std::thread::scope(|scope| {
        let cores: Vec<_> = (0..count).map(|_| scope.spawn(&work)).collect();
        cores.into_iter().try_for_each(|core| {
            core.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    Ok(())
}

/// What this thread has had of its core: a machine that is shared makes nothing slower that is measured by it.
fn core_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// So many in a second of one core.
fn per_second(count: u64, time: Duration) -> u128 {
    u128::from(count) * 1_000_000_000 / time.as_nanos().max(1)
}
