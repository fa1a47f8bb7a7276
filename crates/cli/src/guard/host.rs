//! What the host must offer, checked before the lock is contended for: a candidate that could take
//! the lock and then not guard CMD would be worse than none.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open, set_child_subreaper};

use super::cgroup::{Group, Mode};
use super::{SUBCOMMAND, procs, wire};
use crate::boot::{Timer, now};

/// The argument with which the guard checks itself, says what is missing and ends.
pub(super) const CHECK: &str = "check";

/// What the guard says if nothing is missing.
const FINE: &str = "fine";

/// How long starting a guard may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What refuses a call that this kernel has.
const REFUSED: &str = "it needs Linux 5.3 or later, and a container engine whose seccomp profile \
    allows this call: update it, or allow the call";

/// What to do where something has run out.
const SCARCE: &str = "raise the limits of this user and of the container (ulimit -n, -u, -l; \
    pids.max, memory.max; fs.file-max)";

/// What to do where a call failed so.
fn cure(error: &io::Error) -> &'static str {
    let scarce = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    let scarce = scarce.map(|errno| Some(errno.raw_os_error()));
    if scarce.contains(&error.raw_os_error()) { SCARCE } else { REFUSED }
}

/// What to do about `/proc`.
const PROC: &str = "mount /proc for this pid namespace (unshare --mount-proc, bwrap --proc /proc), \
    and let this user read it";

/// CMD cannot be guarded on this host.
#[derive(Debug)]
pub struct Unfit {
    what: String,
    why: String,
    cure: &'static str,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, why, cure } = self;
        write!(f, "CMD cannot be guarded on this host: {what}: {why}; {cure}")
    }
}

/// Checks that this process and a guard, which is started for it, have what they need. This process
/// becomes a child subreaper.
///
/// # Errors
/// Something is missing.
pub fn check(program: &Path, cgroup: Mode) -> Result<(), Unfit> {
    check_here()?;
    if cgroup == Mode::Require {
        let group = Group::create().map_err(|error| Unfit {
            what: "a control group of its own for CMD".to_owned(),
            why: error.to_string(),
            cure: "run it in a delegated scope (systemd-run --user --scope -p Delegate=yes), as \
                root, or with --cgroup auto; it needs cgroup v2 and Linux 5.14",
        })?;
        group.remove();
    }
    let unfit = |error: &io::Error| Unfit {
        what: format!("starting the guard ({})", program.display()),
        why: error.to_string(),
        cure: "it needs a process, some memory and a few descriptors more (ulimit -u, -n; \
            pids.max), and /proc/self/exe must be executable",
    };
    let mut command = Command::new(program);
    command.arg0("leasehold").args([SUBCOMMAND, CHECK]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut guard = command.spawn().map_err(|error| unfit(&error))?;
    let said = hear(&mut guard);
    if said.is_err() {
        let _ = guard.kill();
    }
    // Where SIGCHLD is ignored there is nobody to wait for.
    let ended = guard.wait();
    let said = said.map_err(|error| unfit(&error))?;
    if said.trim() == FINE {
        return Ok(());
    }
    let mut parts = said.trim().splitn(3, '\t');
    let (Some(what), Some(why), Some(advice)) = (parts.next(), parts.next(), parts.next()) else {
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        return Err(unfit(&io::Error::other(format!("it ended at once: {how}"))));
    };
    let cures = [PROC, SCARCE, REFUSED];
    let cure = cures.into_iter().find(|cure| *cure == advice).unwrap_or(REFUSED);
    Err(Unfit { what: format!("in the guard, {what}"), why: why.to_owned(), cure })
}

/// What it says before it ends.
fn hear(guard: &mut Child) -> io::Result<String> {
    let Some(mut out) = guard.stdout.take() else { return Ok(String::new()) };
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    if poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&patience))? == 0 {
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    let mut said = [0; 512];
    let length = out.read(&mut said)?;
    Ok(String::from_utf8_lossy(&said[..length]).into_owned())
}

/// The guard's part of the check.
pub(super) fn check_guard() -> ExitCode {
    match check_here() {
        Ok(()) => {
            let _ = writeln!(io::stdout(), "{FINE}");
            ExitCode::SUCCESS
        }
        Err(Unfit { what, why, cure }) => {
            let _ = writeln!(io::stdout(), "{what}\t{why}\t{cure}");
            ExitCode::FAILURE
        }
    }
}

