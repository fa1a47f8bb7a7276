//! `leasehold-model`: explores two candidates exhaustively.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::process::ExitCode;

use leasehold_sim::model::{Event, Limits, Outcome, Rates, Rule, Run, all, explore, tell};

const USAGE: &str = "usage: leasehold-model [NAME...] [--list] [--trace] [--threads N] [--states N] [--memory MIB]

Explores every state of two candidates over one register, breadth first, and prints a line per run. Without a
NAME: all runs; with one: the runs whose name begins with it (observer, server, server-beyond, ...).
--list     name the runs and what they contain
--trace    tell also the violations that a run must find
--threads  default 2
--states   unique states after which a run is given up, default 12000000
--memory   memory of the process in MiB after which a run is given up, default 8192";

struct Options {
    names: Vec<String>,
    list: bool,
    trace: bool,
    limits: Limits,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let chosen = |run: &Run| {
        let named = |name: &String| run.setup.name.starts_with(name.as_str());
        options.names.is_empty() || options.names.iter().any(named)
    };
    let runs: Vec<Run> = all().into_iter().filter(chosen).collect();
    let mut failed = 0;
    for run in &runs {
        if options.list {
            println!("{}", contents(run));
        } else if let Err(error) = check(run, &options) {
            println!("{:<38} FAILED: {error}", run.setup.name);
            failed += 1;
        }
    }
    if !options.list {
        println!("{} runs, {failed} failed", runs.len());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options() -> Result<Option<Options>, Box<dyn Error>> {
    let limits = Limits { threads: 2, states: 12_000_000, memory: 8192 };
    let mut options = Options { names: Vec::new(), list: false, trace: false, limits };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--list" => options.list = true,
            "--trace" => options.trace = true,
            "--threads" => options.limits.threads = value()?.parse()?,
            "--states" => options.limits.states = value()?.parse()?,
            "--memory" => options.limits.memory = value()?.parse()?,
            flag if flag.starts_with('-') => return Err(format!("unknown argument {arg}").into()),
            _ if all().iter().any(|run| run.setup.name.starts_with(arg.as_str())) => {
                options.names.push(arg);
            }
            _ => return Err(format!("no run is called {arg}; --list names them").into()),
        }
    }
    Ok(Some(options))
}

/// Explores and compares with what must be found.
fn check(run: &Run, options: &Options) -> Result<(), Box<dyn Error>> {
    let within = run.setup.is_within_bound()?;
    let outcome = explore(&run.setup, options.limits)?;
    let bound = if within { "within the bound" } else { "beyond the bound" };
    let found = outcome.violation.as_ref().map(|(rule, ..)| *rule);
    println!(
        "{:<38} L {} D {} clocks {} {bound}: {} states, depth {}, {:.1} s, {}; {}",
        run.setup.name,
        run.setup.lease,
        run.setup.deadline,
        clocks(run.setup.rates),
        outcome.states,
        outcome.depth,
        outcome.took.as_secs_f64(),
        found.map_or("complete, safe".to_owned(), |rule| format!("breaks {rule:?}")),
        events(&outcome)
    );
    let verdict = run.judge(&outcome);
    if let Some((_, begin, steps)) = &outcome.violation
        && (options.trace || verdict.is_err())
    {
        for line in tell(&run.setup, begin, steps) {
            println!("  {line}");
        }
    }
    Ok(verdict?)
}

fn clocks(rates: &[Rates]) -> String {
    let text = |rates: &Rates| {
        let [a, b] = rates.candidates;
        format!("{a}:{b}:{}", rates.store)
    };
    rates.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn events(outcome: &Outcome) -> String {
    let text = |event: Event| format!("{event:?} {}", outcome.events.of(event));
    Event::ALL.map(text).join(", ")
}

fn contents(run: &Run) -> String {
    let setup = &run.setup;
    let parts = [
        (setup.late, "late answers".to_owned()),
        (setup.zombies > 0, format!("{} zombies", setup.zombies)),
        (setup.resigns, "resigns".to_owned()),
        (setup.expires, "expires".to_owned()),
        (setup.withdraws, "withdraws".to_owned()),
        (setup.restarts > 0, "restarts".to_owned()),
        (setup.deletes > 0, format!("{} deletes", setup.deletes)),
        (setup.mutant.is_some(), format!("mutant {:?}", setup.mutant)),
    ];
    let parts = parts.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text);
    let expects = match run.breaks {
        [] => "safe".to_owned(),
        [rule] => format!("breaks {rule:?}"),
        _ => format!("breaks one of {} rules", Rule::ALL.len()),
    };
    let (lease, deadline) = (setup.lease, setup.deadline);
    let parts: Vec<String> = parts.collect();
    let parts = parts.join(", ");
    format!(
        "{:<38} L {lease} D {deadline} clocks {}: {parts}; {expects}",
        setup.name,
        clocks(setup.rates)
    )
}
