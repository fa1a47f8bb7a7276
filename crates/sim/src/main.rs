//! `leasehold-sim`: runs schedules, mutants and replays.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use leasehold_sim::{Case, Coverage, Mutant, Rule, generate, run, shrink};

const USAGE: &str = "usage: leasehold-sim [--from SEED] [--seeds N] [--minutes M] [--failures DIR]
                     [--mutants] [--mutant NAME] [--budget SECONDS] [--replay FILE | --show SEED]

Without --mutants, --mutant, --replay and --show: runs N schedules (default 1000000), or as many as fit into
M minutes, on one core. Failures are shrunk and written to DIR as JSON.";

#[derive(Debug)]
struct Options {
    from: u64,
    seeds: u64,
    minutes: Option<u64>,
    failures: Option<String>,
    mutants: Vec<Mutant>,
    budget: u64,
    replay: Option<String>,
    show: Option<u64>,
}

fn main() -> ExitCode {
    let outcome = options().and_then(|options| match (&options.replay, options.show) {
        (Some(file), _) => replay(&serde_json::from_str(&std::fs::read_to_string(file)?)?),
        (None, Some(seed)) => replay(&generate(seed)),
        (None, None) if options.mutants.is_empty() => explore(&options),
        (None, None) => mutants(&options),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(64)
        }
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        from: 0,
        seeds: 1_000_000,
        minutes: None,
        failures: None,
        mutants: Vec::new(),
        budget: 60,
        replay: None,
        show: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--from" => options.from = value()?.parse()?,
            "--seeds" => options.seeds = value()?.parse()?,
            "--minutes" => options.minutes = Some(value()?.parse()?),
            "--failures" => options.failures = Some(value()?),
            "--mutants" => options.mutants = Mutant::ALL.to_vec(),
            "--mutant" => {
                let name = value()?;
                let known = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
                options.mutants.push(known.ok_or_else(|| unknown(&name))?);
            }
            "--budget" => options.budget = value()?.parse()?,
            "--replay" => options.replay = Some(value()?),
            "--show" => options.show = Some(value()?.parse()?),
            _ => return Err(format!("unknown argument {arg}").into()),
        }
    }
    Ok(options)
}

fn unknown(name: &str) -> String {
    let all: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
    format!("no mutant {name}; there are: {}", all.join(", "))
}

/// Tells a schedule line by line.
fn replay(case: &Case) -> Result<bool, Box<dyn Error>> {
    let report = run(case, true)?;
    println!("{}", serde_json::to_string_pretty(case)?);
    for line in &report.story {
        println!("{line}");
    }
    Ok(report.violation.is_none())
}

/// Runs schedule after schedule.
fn explore(options: &Options) -> Result<bool, Box<dyn Error>> {
    let begun = Instant::now();
    let limit = options.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let (mut cover, mut schedules, mut violations) = (Coverage::default(), 0, 0);
    let terminal = std::io::stderr().is_terminal();
    loop {
        let over = match limit {
            Some(limit) => schedules % 64 == 0 && begun.elapsed() >= limit,
            None => schedules >= options.seeds,
        };
        if over {
            break;
        }
        let case = generate(options.from + schedules);
        let report = run(&case, false)?;
        cover.add(&report.cover);
        if let Some(violation) = report.violation {
            violations += 1;
            println!(
                "seed {} ({:?}) {:?}: {}",
                case.seed, case.store, violation.rule, violation.what
            );
            keep(&case, violation.rule, options)?;
        }
        schedules += 1;
        if terminal && schedules % 16_384 == 0 {
            eprint!("\r{schedules} schedules, {violations} violations, {}", rate(schedules, begun));
            std::io::stderr().flush()?;
        }
    }
    println!("from seed {}: {cover}", options.from);
    println!("{schedules} schedules, {violations} violations, {}", rate(schedules, begun));
    Ok(violations == 0)
}

fn keep(case: &Case, rule: Rule, options: &Options) -> Result<(), Box<dyn Error>> {
    let Some(directory) = &options.failures else { return Ok(()) };
    std::fs::create_dir_all(directory)?;
    let (small, violation) = shrink(case, rule);
    let file = format!("{directory}/{rule:?}-{}-{}.json", small.faults.len(), case.seed);
    std::fs::write(&file, serde_json::to_vec_pretty(&small)?)?;
    let what = violation.map(|violation| violation.what).unwrap_or_default();
    println!("  shrunk to {} faults: {what}: {file}", small.faults.len());
    Ok(())
}

fn rate(schedules: u64, begun: Instant) -> String {
    let nanos = begun.elapsed().as_nanos().max(1);
    format!("{} per second and core", u128::from(schedules) * 1_000_000_000 / nanos)
}

/// Runs every mutant until an invariant finds it.
fn mutants(options: &Options) -> Result<bool, Box<dyn Error>> {
    let (mut killed, mut survived) = (0, 0);
    for mutant in &options.mutants {
        let begun = Instant::now();
        let mut tried = 0_u64;
        let mut seed = options.from;
        let found = loop {
            if tried.is_multiple_of(64) && begun.elapsed() >= Duration::from_secs(options.budget) {
                break None;
            }
            let case = generate(seed);
            seed += 1;
            if !mutant.suits(case.store) {
                continue;
            }
            tried += 1;
            let case = Case { mutant: Some(*mutant), ..case };
            if let Some(violation) = run(&case, false)?.violation {
                break Some((case, violation));
            }
        };
        match found {
            Some((case, violation)) => {
                killed += 1;
                println!(
                    "{:<24} killed by {:?} (seed {}, schedule {tried}): {}",
                    mutant.name(),
                    violation.rule,
                    case.seed,
                    violation.what
                );
                keep(&case, violation.rule, options)?;
            }
            None => {
                survived += 1;
                println!("{:<24} SURVIVED {tried} schedules", mutant.name());
            }
        }
    }
    println!("{} mutants, {killed} killed, {survived} survived", options.mutants.len());
    Ok(survived == 0)
}