fn check_here() -> Result<(), Unfit> {
    let calls: [(&str, &dyn Fn() -> io::Result<()>); 10] = [
        ("pidfd_open", &|| Ok(pidfd_open(getpid(), PidfdFlags::empty()).map(drop)?)),
        ("memfd_create", &|| Ok(memfd_create(c"leasehold-check", MemfdFlags::CLOEXEC).map(drop)?)),
        ("timerfd_create", &|| Timer::new().map(drop)),
        ("timerfd_settime", &|| Timer::new()?.arm(now())),
        ("epoll_create1", &|| Ok(epoll::create(epoll::CreateFlags::CLOEXEC).map(drop)?)),
        ("waitid", &procs::can_wait),
        ("eventfd2", &|| Ok(eventfd(0, EventfdFlags::CLOEXEC).map(drop)?)),
        ("signalfd4", &|| {
            Ok(SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_CLOEXEC).map(drop)?)
        }),
        ("prctl(PR_SET_CHILD_SUBREAPER)", &|| Ok(set_child_subreaper(Some(getpid()))?)),
        ("socketpair", &|| Ok(wire::pair().map(drop)?)),
    ];
    first_missing(&calls)?;
    let unfit = |why: String| Unfit { what: "/proc".to_owned(), why, cure: PROC };
    proc_is_ours().map_err(unfit)?;
    let scarce = |error: &io::Error| Some(cure(error)).filter(|cure| *cure == SCARCE);
    procs::own_pids()
        .map(drop)
        .map_err(|error| Unfit { cure: scarce(&error).unwrap_or(PROC), ..unfit(error.to_string()) })
}

fn first_missing(calls: &[(&str, &dyn Fn() -> io::Result<()>)]) -> Result<(), Unfit> {
    for (name, call) in calls {
        call().map_err(|error| Unfit {
            what: (*name).to_owned(),
            why: error.to_string(),
            cure: cure(&error),
        })?;
    }
    Ok(())
}

/// Whether `/proc` counts processes as this process's own calls do. That of another pid namespace
/// shows other numbers.
fn proc_is_ours() -> Result<(), String> {
    let own = getpid().as_raw_pid();
    let link = fs::read_link("/proc/self").map_err(|error| format!("/proc/self: {error}"))?;
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("/proc/self/status: {error}"))?;
    belongs_to(own, &link, &status)
}

fn belongs_to(own: i32, link: &Path, status: &str) -> Result<(), String> {
    let foreign = |shown: &str| {
        format!("it is of another pid namespace: it shows this process, {own}, as {shown}")
    };
    if link.to_str() != Some(own.to_string().as_str()) {
        return Err(foreign(&link.display().to_string()));
    }
    // A number for each namespace from that of /proc down to this process's: one, if they are the
    // same.
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).map(str::trim);
    match numbers {
        Some(numbers) if numbers == own.to_string() => Ok(()),
        Some(numbers) => Err(foreign(numbers)),
        None => Err("/proc/self/status has no NSpid".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_will_do() {
        check_here().unwrap();
    }

    #[test]
    fn the_first_call_that_is_refused_is_named_and_what_to_do() {
        let refused = || Err(io::Error::from_raw_os_error(38));
        let calls: [(&str, &dyn Fn() -> io::Result<()>); 3] =
            [("fine", &|| Ok(())), ("memfd_create", &refused), ("after_it", &refused)];
        let text = first_missing(&calls).unwrap_err().to_string();
        assert!(text.contains("memfd_create") && text.contains("seccomp"), "{text}");
        assert!(!text.contains("after_it"), "{text}");
    }

    #[test]
    fn what_has_run_out_is_cured_by_a_limit_and_not_by_another_kernel() {
        for errno in [23, 24, 11, 12] {
            let scarce = || Err(io::Error::from_raw_os_error(errno));
            let text = first_missing(&[("eventfd2", &scarce)]).unwrap_err().to_string();
            assert!(text.contains("ulimit -n") && !text.contains("Linux 5.3"), "{text}");
        }
    }

    #[test]
    fn a_proc_of_another_namespace_is_told_even_if_the_numbers_agree() {
        let status = |numbers: &str| format!("Name:\tx\nNSpid:\t{numbers}\nNSpgid:\t1\n");
        belongs_to(7, Path::new("7"), &status("7")).unwrap();
        for (link, numbers) in [("4711", "4711\t7"), ("7", "7\t7"), ("thread-self", "7"), ("7", "")]
        {
            let error = belongs_to(7, Path::new(link), &status(numbers)).unwrap_err();
            assert!(error.contains("another pid namespace"), "{error}");
        }
        belongs_to(7, Path::new("7"), "Name:\tx\n").unwrap_err();
    }
}
