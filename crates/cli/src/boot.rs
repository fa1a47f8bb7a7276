//! The boot clock without a runtime, for those who poll.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

pub use leasehold::timing::Time;
use leasehold::timing::{BootClock, Clock};

/// Now, on the clock that counts suspend and that nobody can step.
#[must_use]
pub fn now() -> Time {
    BootClock::new().now()
}

/// A timer on the boot clock, as a descriptor that becomes readable.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
}

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// The kernel gave no timer.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { fd: timerfd_create(TimerfdClockId::Boottime, flags)? })
    }

    /// Makes the descriptor readable once it is `at` or later; replaces what was armed before.
    ///
    /// # Errors
    /// The kernel refused the time.
    pub fn arm(&self, at: Time) -> io::Result<()> {
        // An all-zero time would disarm, and a moment that never comes disarms.
        let at = if at == Time::NEVER { 0 } else { at.0.max(1) };
        let overflow = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let value = Timespec {
            tv_sec: i64::try_from(at / 1_000_000_000).map_err(overflow)?,
            tv_nsec: i64::try_from(at % 1_000_000_000).map_err(overflow)?,
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
