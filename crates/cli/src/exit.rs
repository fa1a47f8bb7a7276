//! Every exit code, in one place.

use std::io;

use leasehold::{Error, ErrorKind};
use leasehold_guard::Exit;

/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The store cannot be reached; `status`: unknown who leads.
pub const UNAVAILABLE: u8 = 69;
/// The lock is held by another; `status`: nobody leads.
pub const HELD: u8 = 75;
/// Leadership was lost, and CMD was stopped in time.
pub const LOST: u8 = 76;
/// The store refused these credentials.
pub const DENIED: u8 = 77;
/// The configuration is invalid, or what is stored is not a record of ours.
pub const CONFIG: u8 = 78;
/// CMD, or something it started, outlived the lease: two may have run at once.
pub const OVERRUN: u8 = 79;
/// Something failed that should not.
pub const INTERNAL: u8 = 80;

/// CMD exists and cannot be run.
const NOT_EXECUTABLE: u8 = 126;
/// CMD does not exist.
const NOT_FOUND: u8 = 127;

/// Ended by a signal.
#[must_use]
pub fn by_signal(number: u8) -> u8 {
    128_u8.saturating_add(number)
}

/// The child's own.
#[must_use]
pub fn of_child(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(number) => by_signal(number),
    }
}

/// For an error of the library.
#[must_use]
pub fn of_error(error: &Error) -> u8 {
    of_kind(error.kind())
}

/// For what the caller can do.
#[must_use]
pub fn of_kind(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Throttled { .. } => UNAVAILABLE,
        ErrorKind::Denied => DENIED,
        ErrorKind::Corrupt | ErrorKind::Invalid | ErrorKind::Rewound | ErrorKind::Replaced => {
            CONFIG
        }
        _ => INTERNAL,
    }
}

/// As shells say it: the code, and why.
#[must_use]
pub fn cannot_run(error: &io::Error) -> (u8, String) {
    match error.kind() {
        io::ErrorKind::NotFound => (NOT_FOUND, "not found".to_owned()),
        io::ErrorKind::PermissionDenied => (NOT_EXECUTABLE, "not executable".to_owned()),
        _ => (NOT_EXECUTABLE, error.to_string()),
    }
}
