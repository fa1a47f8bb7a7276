//! `leasehold conformance`: the suite against a store of the user's own.

use std::io::{self, Write};

use leasehold_conformance::failed::Failed;
use leasehold_conformance::own::{self, Own};
use leasehold_conformance::stop::Stop;
use leasehold_conformance::told;

pub use leasehold_conformance::process::candidate_if_asked;

use crate::args::ConformanceArgs;
use crate::exit;
use crate::signals::Signals;

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
        stop: Stop::default(),
    };
    own.stop.obey(signals);
    code(&told::tell("leasehold", |say| own::run(&own, say).map(|ran| ran.as_expected)))
}

fn code(ran: &Result<bool, Failed>) -> u8 {
    match ran {
        Ok(true) => 0,
        Ok(false) => exit::CONFIG,
        Err(Failed::Usage(_)) => exit::USAGE,
        Err(Failed::Store(error)) => exit::of_error(error),
        Err(Failed::Other(_)) => exit::INTERNAL,
        Err(Failed::Stopped(signal)) => exit::by_signal(*signal),
    }
}

/// The number of the next one that asks to end.
fn signals() -> Option<impl AsyncFnMut() -> u8> {
    let mut signals = Signals::install().ok()?;
    Some(async move || signals.ends().await)
}
