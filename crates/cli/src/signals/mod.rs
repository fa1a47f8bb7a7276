//! The signals that a command receives.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::Signals;
#[cfg(target_os = "linux")]
pub use linux::{Signals, name, unblock};

impl Signals {
    /// The number of the next one that asks to end. Dropping the future loses none.
    pub async fn ends(&mut self) -> u8 {
        loop {
            if let Request::Stop(number) | Request::Forward(number) = self.next().await {
                return number;
            }
        }
    }
}

/// As [`Signals::ends`]; never, where they could not be installed.
pub async fn ended(signals: &mut Option<Signals>) -> u8 {
    match signals {
        Some(signals) => signals.ends().await,
        None => std::future::pending().await,
    }
}

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
