//! The conformance suite as a command.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use leasehold_conformance::command::{self, Failed};
use leasehold_conformance::own::Says;

fn main() -> ExitCode {
    if let Some(ended) = leasehold_conformance::process::candidate_if_asked() {
        return ended;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Whoever reads no more is told by the exit code.
    let say = |says: Says<'_>| match says {
        Says::Verdict(text) => drop(writeln!(io::stdout(), "{text}")),
        Says::Progress(text) if io::stderr().is_terminal() => {
            drop(writeln!(io::stderr(), "{text}"))
        }
        Says::Progress(_) => {}
    };
    match command::run(&arguments, say) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failed) => {
            let _ = writeln!(io::stderr(), "error: {failed}");
            match failed {
                Failed::Usage(_) => {
                    let _ = writeln!(io::stderr(), "\n{}", command::USAGE.trim_end());
                    ExitCode::from(64)
                }
                Failed::Store(_) => ExitCode::from(69),
                Failed::Other(_) => ExitCode::from(80),
            }
        }
    }
}
