//! The last step before CMD: a process that prepares itself and becomes CMD.
//!
//! It is a process of its own because each of these must happen in CMD's process before CMD runs,
//! and because Rust offers them there only through `unsafe`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::sys::signal::{SigSet, Signal as NixSignal};
use rustix::process::{Pid, Signal, getpgrp, getppid, set_parent_process_death_signal};
use rustix::termios::tcsetpgrp;

use super::cgroup::Group;
use super::priority;
use crate::exit;
use crate::output::print_error;

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "__exec";

/// CMD takes the terminal.
pub(super) const FOREGROUND: &str = "foreground";

/// CMD leaves the terminal alone.
pub(super) const BACKGROUND: &str = "background";

/// The hidden subcommand: the guard's pid, foreground or background, CMD's priority, the directory
/// of its control group or nothing, CMD and its arguments. Returns only if CMD cannot be run, with
/// 126 or 127 as shells do.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let [guard, place, nice, group, program, arguments @ ..] = arguments else {
        return ExitCode::from(exit::INTERNAL);
    };
    let nice = nice.to_str().and_then(|nice| nice.parse().ok()).unwrap_or(0);
    // Before it can start anybody. It is killed all the same without.
    if !group.is_empty() {
        let _ = Group::open(PathBuf::from(group)).join();
    }
    priority::restore(nice);
    let error = match prepare(guard, place == FOREGROUND) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    let (code, reason) = exit::cannot_run(&error);
    print_error(&format!("cannot run {}: {reason}", program.display()));
    ExitCode::from(code)
}

/// - The kernel kills this process when the guard dies: the guard is single-threaded, so that this
///   can mean nothing else. (What CMD starts is not covered by it; the supervisor is there for
///   them.)
/// - With `foreground`, its process group takes the terminal before CMD can read from it.
/// - Nothing is blocked for CMD.
fn prepare(guard: &OsStr, foreground: bool) -> io::Result<()> {
    let guard = guard.to_str().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if guard.is_none() || getppid() != guard {
        return Err(io::Error::other("the guard is gone"));
    }
    if foreground {
        // A background group that moves the terminal is stopped, unless it blocks or ignores this
        // signal.
        let mut ttou = SigSet::empty();
        ttou.add(NixSignal::SIGTTOU);
        ttou.thread_block()?;
        // Without the terminal CMD still runs; the kernel stops it if it reads.
        let _ = tcsetpgrp(io::stdin(), getpgrp());
    }
    // The guard's mask is inherited; SIGTERM must reach CMD. The standard library resets only
    // SIGPIPE.
    SigSet::empty().thread_set_mask()?;
    Ok(())
}
