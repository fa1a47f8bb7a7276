//! The command `leasehold`.

use std::ffi::OsString;
use std::process::ExitCode;

use leasehold_cli::args::Action;
use leasehold_cli::{
    about, args, bench, doctor, exit, explain, guard, list, logging, run, status, watch,
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let [_, hidden, rest @ ..] = arguments.as_slice() {
        if hidden == guard::process::SUBCOMMAND {
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
    let cli = match args::parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, errors to standard error; a closed one is not our concern.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    // The faults of the suite are no news: its verdicts are.
    #[cfg(feature = "conformance")]
    if let Action::Conformance(args) = &cli.action {
        return ExitCode::from(leasehold_cli::conformance::main(args));
    }
    let (colour, quiet) = (cli.log.color, cli.log.quiet);
    // What goes wrong in it is shown by it.
    #[cfg(feature = "demo")]
    if let Action::Demo(args) = &cli.action {
        return ExitCode::from(leasehold_cli::demo::main(args, colour));
    }
    logging::install(cli.log);
    ExitCode::from(match cli.action {
        Action::Run(args) => run::main(args),
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
    })
}
