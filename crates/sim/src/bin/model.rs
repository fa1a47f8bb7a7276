//! `leasehold-model`: explores every state of a few candidates.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::num::NonZero;
use std::process::ExitCode;

use clap::Parser;
use leasehold_sim::model::{ANY, Event, Limits, Outcome, Rates, Run, Space, all, explore, redis};

/// States are copied a few hundred thousand times a second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Explores every state of two candidates over one register, and of coarser ones over Redis servers
/// ("redis"), breadth first, and prints a line for each run.
///
/// A run is safe if no state breaks a rule and everything that it is about did happen; or it must
/// find a rule broken (clocks beyond the bound, deliberate defects). Ends with 1 if a run found
/// anything else, or was not complete.
#[derive(Debug, Parser)]
#[command(name = "leasehold-model", bin_name = "cargo xtask model", version, max_term_width = 110)]
struct Options {
    /// The runs whose name begins so, such as "server" or "observer-mutant" [default: all].
    #[arg(value_name = "NAME", value_parser = named)]
    names: Vec<String>,
    /// Name the runs and what they contain, and explore none.
    #[arg(long)]
    list: bool,
    /// Tell the way to the broken rule of those that must break one, too.
    #[arg(long)]
    trace: bool,
    /// How many cores work.
    #[arg(long, value_name = "N", default_value = "2")]
    threads: NonZero<usize>,
    /// Stop a run that has found this many different states.
    #[arg(long, value_name = "N", default_value_t = 12_000_000)]
    states: usize,
    /// Stop a run when this process uses so much memory, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 10_240)]
    memory: u64,
}

fn named(name: &str) -> Result<String, String> {
    let names = all().into_iter().map(|run| run.setup.name);
    let mut names = names.chain(redis::all().into_iter().map(|run| run.setup.name));
    if names.any(|known| known.starts_with(name)) {
        return Ok(name.to_owned());
    }
    Err("no run begins so; --list names them".to_owned())
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let chosen = |run: &str| {
        options.names.is_empty() || options.names.iter().any(|name| run.starts_with(name))
    };
    let registers = all().into_iter().filter(|run| chosen(run.setup.name));
    let clusters = redis::all().into_iter().filter(|run| chosen(run.setup.name));
    if options.list {
        registers.for_each(|run| println!("{}", contents(&run)));
        clusters.for_each(|run| println!("{}", contents_of_cluster(&run)));
        return ExitCode::SUCCESS;
    }
    let (mut runs, mut failed) = (0, 0);
    let mut note = |name: &str, result: Result<(), Box<dyn Error>>| {
        runs += 1;
        if let Err(error) = result {
            println!("{name} FAILED: {error}");
            failed += 1;
        }
    };
    for run in registers {
        let head = || line_of_clocks(&run);
        note(run.setup.name, check(&run, head, &options));
    }
    for run in clusters {
        let head = || Ok(format!("{:<40} 3 servers", run.setup.name));
        note(run.setup.name, check(&run, head, &options));
    }
    println!("{runs} runs, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Explores and compares with what must be found.
fn check<W: Space>(
    run: &Run<W>,
    head: impl FnOnce() -> Result<String, Box<dyn Error>>,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let Options { threads, states, memory, .. } = *options;
    let outcome = explore::<W>(&run.setup, Limits { threads: threads.get(), states, memory })?;
    println!("{}: {}", head()?, found(&outcome));
    let verdict = run.judge(&outcome);
    if let Some((_, begin, steps)) = &outcome.violation
        && (options.trace || verdict.is_err())
    {
        for line in begin.story(&run.setup, steps) {
            println!("  {line}");
        }
    }
    Ok(verdict?)
}

fn found<W: Space>(outcome: &Outcome<W>) -> String {
    let found = outcome.violation.as_ref().map(|(rule, ..)| *rule);
    let found = found.map_or("complete, safe".to_owned(), |rule| format!("breaks {rule:?}"));
    let seconds = outcome.took.as_secs_f64();
    let Outcome { states, depth, .. } = outcome;
    format!("{states} states, depth {depth}, {seconds:.1} s, {found}{}", events(outcome))
}

fn line_of_clocks(run: &Run) -> Result<String, Box<dyn Error>> {
    let bound = if run.setup.is_within_bound()? { "within" } else { "beyond" };
    Ok(format!("{}, {bound} the bound", head(run)))
}

/// The name, L and D in ticks, and how fast the clocks of both candidates and of the store are.
fn head(run: &Run) -> String {
    let clocks = |rates: &Rates| {
        let [a, b] = rates.candidates;
        format!("{a}:{b}:{}", rates.store)
    };
    let clocks: Vec<String> = run.setup.rates.iter().map(clocks).collect();
    let (lease, deadline) = (run.setup.lease, run.setup.deadline);
    format!("{:<40} L {lease} D {deadline} clocks {}", run.setup.name, clocks.join(" "))
}

/// What happened, and how often.
fn events<W: Space>(outcome: &Outcome<W>) -> String {
    let happened = Event::ALL.into_iter().filter(|event| outcome.events.of(*event) > 0);
    happened.map(|event| format!(", {} {}", outcome.events.of(event), event.name())).collect()
}

fn contents(run: &Run) -> String {
    let setup = &run.setup;
    let parts = [
        (setup.late, "late answers".to_owned()),
        (setup.zombies > 0, format!("zombies ({} at once)", setup.zombies)),
        (setup.resigns, "release".to_owned()),
        (setup.expires, "expired".to_owned()),
        (setup.withdraws, "withdrawal".to_owned()),
        (setup.restarts == ANY, "restarts".to_owned()),
        (setup.restarts != ANY && setup.restarts > 0, format!("{} restart", setup.restarts)),
        (setup.deletes > 0, format!("{} deletion", setup.deletes)),
        (setup.restores > 0, format!("{} old copy put back", setup.restores)),
    ];
    let parts = parts.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text);
    let parts: Vec<String> = parts.collect();
    let expects = match (setup.mutant, run.breaks) {
        (_, []) => "safe".to_owned(),
        (Some(mutant), _) => format!("{mutant:?} breaks a rule"),
        (None, rules) => format!("breaks {rules:?}"),
    };
    format!("{}: {}; {expects}", head(run), parts.join(", "))
}

fn contents_of_cluster(run: &Run<redis::World>) -> String {
    let setup = run.setup;
    let redis::Setup { name, candidates, lease, defect, .. } = setup;
    let parts = [
        (true, "promotions, moves"),
        (setup.restarts, "restarts"),
        (setup.old_dumps, "replicas with old dumps"),
        (setup.counts_partials, "partial resyncs counted"),
    ];
    let parts = parts.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text);
    let parts: Vec<&str> = parts.collect();
    let expects = match (defect, run.breaks) {
        (_, []) => "safe".to_owned(),
        (Some(defect), _) => format!("{defect:?} breaks a rule"),
        (None, rules) => format!("breaks {rules:?}"),
    };
    let parts = parts.join(", ");
    format!("{name:<40} 3 servers, {candidates} candidates, L {lease}: {parts}; {expects}")
}
