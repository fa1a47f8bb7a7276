//! For programs without async: the same elector, whose driver has a thread of its own.
//!
//! What is guaranteed and what is not is that of [`crate`]. None of these may be called from within
//! an async runtime: they would block it, and panic.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let url = format!("file:{}", dir.path().join("nightly.lock").display());
//! use leasehold::blocking::Elector;
//!
//! let elector = Elector::open(&url, |builder| builder.identity("node-a"))?;
//! let held = elector.campaign()?; // waits until this candidate leads
//! if let Ok(token) = held.check() {
//!     // before every side effect; from any thread, no I/O
//!     println!("writing under token {token}");
//! }
//! assert!(held.resign()?); // false: not confirmed, the lease runs out
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use leasehold_core::{
    BootClock, Builder, Clock, Error, ErrorKind, LockBackend, Loss, Status, StopReason, Term,
};

/// A candidate. Clones are the same one; with the last of them and its terms its thread ends.
#[derive(Clone)]
pub struct Elector {
    elector: crate::Elector,
    thread: Arc<Thread>,
}

/// The unique owner of a term: see [`crate::Held`].
#[must_use = "dropping it ends the term"]
pub struct Held {
    held: crate::Held,
    thread: Arc<Thread>,
}

impl Elector {
    /// A candidate for the lock that `url` names.
    ///
    /// # Errors
    /// As [`connect`](crate::connect) and [`Builder::build`], and `Unavailable` if no thread is to
    /// be had.
    pub fn open(url: &str, choose: impl FnOnce(Builder) -> Builder) -> Result<Self, Error> {
        let thread = Thread::start()?;
        let lock = thread.wait(crate::connect(url))?;
        Self::on(thread, lock, choose)
    }

    /// A candidate for this lock.
    ///
    /// # Errors
    /// As [`Builder::build`], and `Unavailable` if no thread is to be had.
    pub fn new(
        lock: Arc<dyn LockBackend>,
        choose: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Error> {
        Self::on(Thread::start()?, lock, choose)
    }

    fn on(
        thread: Thread,
        lock: Arc<dyn LockBackend>,
        choose: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self, Error> {
        let entered = thread.handle.enter();
        let elector = choose(crate::Elector::builder(lock)).build()?;
        drop(entered);
        Ok(Self { elector, thread: Arc::new(thread) })
    }

    /// Waits until this candidate leads.
    ///
    /// # Errors
    /// As [`crate::Elector::campaign`].
    pub fn campaign(&self) -> Result<Held, Error> {
        let held = self.thread.wait(self.elector.campaign())?;
        Ok(Held { held, thread: self.thread.clone() })
    }

    /// The same, for no longer than `limit`; then `None`, and it contends no more.
    ///
    /// # Errors
    /// As [`crate::Elector::campaign`].
    pub fn campaign_for(&self, limit: Duration) -> Result<Option<Held>, Error> {
        let clock = BootClock::new();
        let end = clock.now() + limit;
        let held = self.thread.wait(async {
            tokio::select! {
                held = self.elector.campaign() => held.map(Some),
                () = clock.sleep_until(end) => Ok(None),
            }
        })?;
        Ok(held.map(|held| Held { held, thread: self.thread.clone() }))
    }

    /// What is known now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.elector.status()
    }

    /// Asks the work of the present term to stop: see [`wait_to_stop`](Held::wait_to_stop).
    pub fn step_down(&self) {
        self.elector.step_down();
    }

    /// See [`crate::Elector::pause`].
    pub fn pause(&self) {
        self.elector.pause();
    }

    /// See [`crate::Elector::resume`].
    pub fn resume(&self) {
        self.elector.resume();
    }

    /// Asks the work to stop, and ends this candidate once it has.
    pub fn shutdown(&self) {
        self.elector.shutdown();
    }
}

impl Held {
    /// Waits until the work should stop.
    #[must_use]
    pub fn wait_to_stop(&self) -> StopReason {
        self.thread.wait(self.held.stopped())
    }

    /// Waits until the term is over.
    #[must_use]
    pub fn wait_for_loss(&self) -> Loss {
        self.thread.wait(self.held.lost())
    }

    /// Gives the lock back: see [`crate::Held::resign`].
    ///
    /// # Errors
    /// `Stopped`: the elector has ended; the lease runs out.
    pub fn resign(self) -> Result<bool, Error> {
        self.thread.wait(self.held.resign())
    }
}

impl Deref for Held {
    type Target = Term;

    fn deref(&self) -> &Term {
        &self.held
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.fmt(f)
    }
}

impl fmt::Debug for Elector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.elector.fmt(f)
    }
}

/// Where the driver runs. Ends with this value.
struct Thread {
    handle: Handle,
    /// Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Thread {
    fn start() -> Result<Self, Error> {
        let failed = |error: io::Error| Error::new(ErrorKind::Unavailable, "start a thread", error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let drive = move || {
            // It is never sent, only dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("leasehold".to_owned()).spawn(drive).map_err(failed)?;
        Ok(Self { handle, _stop: stop })
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::MemoryLock;

    fn elector(lock: &MemoryLock, name: &str) -> Elector {
        Elector::new(Arc::new(lock.clone()), |builder| builder.identity(name)).unwrap()
    }

    #[test]
    fn one_leads_and_the_other_waits_without_a_runtime_anywhere() {
        let lock = MemoryLock::new("m");
        let (one, other) = (elector(&lock, "a"), elector(&lock, "b"));
        let held = one.campaign().unwrap();
        assert!(other.campaign_for(Duration::from_millis(50)).unwrap().is_none());
        let waiting = std::thread::spawn(move || other.campaign().unwrap().token());
        let token = held.token();
        one.step_down();
        assert_eq!(held.wait_to_stop(), StopReason::Requested);
        assert!(held.check().is_ok(), "it leads until it has stopped");
        assert!(held.resign().unwrap());
        assert!(waiting.join().unwrap() > token);
    }

    #[test]
    fn a_term_outlives_the_electors_handle() {
        let lock = MemoryLock::new("m");
        let held = elector(&lock, "a").campaign().unwrap();
        assert!(held.check().is_ok());
        assert!(held.resign().unwrap());
    }
}
