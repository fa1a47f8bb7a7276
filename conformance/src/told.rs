//! A run told to people, and its exit code: for the project's command and for `leasehold conformance`.

use std::io::{self, ErrorKind, IsTerminal, Write};

use leasehold::{printable, redacted};

use crate::failed::Failed;
use crate::own::Says;

/// Runs, prints the verdicts, and why it failed, as `program`. Returns the exit code: that of the command `leasehold` for
/// the same.
pub fn tell(
    program: &str,
    run: impl FnOnce(&mut (dyn FnMut(Says<'_>) + Send)) -> Result<bool, Failed>,
) -> u8 {
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
        let _ = writeln!(io::stderr(), "{program}: cannot write the verdicts: {error}");
        return INTERNAL;
    }
    code(&ran)
}

/// The longest line of an error, in characters.
const LONGEST: usize = 4_000;

/// The command line is wrong.
pub const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const DENIED: u8 = 77;
const CONFIG: u8 = 78;
const INTERNAL: u8 = 80;

/// The exit code of a run.
#[must_use]
pub fn code(ran: &Result<bool, Failed>) -> u8 {
    use leasehold::ErrorKind;
    match ran {
        Ok(true) => 0,
        Ok(false) => CONFIG,
        Err(Failed::Usage(_)) => USAGE,
        Err(Failed::Other(_)) => INTERNAL,
        Err(Failed::Stopped(signal)) => 128_u8.saturating_add(*signal),
        Err(Failed::Store(error)) => match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Throttled { .. } => UNAVAILABLE,
            ErrorKind::Denied => DENIED,
            ErrorKind::Corrupt | ErrorKind::Invalid | ErrorKind::Rewound | ErrorKind::Replaced => {
                CONFIG
            }
            _ => INTERNAL,
        },
    }
}
