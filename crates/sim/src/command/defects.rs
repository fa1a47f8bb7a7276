//! Deliberate defects: each must be found.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use leasehold_sim::{Case, Mutant, Violation, generate, run as play};

use super::{Failure, Options, Outcome, Output, keep, on_cores};

/// A schedule in which a defect showed.
struct Found {
    case: Case,
    violation: Violation,
    tried: u64,
}

/// Runs every defect until an invariant finds it, one defect a core.
pub(super) fn run(mutants: &[Mutant], options: &Options, output: &Output) -> Outcome {
    let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on_cores(options.threads(), |stop| {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let found = hunt(*mutant, options, stop, output)?;
            killed.fetch_add(usize::from(found), Ordering::Relaxed);
        }
        Ok(())
    })?;
    let killed = killed.into_inner();
    let survived = mutants.len() - killed;
    output.line(format_args!("{} mutants, {killed} killed, {survived} survived", mutants.len()))?;
    Ok(survived == 0)
}

/// Runs a defect until an invariant finds it, or its time is over.
fn hunt(
    mutant: Mutant,
    options: &Options,
    stop: &AtomicBool,
    output: &Output,
) -> Result<bool, Failure> {
    let name = mutant.name();
    match search(mutant, options, stop)? {
        Err(tried) => {
            output.line(format_args!("{name:<24} SURVIVED {tried} schedules"))?;
            Ok(false)
        }
        Ok(Found { case, violation, tried }) => {
            let Violation { rule, what, .. } = violation;
            let mut told = format!(
                "{name:<24} killed by {rule:?} (seed {}, schedule {tried}): {what}",
                case.seed
            );
            if let Some(directory) = &options.failures {
                match keep(&case, rule, directory) {
                    Ok(kept) => told = format!("{told}\n{kept}"),
                    Err(error) => {
                        output.line(told)?;
                        return Err(error);
                    }
                }
            }
            output.line(told)?;
            Ok(true)
        }
    }
}

fn search(
    mutant: Mutant,
    options: &Options,
    stop: &AtomicBool,
) -> Result<Result<Found, u64>, Failure> {
    let begun = Instant::now();
    let mut tried = 0_u64;
    for seed in options.from.. {
        let over = || begun.elapsed() >= Duration::from_secs(options.budget);
        if tried.is_multiple_of(64) && (over() || stop.load(Ordering::Relaxed)) {
            break;
        }
        let sound = generate(seed);
        if !mutant.suits(sound.store) {
            continue;
        }
        tried += 1;
        let case = Case { mutant: Some(mutant), ..sound.clone() };
        let Some(violation) = play(&case, false)?.violation else { continue };
        // What fails without the defect says nothing about it.
        if let Some(violation) = play(&sound, false)?.violation {
            return Err(format!("seed {seed} fails without a defect: {}", violation.what).into());
        }
        return Ok(Ok(Found { case, violation, tried }));
    }
    Ok(Err(tried))
}
