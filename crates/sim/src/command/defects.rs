//! Deliberate defects: each must be found.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use leasehold_sim::{Case, Mutant, Violation, generate, run as play};

use super::{Options, Outcome, keep, on_cores};

/// A schedule in which a defect showed.
struct Found {
    case: Case,
    violation: Violation,
    tried: u64,
}

/// Runs every defect until an invariant finds it, one defect a core.
pub(super) fn run(mutants: &[Mutant], options: &Options) -> Outcome {
    let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on_cores(options.threads(), || {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = hunt(*mutant, options).map_err(|error| error.to_string())?;
            killed.fetch_add(usize::from(found), Ordering::Relaxed);
        }
        Ok(())
    })?;
    let killed = killed.into_inner();
    let survived = mutants.len() - killed;
    println!("{} mutants, {killed} killed, {survived} survived", mutants.len());
    Ok(survived == 0)
}

/// Runs a defect until an invariant finds it, or its time is over.
fn hunt(mutant: Mutant, options: &Options) -> Result<bool, Box<dyn Error>> {
    let name = mutant.name();
    match search(mutant, options)? {
        Err(tried) => {
            println!("{name:<24} SURVIVED {tried} schedules");
            Ok(false)
        }
        Ok(Found { case, violation, tried }) => {
            let kept = keep(&case, violation.rule, options.failures.as_deref())?;
            let Violation { rule, what, .. } = violation;
            println!(
                "{name:<24} killed by {rule:?} (seed {}, schedule {tried}): {what}{kept}",
                case.seed
            );
            Ok(true)
        }
    }
}

fn search(mutant: Mutant, options: &Options) -> Result<Result<Found, u64>, Box<dyn Error>> {
    let begun = Instant::now();
    let mut tried = 0_u64;
    for seed in options.from.. {
        if tried.is_multiple_of(64) && begun.elapsed() >= Duration::from_secs(options.budget) {
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
