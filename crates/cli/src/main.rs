//! The command `leasehold`.

use std::ffi::OsString;
use std::process::ExitCode;

use leasehold_cli::args::Action;
use leasehold_cli::{
    about, args, bench, doctor, explain, list, logging, output, runtime, status, watch,
};
#[cfg(target_os = "linux")]
use leasehold_cli::{guard, run};

/// How many descriptors a command may need at once, besides those that it was started with.
const DESCRIPTORS: usize = 24;

/// How many threads a command may need at once: for its clock, its files, and names of hosts.
const THREADS: usize = 4;

/// The same for one that leads: besides them a watch, a guard and CMD.
const TASKS: usize = 7;

/// Those that have many candidates in one process, with a clock and connections for each.
#[cfg(any(feature = "demo", feature = "conformance"))]
const MANY_DESCRIPTORS: usize = 128;

/// Why `leasehold run` begins nothing here.
#[cfg(not(target_os = "linux"))]
const RUN_NEEDS_LINUX: &str = "leasehold run needs Linux: only there can its guard \
    find and kill all that CMD started before the lease passes on; let a program on this system \
    use the library, whose work stops itself";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    #[cfg(target_os = "linux")]
    if let [_, hidden, rest @ ..] = arguments.as_slice() {
        if hidden == guard::SUBCOMMAND {
            return guard::process::main(rest);
        }
        if hidden == guard::exec::SUBCOMMAND {
            return guard::exec::main(rest);
        }
    }
    #[cfg(feature = "conformance")]
    if let Some(ended) = leasehold_cli::conformance::candidate_if_asked() {
        return ended;
    }
    ExitCode::from(runtime::with_stack(|| runtime::guarded(|| command(arguments))))
}

fn command(arguments: Vec<OsString>) -> u8 {
    let cli = match args::parse(arguments) {
        Ok(cli) => cli,
        Err(error) => return output::print_usage(&error),
    };
    let descriptors = match &cli.action {
        #[cfg(feature = "demo")]
        Action::Demo(_) => MANY_DESCRIPTORS,
        #[cfg(feature = "conformance")]
        Action::Conformance(_) => MANY_DESCRIPTORS,
        Action::Completions { .. } | Action::Man { .. } => 0,
        _ => DESCRIPTORS,
    };
    let threads = if matches!(cli.action, Action::Run(_)) { TASKS } else { THREADS };
    if descriptors > 0
        && let Err(code) = runtime::with_descriptors(descriptors, threads)
    {
        return code;
    }
    // The faults of the suite are no news: its verdicts are.
    #[cfg(feature = "conformance")]
    if let Action::Conformance(args) = &cli.action {
        return leasehold_cli::conformance::main(args);
    }
    let (colour, quiet) = (cli.log.color, cli.log.quiet);
    // What goes wrong in it is shown by it.
    #[cfg(feature = "demo")]
    if let Action::Demo(args) = &cli.action {
        return leasehold_cli::demo::main(args, colour);
    }
    logging::install(cli.log);
    match cli.action {
        #[cfg(target_os = "linux")]
        Action::Run(args) => run::main(args),
        #[cfg(not(target_os = "linux"))]
        Action::Run(_) => {
            output::print_error(&RUN_NEEDS_LINUX);
            leasehold_cli::exit::CONFIG
        }
        Action::Status(args) => status::main(&args, colour),
        Action::Watch(args) => watch::main(&args, colour),
        Action::Explain(args) => explain::main(&args, colour),
        Action::Bench(args) => bench::main(&args),
        Action::List(args) => list::main(&args, quiet, colour),
        Action::Completions { shell } => about::completions(shell),
        Action::Man { subcommand } => about::manual(subcommand.as_deref()),
        Action::Doctor(args) => doctor::main(&args, colour),
        #[cfg(feature = "demo")]
        Action::Demo(_) => unreachable!("it has been shown"),
        #[cfg(feature = "conformance")]
        Action::Conformance(_) => unreachable!("it has been run"),
    }
}
