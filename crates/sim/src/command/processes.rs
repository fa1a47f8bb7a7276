//! `processes`: guard and supervisor in a model of a kernel, schedule after schedule.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use leasehold_sim::processes::{Broken, Case, Ending, Flaw, generate, play, shrink};

use super::output::Output;
use super::{Failure, Outcome, core_time, on_cores, per_second};

/// How many schedules a core takes at a time.
const CHUNK: u64 = 64;

/// Guard and supervisor of a command in a model of a kernel: adversarial process trees, and the
/// invariants judged after every system call. Ends with 1 if one was broken.
#[derive(Debug, Parser)]
#[command(name = "leasehold-sim processes", bin_name = "cargo xtask sim processes", version)]
pub(crate) struct Processes {
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// How many schedules.
    #[arg(long, value_name = "N", default_value_t = 100_000, conflicts_with = "minutes")]
    seeds: u64,
    /// As many schedules as fit into this time.
    #[arg(long, value_name = "M")]
    minutes: Option<u64>,
    /// How many cores work [default: all].
    #[arg(long, value_name = "N")]
    threads: Option<u16>,
    /// Run every deliberate flaw until an invariant finds it.
    #[arg(long, conflicts_with = "show")]
    flaws: bool,
    /// Play with this deliberate flaw.
    #[arg(long, value_name = "NAME", value_parser = flaw, conflicts_with = "flaws")]
    flaw: Option<Flaw>,
    /// Tell the schedule of a seed.
    #[arg(long, value_name = "SEED")]
    show: Option<u64>,
    /// Tell the schedule of a seed as shrunk.
    #[arg(long, requires = "show")]
    shrink: bool,
}

fn flaw(name: &str) -> Result<Flaw, String> {
    let known = Flaw::ALL.into_iter().find(|flaw| flaw.name() == name);
    known.ok_or_else(|| format!("there are: {}", Flaw::ALL.map(Flaw::name).join(", ")))
}

#[derive(Default)]
struct Sum {
    schedules: u64,
    turns: u64,
    broken: u64,
    endings: BTreeMap<Ending, u64>,
    core_time: Duration,
}

impl Processes {
    /// The arguments of this process.
    ///
    /// # Errors
    /// They are wrong, or help was asked for.
    pub(crate) fn from_arguments() -> Result<Self, clap::Error> {
        Self::try_parse_from(std::env::args_os().skip(1))
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// Nobody reads what is printed.
    pub(crate) fn run(&self) -> Outcome {
        let output = Output::new();
        if let Some(seed) = self.show {
            return self.show(seed, &output);
        }
        if self.flaws {
            return self.hunt(&output);
        }
        self.explore(&output)
    }

    fn show(&self, seed: u64, output: &Output) -> Outcome {
        let mut case = generate(seed);
        let broken = play(&case, self.flaw, false).broken;
        if let Some(broken) = broken.filter(|_| self.shrink) {
            case = shrink(&case, self.flaw, broken.rule);
        }
        self.tell(&case, output)
    }

    fn tell(&self, case: &Case, output: &Output) -> Outcome {
        output.line(serde_json::to_string_pretty(case)?)?;
        let played = play(case, self.flaw, true);
        for line in &played.story {
            output.line(line)?;
        }
        output.line(format_args!("{:?} after {} turns", played.ending, played.turns))?;
        Ok(played.broken.is_none())
    }

    fn hunt(&self, output: &Output) -> Outcome {
        let mut survived = 0;
        for flaw in Flaw::ALL {
            let broken = (self.from..self.from + self.seeds).find_map(|seed| {
                let broken = play(&generate(seed), Some(flaw), false).broken?;
                // What fails without the flaw says nothing about it.
                let sound = play(&generate(seed), None, false).broken.is_none();
                sound.then_some((seed, broken))
            });
            let name = flaw.name();
            match broken {
                Some((seed, Broken { rule, what, .. })) => {
                    output.line(format_args!("{name:<24} {rule:?} (seed {seed}): {what}"))?;
                }
                None => {
                    survived += 1;
                    output.line(format_args!("{name:<24} SURVIVED {} schedules", self.seeds))?;
                }
            }
        }
        output.line(format_args!("{} flaws, {survived} survived", Flaw::ALL.len()))?;
        Ok(survived == 0)
    }

    fn explore(&self, output: &Output) -> Outcome {
        let (next, begun) = (AtomicU64::new(0), Instant::now());
        let sum = Mutex::new(Sum::default());
        let limit = self.minutes.map(|minutes| Duration::from_secs(60 * minutes));
        let all = std::thread::available_parallelism().map_or(1, NonZero::get);
        let work = |stop: &AtomicBool| -> Result<(), Failure> {
            while !stop.load(Ordering::Relaxed) {
                let over = limit.is_some_and(|limit| begun.elapsed() >= limit);
                let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                let count = if limit.is_some() { u64::MAX / 2 } else { self.seeds };
                if over || first >= count {
                    break;
                }
                let last = count.min(first + CHUNK);
                self.chunk(self.from + first..self.from + last, &sum, output)?;
            }
            Ok(())
        };
        on_cores(self.threads.map_or(all, usize::from), work)?;
        let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Sum { schedules, turns, broken, endings, core_time } = sum;
        let endings: Vec<String> = endings.iter().map(|(how, n)| format!("{n} {how:?}")).collect();
        output.line(format_args!("{turns} turns; {}", endings.join(", ")))?;
        let rate = per_second(schedules, core_time);
        output.line(format_args!(
            "{schedules} schedules, {broken} violations, {rate} per second and core"
        ))?;
        Ok(broken == 0)
    }

    fn chunk(
        &self,
        seeds: std::ops::Range<u64>,
        sum: &Mutex<Sum>,
        output: &Output,
    ) -> Result<(), Failure> {
        let begun = core_time();
        for seed in seeds {
            let played = play(&generate(seed), self.flaw, false);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.schedules += 1;
            sum.turns += played.turns;
            *sum.endings.entry(played.ending).or_default() += 1;
            if let Some(Broken { rule, what, .. }) = played.broken {
                sum.broken += 1;
                output.line(format_args!("seed {seed}: {rule:?}: {what}"))?;
            }
        }
        let spent = core_time().saturating_sub(begun);
        sum.lock().unwrap_or_else(PoisonError::into_inner).core_time += spent;
        Ok(())
    }
}
