//! `leasehold conformance`: the suite against a store of the user's own.

use std::io::{self, ErrorKind, IsTerminal, Write};

use leasehold_conformance::command::Failed;
use leasehold_conformance::own::{self, Own, Says};

pub use leasehold_conformance::process::candidate_if_asked;

use crate::args::ConformanceArgs;
use crate::exit;

/// What its help says behind the flags.
pub const HELP: &str = "\
Nothing is done to the servers, and nothing to the lock itself: cases that need that are listed as not tested. A host \
that is busy with other work makes cases late.

Exits with 0 if every case that ran ended as expected and with 78 if one did not; 64 the command line is wrong, 69 the \
store cannot be reached, or went away meanwhile, 77 it denied access, 78 the URL is wrong, 80 the verdicts cannot be \
written.";

/// Runs the cases and prints what each found. Returns the exit code.
#[must_use]
pub fn main(args: &ConformanceArgs) -> u8 {
    let (url, cases) = match args.chosen() {
        Ok(chosen) => chosen,
        Err(why) => {
            let _ = writeln!(io::stderr(), "leasehold: {why}");
            return exit::USAGE;
        }
    };
    let own = Own {
        url: url.to_owned(),
        filter: cases.map(str::to_owned),
        slow: args.slow,
        seed: args.seed,
        // This very program, whatever it was renamed to.
        command: std::env::current_exe().ok(),
    };
    let mut unwritten = None;
    let for_people = io::stderr().is_terminal();
    let ran = own::run(&own, |says| match says {
        // A closed pipe ends nothing: the exit code still tells.
        Says::Verdict(text) => match writeln!(io::stdout(), "{text}") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => unwritten = Some(error),
            _ => {}
        },
        Says::Progress(text) if for_people => drop(writeln!(io::stderr(), "leasehold: {text}")),
        Says::Progress(_) => {}
    });
    let (code, why) = match ran {
        Ok(ran) if ran.as_expected => (0, None),
        Ok(_) => (exit::CONFIG, None),
        Err(Failed::Store(error)) => (exit::of_error(&error), Some(error.to_string())),
        Err(Failed::Usage(why)) => (exit::USAGE, Some(why)),
        Err(Failed::Other(why)) => (exit::INTERNAL, Some(why)),
    };
    if let Some(why) = why {
        let _ = writeln!(io::stderr(), "leasehold: {why}");
    }
    match unwritten {
        Some(error) => {
            let _ = writeln!(io::stderr(), "leasehold: cannot write the verdicts: {error}");
            exit::INTERNAL
        }
        None => code,
    }
}
