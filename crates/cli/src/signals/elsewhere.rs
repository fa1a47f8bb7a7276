//! Other systems: Ctrl-C, for the commands that only look. Any other end of theirs harms nobody.

use std::io;

use super::Request;

/// The number of SIGINT.
const INTERRUPT: u8 = 2;

/// The signals this process handles from now on.
#[derive(Debug)]
pub struct Signals;

impl Signals {
    /// Handles them.
    ///
    /// # Errors
    /// None.
    pub fn install() -> io::Result<Self> {
        Ok(Self)
    }

    /// The next one. Dropping the future loses none.
    pub async fn next(&mut self) -> Request {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Request::Stop(INTERRUPT),
            // Without a handler the system ends this process.
            Err(_) => std::future::pending().await,
        }
    }
}
