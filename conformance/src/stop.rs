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

    /// Hears signals in a thread of its own: the first ends the run, and the second the process.
    /// Without it the first would end the process, and what the cases made would stay. `listen`
    /// gives what waits for the next signal.
    pub fn obey<L: AsyncFnMut() -> u8>(&self, listen: impl FnOnce() -> Option<L> + Send + 'static) {
        let stop = self.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Some(mut next) = listen() else { return };
                loop {
                    let signal = next().await;
                    if !stop.ask(signal) {
                        std::process::exit(i32::from(128_u8.saturating_add(signal)));
                    }
                }
            });
        });
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
