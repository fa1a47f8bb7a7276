//! A run reported to people: for the project's command and for `leasehold conformance`.

use std::io::{self, ErrorKind, IsTerminal, Write};

use leasehold::status::{printable, redacted};

use crate::failed::Failed;
use crate::own::Says;

/// Runs, prints the verdicts, and why it failed, as `program`. The exit code is the caller's.
///
/// # Errors
/// Those of the run, or the verdicts cannot be written.
pub fn tell(
    program: &str,
    run: impl FnOnce(&mut (dyn FnMut(Says<'_>) + Send)) -> Result<bool, Failed>,
) -> Result<bool, Failed> {
    let mut unwritten = None;
    let for_people = io::stderr().is_terminal();
    let ran = run(&mut |says| match says {
        // A closed pipe ends nothing: the exit code still tells.
        Says::Verdict(text) => match writeln!(io::stdout(), "{text}") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => unwritten = Some(error),
            _ => {}
        },
        Says::Progress(text) if for_people => {
            let _ = writeln!(io::stderr(), "{program}: {}", printable(text).at_most(LONGEST));
        }
        Says::Progress(_) => {}
    });
    if let Err(failed) = &ran {
        let failed = failed.to_string();
        for line in redacted(&failed).lines() {
            let _ = writeln!(io::stderr(), "{program}: {}", printable(line).at_most(LONGEST));
        }
    }
    if let Some(error) = unwritten {
        let why = format!("cannot write the verdicts: {error}");
        let _ = writeln!(io::stderr(), "{program}: {why}");
        return Err(Failed::Other(why));
    }
    ran
}

/// The longest line of an error, in characters.
const LONGEST: usize = 4_000;
