//! How a run is asked to end before its cases do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Asks a run to end early. Clones ask the same run.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<Option<Asked>>>);

#[derive(Clone, Copy, Debug)]
struct Asked {
    signal: u8,
    at: Instant,
}

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Stop {
    /// Asks, because this signal came. Whether nobody had asked before.
    pub fn ask(&self, signal: u8) -> bool {
        self.0.send_if_modified(|asked| match asked {
            Some(_) => false,
            None => {
                *asked = Some(Asked { signal, at: Instant::now() });
                true
            }
        })
    }

    /// The signal for which it was asked.
    #[must_use]
    pub fn asked(&self) -> Option<u8> {
        self.0.borrow().map(|asked| asked.signal)
    }

    /// Whether it was asked so long ago.
    pub(crate) fn asked_before(&self, patience: Duration) -> bool {
        self.0.borrow().is_some_and(|asked| asked.at.elapsed() >= patience)
    }

    /// Resolves once it was asked.
    pub(crate) async fn wait(&self) {
        let mut asked = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = asked.wait_for(Option::is_some).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_counts() {
        let stop = Stop::default();
        assert_eq!(stop.asked(), None);
        assert!(!stop.asked_before(Duration::ZERO));
        let other = stop.clone();
        assert!(other.ask(2) && !other.ask(15));
        stop.wait().await;
        assert_eq!(stop.asked(), Some(2));
        assert!(stop.asked_before(Duration::ZERO));
    }
}
