//! What the command does, by its arguments.
//!
//! - `explore.rs`: schedule after schedule, none may fail.
//! - `defects.rs`: every deliberate defect must be found.
//! - `replay.rs`: one schedule, told and drawn.
//! - `rates.rs`: how often two lead at once as clock rates differ more and more.
//! - `processes.rs`: guard and supervisor in a model of a kernel.
//! - `output.rs`: what it prints.

mod defects;
mod explore;
mod output;
mod processes;
mod rates;
mod replay;

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgGroup, CommandFactory, Parser};
use leasehold_sim::{Case, Mutant, Rule, shrink};
use rustix::time::{ClockId, clock_gettime};

use output::Output;
pub(crate) use processes::Processes;

/// What was wrong: with the arguments, with a file, or nobody reads what is printed.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Whether all is well, or why the command could not run.
pub(crate) type Outcome = Result<bool, Failure>;

/// No first seed is greater, and no count: their sum is a number.
const SEEDS: u64 = 1 << 63;

/// Schedules, unless the caller says.
const SCHEDULES: u64 = 1_000_000;

/// Deterministic simulation of the election: faults, invariants, deliberate defects, replay.
///
/// Without --mutants, --mutant, --replay, --show and --plot: runs schedules of 30 virtual seconds,
/// one for every seed, and judges each after every event. Ends with 1 if an invariant was broken.
/// `processes` as the first argument runs guard and supervisor of a command in a model of a kernel
/// instead.
#[derive(Debug, Parser)]
#[command(name = "leasehold-sim", bin_name = "cargo xtask sim", version, max_term_width = 110)]
#[command(group = ArgGroup::new("told").args(["replay", "show"]))]
#[command(group = ArgGroup::new("defects").args(["mutants", "mutant"]))]
pub(crate) struct Options {
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0, conflicts_with = "told")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=SEEDS))]
    from: u64,
    /// How many schedules [default: 1000000, with --plot 200000 for every ratio].
    #[arg(long, value_name = "N", conflicts_with_all = ["minutes", "defects", "told"])]
    #[arg(value_parser = clap::value_parser!(u64).range(1..SEEDS))]
    seeds: Option<u64>,
    /// As many schedules as fit into this time.
    #[arg(long, value_name = "M", conflicts_with_all = ["defects", "told", "plot"])]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: Option<u64>,
    /// How many cores work [default: all].
    #[arg(long, value_name = "N", conflicts_with = "told")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Let the clock rates differ by this many percent of the bound.
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    #[arg(conflicts_with_all = ["defects", "replay", "plot"])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    rates: u32,
    /// Shrink failures and write them here as JSON.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["told", "plot"])]
    failures: Option<PathBuf>,
    /// Run every deliberate defect until an invariant finds it.
    #[arg(long, conflicts_with_all = ["told", "plot"])]
    mutants: bool,
    /// Run this deliberate defect until an invariant finds it; with --show, tell the seed with it.
    #[arg(long, value_name = "NAME", value_parser = mutant,
        conflicts_with_all = ["replay", "plot"])]
    mutant: Vec<Mutant>,
    /// How long a defect may survive, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(requires = "defects", conflicts_with = "told")]
    budget: u64,
    /// Tell a failure file line by line, and draw it beside the file as SVG.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Tell the schedule of a seed; with --svg, draw it.
    #[arg(long, value_name = "SEED")]
    show: Option<u64>,
    /// Where to draw a schedule that is told.
    #[arg(long, value_name = "FILE", requires = "told")]
    svg: Option<PathBuf>,
    /// Plot how often two lead at once against the ratio of clock rates, as SVG.
    #[arg(long, value_name = "FILE", conflicts_with = "told")]
    plot: Option<PathBuf>,
}

impl Options {
    /// The arguments of this process.
    ///
    /// # Errors
    /// What is wrong with them, or the help that was asked for.
    pub(crate) fn from_arguments() -> Result<Self, clap::Error> {
        let options = Self::try_parse()?;
        if options.show.is_some() && options.mutant.len() > 1 {
            let one = "'--show <SEED>' tells a schedule with one '--mutant <NAME>'";
            return Err(Self::command().error(ErrorKind::TooManyValues, one));
        }
        Ok(options)
    }

    fn threads(&self) -> usize {
        let all = std::thread::available_parallelism().map_or(1, NonZero::get);
        self.threads.map_or(all, usize::from)
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
    let output = Output::new();
    if let Some(file) = &options.replay {
        return replay::file(file, options.svg.as_deref(), &output);
    }
    if let Some(seed) = options.show {
        let mutant = options.mutant.first().copied();
        return replay::seed(seed, options.rates, mutant, options.svg.as_deref(), &output);
    }
    if let Some(file) = &options.plot {
        return rates::plot(file, options, &output);
    }
    if let Some(directory) = &options.failures {
        fs::create_dir_all(directory).map_err(|error| at(directory, error))?;
        let probe = directory.join(format!(".{}", std::process::id()));
        is_writable(&probe)?;
        fs::remove_file(&probe).map_err(|error| at(&probe, error))?;
    }
    if options.mutants {
        return defects::run(Mutant::ALL, options, &output);
    }
    if !options.mutant.is_empty() {
        return defects::run(&options.mutant, options, &output);
    }
    explore::run(options, &output)
}

/// Says where something went wrong.
fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// That a file can be written is asked before the work whose result it is to hold. Changes nothing
/// that is there.
fn is_writable(file: &Path) -> Result<(), String> {
    let opened = OpenOptions::new().append(true).create(true).open(file);
    opened.map(drop).map_err(|error| at(file, error))
}

/// Shrinks a failure and keeps it as a file. Returns what to tell of it.
fn keep(case: &Case, rule: Rule, directory: &Path) -> Result<String, Failure> {
    let (small, violation) = shrink(case, rule);
    let name = match case.mutant {
        Some(mutant) => mutant.name(),
        None => format!("{rule:?}-{}-{}", small.faults.len(), case.seed),
    };
    let file = directory.join(format!("{name}.json"));
    fs::write(&file, serde_json::to_vec_pretty(&small)?).map_err(|error| at(&file, error))?;
    let what = violation.map(|violation| violation.what).unwrap_or_default();
    Ok(format!("  shrunk to {} faults: {what}: {}", small.faults.len(), file.display()))
}

/// Runs `work` on so many cores until each is done with it. Once one has failed the others are told
/// to stop.
fn on_cores(
    count: usize,
    work: impl Fn(&AtomicBool) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let stop = AtomicBool::new(false);
    let until_it_fails = || {
        let done = work(&stop);
        stop.fetch_or(done.is_err(), Ordering::Relaxed);
        done
    };
    std::thread::scope(|scope| {
        let cores: Vec<_> = (0..count).map(|_| scope.spawn(until_it_fails)).collect();
        let done = cores
            .into_iter()
            .map(|core| core.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.collect()
    })
}

/// Whether nobody reads any more what the command prints.
pub(crate) fn is_closed_pipe(failure: &Failure) -> bool {
    let error = failure.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// What this thread has had of its core: a machine that is shared makes nothing slower that is
/// measured by it.
fn core_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// So many in a second of one core.
fn per_second(count: u64, time: Duration) -> u128 {
    u128::from(count) * 1_000_000_000 / time.as_nanos().max(1)
}
