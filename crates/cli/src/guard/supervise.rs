//! The supervisor's side of the guard: starts it, keeps it informed, and stands in for it when it
//! fails.
//!
//! A thread of its own does this, so that a busy runtime delays neither a deadline nor a kill.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use leasehold_guard::{Instants, Order};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{getpid, set_child_subreaper};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use super::asks::Ask;
pub use super::asks::{News, Spec};
use super::watch::{Ends, Thread};

/// CMD under guard. Dropping it makes the guard kill everything, unseen.
#[derive(Debug)]
pub struct Guarded {
    guard: u32,
    asks: Sender<Ask>,
    orphans: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    events: UnboundedReceiver<News>,
}

impl Guarded {
    /// Starts the guard, and CMD with it. This process becomes a child subreaper. The guard holds
    /// `liveness` open until everything is dead. The caller handles SIGCHLD: ignored, it would
    /// swallow exit codes. On a busy host it takes its time, in which renewals go on.
    ///
    /// # Errors
    /// The guard could not be started; nothing runs.
    pub async fn start(
        spec: &Spec,
        liveness: Option<OwnedFd>,
        instants: Instants,
    ) -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (asks, asked) = channel();
        let (report, events) = unbounded_channel();
        let orphans = Arc::new(AtomicBool::new(false));
        let ends = Ends { asked, orphans: orphans.clone(), wake: wake.clone(), report };
        let (tell, told) = oneshot::channel();
        let spec = spec.clone();
        // The thread first: once CMD runs nothing may fail.
        thread::Builder::new().name("guard-watch".to_owned()).spawn(move || {
            let started = Thread::start(&spec, liveness, instants, ends);
            let (answer, watch) = match started {
                Ok(watch) => (Ok(watch.guard_pid()), Some(watch)),
                Err(failure) => (Err(failure), None),
            };
            // If the starter is gone its end of the orders is too, which kills.
            let _ = tell.send(answer);
            if let Some(watch) = watch {
                watch.run();
            }
        })?;
        let guard = told.await.unwrap_or_else(|_gone| Err(io::Error::other("the thread died")))?;
        Ok(Self { guard, asks, orphans, wake, events })
    }

    /// The guard's pid.
    #[must_use]
    pub fn guard(&self) -> u32 {
        self.guard
    }

    /// A renewal was acknowledged, or the time was cut short: these instants hold now.
    pub fn extend(&self, instants: Instants) {
        self.ask(Ask::Extend(instants));
    }

    /// Asks CMD to stop: SIGTERM to its group.
    pub fn terminate(&self) {
        self.ask(Ask::Order(Order::Terminate));
    }

    /// Forwards a signal to CMD's group.
    pub fn signal(&self, number: u8) {
        self.ask(Ask::Order(Order::Signal(number)));
    }

    /// Kills everything now, by the guard or without it.
    pub fn kill(&self) {
        self.ask(Ask::Order(Order::Kill));
    }

    /// What happens next; `None` after [`News::Ended`]. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<News> {
        self.events.recv().await
    }

    /// Children have ended: those of others, which ended up with this process because it is a
    /// subreaper, are reaped.
    pub fn reap_orphans(&self) {
        self.orphans.store(true, Ordering::Release);
        wake(&self.wake);
    }

    /// Renewals have stopped because something cannot be killed, and the user asks to end without
    /// waiting for the lease to be over. Nothing is released. Where the guard is lost it has no
    /// effect: nobody else would keep the liveness lock until then.
    pub fn leave(&self) {
        self.ask(Ask::Leave);
    }

    fn ask(&self, ask: Ask) {
        // Nobody listens once everything is dead.
        let _ = self.asks.send(ask);
        wake(&self.wake);
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.ask(Ask::Abandon);
    }
}

fn wake(eventfd: &OwnedFd) {
    // It can only be full, and then the wake-up is already due.
    let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}
