//! The signals that a command receives.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::Signals;
#[cfg(target_os = "linux")]
pub use linux::{Signals, name, unblock};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Stop: let CMD drain. SIGINT and SIGTERM.
    Stop(u8),
    /// Whatever CMD makes of it; a candidate that waits ends. SIGHUP and SIGQUIT.
    Forward(u8),
    /// Whatever CMD makes of it; a candidate that waits goes on. SIGUSR1, SIGUSR2 and SIGWINCH.
    Tell(u8),
    /// A child has ended. SIGCHLD: also so that it is not ignored, which would swallow exit codes.
    Reap,
}
