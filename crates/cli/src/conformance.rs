//! `leasehold conformance`: the suite against a store of the user's own.

use std::io::{self, Write};

use leasehold_conformance::command::{Own, own_store};

pub use leasehold_conformance::process::candidate_if_asked;

use crate::args::ConformanceArgs;
use crate::exit;

/// Runs the cases and prints what each found. Returns the exit code.
#[must_use]
pub fn main(args: &ConformanceArgs) -> u8 {
    let own = Own {
        url: args.lock.clone(),
        filter: args.filter.clone(),
        slow: args.slow,
        seed: args.seed,
    };
    // A closed pipe ends nothing: the exit code still tells.
    let say = |text: &str| drop(writeln!(io::stdout(), "{text}"));
    match own_store(&own, say) {
        Ok(true) => 0,
        Ok(false) => exit::INTERNAL,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            exit::of_error(&error)
        }
    }
}
