//! Linux: `CLOCK_BOOTTIME`, and an alarm on that very clock, which rings at resume if its moment
//! passed during a suspend.

#![expect(clippy::disallowed_methods, reason = "this is the clock")]

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::time::Time;

/// Counts suspend, as that of the alarm must.
const CLOCK: ClockId = ClockId::Boottime;

pub(super) fn now() -> Time {
    let now = clock_gettime(CLOCK);
    let seconds = u64::try_from(now.tv_sec).expect("the boot clock starts at zero");
    let nanos = u64::try_from(now.tv_nsec).expect("nanoseconds are positive");
    Time(seconds * 1_000_000_000 + nanos)
}

pub(super) struct Alarm(OwnedFd);

impl Alarm {
    /// # Errors
    /// No descriptor is left, or this system has no such timer.
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC);
        timer.map(Self).map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("timerfd_create: {error}"))
        })
    }

    /// Rings at `at`, and no longer at the moment it was set to before.
    pub(super) fn arm(&self, at: Time) {
        let at = at.0.max(1); // zero would disarm
        let value = Timespec {
            tv_sec: i64::try_from(at / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(at % 1_000_000_000).expect("below a second"),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)
            .expect("an absolute time on our own timer is valid");
    }

    /// Returns when it rings. May return early.
    pub(super) fn wait(&self) {
        // An interrupted read only means that it returns early.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_and_alarm_count_suspend() {
        assert_eq!(CLOCK, ClockId::Boottime);
        let nanos = |at: Timespec| {
            u64::try_from(at.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(at.tv_nsec).unwrap()
        };
        let (before, now, after) = (clock_gettime(CLOCK), now(), clock_gettime(CLOCK));
        assert!((nanos(before)..=nanos(after)).contains(&now.0));

        let alarm = Alarm::new().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&alarm.0);
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        // CLOCK_BOOTTIME is 7.
        assert!(info.lines().any(|line| line == "clockid: 7"), "{info}");
    }
}
