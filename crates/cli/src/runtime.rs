//! What every command needs from the machine before it begins, and what becomes of a defect.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo, UnwindSafe};
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::exit;
use crate::output::print_error;

use leasehold::status::{printable, redacted};

/// The runtime of a command.
///
/// # Errors
/// The exit code: the machine does not give one, and it was said why.
pub fn new() -> Result<Runtime, u8> {
    Builder::new_current_thread().enable_all().build().map_err(|error| {
        print_error(&format!("cannot start: {error}"));
        exit::INTERNAL
    })
}

/// What a command has room in: reading a command line alone takes some 300 KiB where nothing is
/// optimized, and the libraries of the stores have their share.
const STACK: usize = 2 * 1024 * 1024;

/// Runs a command where its stack is large enough: on a thread of its own if the limit of this
/// process (`ulimit -s`) gives its first thread less. The limit itself stays as it is, for CMD.
#[must_use]
pub fn with_stack(command: impl FnOnce() -> u8 + Send + 'static) -> u8 {
    let limit = stack_limit();
    let enough = u64::try_from(STACK).unwrap_or(u64::MAX);
    if limit.is_none_or(|limit| limit >= enough) {
        return command();
    }
    let thread = thread::Builder::new().name("main".to_owned()).stack_size(STACK).spawn(command);
    match thread.map(thread::JoinHandle::join) {
        Ok(ended) => ended.unwrap_or(exit::INTERNAL),
        Err(error) => {
            print_error(&format!(
                "cannot start: the stack of this process is limited to {} bytes, and a thread with \
                 a larger one is not to be had: {error}; raise the limit (ulimit -s)",
                limit.unwrap_or_default()
            ));
            exit::CONFIG
        }
    }
}

#[cfg(target_os = "linux")]
fn stack_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Stack).current
}

/// Other systems give the first thread what a command needs.
#[cfg(not(target_os = "linux"))]
fn stack_limit() -> Option<u64> {
    None
}

/// Makes sure that so many descriptors, and so many threads, are to be had, before anything begins:
/// where none is left, libraries panic.
///
/// # Errors
/// The exit code: they are not, and it was said why.
pub fn with_descriptors(count: usize, tasks: usize) -> Result<(), u8> {
    threads(tasks).map_err(|error| {
        print_error(&format!(
            "cannot start {tasks} threads: {error}; raise the limit of this user's processes \
             (ulimit -u), or that of the container (pids)"
        ));
        exit::CONFIG
    })?;
    descriptors(count)
}

#[cfg(target_os = "linux")]
fn descriptors(count: usize) -> Result<(), u8> {
    use std::fs::File;

    use rustix::process::{Resource, getrlimit};

    let all: io::Result<Vec<File>> = (0..count).map(|_| File::open("/")).collect();
    all.map(drop).map_err(|error| {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        print_error(&format!(
            "cannot open {count} file descriptors: {error}; the limit of this process is {limit} \
             (ulimit -n): raise it"
        ));
        exit::CONFIG
    })
}

/// Elsewhere nobody who only looks runs out of them.
#[cfg(not(target_os = "linux"))]
fn descriptors(_: usize) -> Result<(), u8> {
    Ok(())
}

/// That all of them are to be had at the same time.
fn threads(count: usize) -> io::Result<()> {
    let mut started = Vec::new();
    for _ in 0..count {
        let (sender, ended) = mpsc::channel::<()>();
        // It ends when the other end is dropped.
        let wait = move || {
            let _ = ended.recv();
        };
        let thread = thread::Builder::new().stack_size(64 * 1024).spawn(wait)?;
        started.push((sender, thread));
    }
    for (sender, thread) in started {
        drop(sender);
        let _ = thread.join();
    }
    Ok(())
}

/// Runs a command. A panic of it is told in a line, and is an exit code of ours.
pub fn guarded(command: impl FnOnce() -> u8 + UnwindSafe) -> u8 {
    panic::set_hook(Box::new(tell));
    panic::catch_unwind(command).unwrap_or(exit::INTERNAL)
}

/// In the words of the standard library's hook, as far as a message may be shown.
fn tell(defect: &PanicHookInfo<'_>) {
    let what = defect.payload_as_str().unwrap_or("no message");
    let place = defect.location().map(|at| format!(" at {at}")).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    // A standard error that cannot be written to is no reason for a second one.
    let _ = writeln!(
        io::stderr(),
        "leasehold: this is a defect, please report it: thread {thread} panicked{place}: {}",
        printable(&redacted(what)).at_most(2_000)
    );
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _ = writeln!(io::stderr(), "{trace}");
    }
}
