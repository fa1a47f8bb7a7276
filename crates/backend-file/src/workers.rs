//! The threads on which file operations wait for the disk.
//!
//! All locks of a process share them. They are not the runtime's: tokio panics where the system
//! refuses its first blocking thread, and a candidate must only say so and go on once there is
//! room. A disk that hangs keeps the threads of requests that were given up, so each file system
//! has a number of places that is not exceeded.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use leasehold_backend::Failure;
use leasehold_core::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How many operations on one file system run at a time, whatever the number of locks.
const PLACES: usize = 16;

/// An idle thread ends after this time if another one is idle, too.
const IDLE: Duration = Duration::from_secs(10);

/// Enough for the deepest JSON that is parsed.
const STACK: usize = 512 * 1024;

const NO_THREAD: &str = "raise the limit of processes and threads (ulimit -u, TasksMax= of the \
                         systemd unit, the container's limit of pids), or end some";

/// The threads of this process, while a lock uses them.
static SHARED: Mutex<Weak<Workers>> = Mutex::new(Weak::new());

type Job = Box<dyn FnOnce() + Send>;

/// A lock's access to the threads.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    workers: Arc<Workers>,
    places: Arc<Semaphore>,
}

/// Threads that end when nobody uses them any more.
struct Workers {
    crew: Arc<Crew>,
    gates: Mutex<BTreeMap<u64, Weak<Semaphore>>>,
}

#[derive(Default)]
struct Crew {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    over: bool,
}

impl Gate {
    /// The gate of the file system with this device number.
    pub(crate) fn of(device: u64) -> Self {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = shared.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(Workers::new());
            *shared = Arc::downgrade(&fresh);
            fresh
        });
        drop(shared);
        let places = workers.places(device);
        Self { workers, places }
    }

    /// Threads and places that nothing else uses.
    #[cfg(test)]
    pub(crate) fn of_its_own(places: usize) -> Self {
        Self { workers: Arc::new(Workers::new()), places: Arc::new(Semaphore::new(places)) }
    }

    /// Runs file operations where they stop nobody else. Once a thread has begun, dropping the
    /// future does not stop it; what was given up before that is never begun.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.places.clone().acquire_owned().await.expect("nobody closes the gate");
        let (answer, answered) = oneshot::channel();
        self.workers.crew.run(job(place, answer, work)).map_err(|error| {
            let failure = Failure::unavailable(format!("start a thread: {error}"));
            failure.with_cure(NO_THREAD).during(operation)
        })?;
        match answered.await {
            Ok(Ok(result)) => result.map_err(|failure| failure.during(operation)),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_gone) => Err(Error::new(ErrorKind::Stopped, operation, "the thread has ended")),
        }
    }
}

type Answer<T> = oneshot::Sender<Result<T, Box<dyn Any + Send>>>;

fn job<T: Send + 'static>(
    place: OwnedSemaphorePermit,
    answer: Answer<Result<T, Failure>>,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Job {
    Box::new(move || {
        if answer.is_closed() {
            return;
        }
        let done = catch_unwind(AssertUnwindSafe(work));
        drop(place);
        let _ = answer.send(done);
    })
}

impl Workers {
    fn new() -> Self {
        Self { crew: Arc::default(), gates: Mutex::default() }
    }

    fn places(&self, device: u64) -> Arc<Semaphore> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| gate.strong_count() > 0);
        gates.get(&device).and_then(Weak::upgrade).unwrap_or_else(|| {
            let fresh = Arc::new(Semaphore::new(PLACES));
            gates.insert(device, Arc::downgrade(&fresh));
            fresh
        })
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads", &self.crew.lock().threads).finish()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.crew.lock().over = true;
        self.crew.wake.notify_all();
    }
}

impl Crew {
    /// Has a thread do this. Fails if there is none and none can be started; while others work, one
    /// of them does it.
    fn run(self: &Arc<Self>, job: Job) -> io::Result<()> {
        let mut state = self.lock();
        state.queue.push_back(job);
        if state.idle >= state.queue.len() {
            self.wake.notify_one();
            return Ok(());
        }
        let crew = self.clone();
        let thread = std::thread::Builder::new().name("leasehold-file".to_owned());
        match thread.stack_size(STACK).spawn(move || crew.work()) {
            Ok(_) => state.threads += 1,
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                let job = state.queue.pop_back();
                drop(state);
                drop(job);
                return Err(error);
            }
        }
        Ok(())
    }

    fn work(&self) {
        let mut state = self.lock();
        let mut waited = false;
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                job();
                (state, waited) = (self.lock(), false);
                continue;
            }
            // The last one that is idle stays: another might not be had when it is needed.
            if state.over || (waited && state.idle > 0) {
                state.threads -= 1;
                return;
            }
            let alone = state.idle == 0;
            state.idle += 1;
            (state, waited) = self.sleep(state, alone);
            state.idle -= 1;
        }
    }

    /// Until somebody wakes it, or for a while; whether that was over.
    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State>,
        alone: bool,
    ) -> (MutexGuard<'a, State>, bool) {
        if alone {
            return (self.wake.wait(state).unwrap_or_else(PoisonError::into_inner), false);
        }
        let slept = self.wake.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
        (slept.0, slept.1.timed_out())
    }

    /// No code panics while it holds this.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const READ: &str = "read the lock";

    #[tokio::test]
    async fn a_disk_that_hangs_keeps_no_more_threads_than_the_gate_has_places() {
        let gate = Gate::of_its_own(2);
        let started = Arc::new(AtomicUsize::new(0));
        let (thaw, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        for _ in 0..10 {
            let (counted, hang) = (started.clone(), hang.clone());
            let job = gate.blocking(READ, move || {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = hang.lock().unwrap().recv();
                Ok(())
            });
            tokio::select! {
                _ = job => panic!("it hangs"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
        assert!(started.load(Ordering::SeqCst) <= 2);
        assert!(gate.workers.crew.lock().threads <= 2);
        drop(thaw);
        assert!(gate.blocking(READ, || Ok(7)).await.is_ok_and(|seven| seven == 7));
    }

    #[tokio::test]
    async fn what_was_given_up_before_a_thread_had_time_is_never_begun() {
        let gate = Gate::of_its_own(8);
        let (free, busy) = mpsc::channel::<()>();
        let occupied = gate.blocking(READ, move || {
            let _ = busy.recv();
            Ok(())
        });
        let mut occupied = Box::pin(occupied);
        assert!(futures_util::poll!(&mut occupied).is_pending());
        // As if no second thread could be had: the first one comes round.
        let begun = Arc::new(AtomicUsize::new(0));
        let (answer, answered) = oneshot::channel();
        let place = gate.places.clone().acquire_owned().await.unwrap();
        let counted = begun.clone();
        let late = job(place, answer, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        gate.workers.crew.lock().queue.push_back(late);
        drop(answered);
        drop(free);
        occupied.await.unwrap();
        gate.blocking(READ, || Ok(())).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn locks_share_threads_and_places_by_their_file_system() {
        let (one, other, elsewhere) =
            (Gate::of(u64::MAX), Gate::of(u64::MAX), Gate::of(u64::MAX - 1));
        assert!(Arc::ptr_eq(&one.places, &other.places));
        assert!(!Arc::ptr_eq(&one.places, &elsewhere.places));
        assert!(Arc::ptr_eq(&one.workers, &elsewhere.workers));
    }

    #[tokio::test]
    async fn one_idle_thread_serves_one_after_another_and_ends_with_its_users() {
        let gate = Gate::of_its_own(8);
        let crew = gate.workers.crew.clone();
        let first = gate.blocking(READ, || Ok(std::thread::current().id())).await.unwrap();
        while crew.lock().idle == 0 {
            tokio::task::yield_now().await;
        }
        let second = gate.blocking(READ, || Ok(std::thread::current().id())).await.unwrap();
        assert_eq!(first, second);
        drop(gate);
        while crew.lock().threads > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    #[should_panic(expected = "a bug")]
    async fn a_panic_reaches_the_caller() {
        let gate = Gate::of_its_own(1);
        let _ = gate.blocking(READ, || -> Result<(), Failure> { panic!("a bug") }).await;
    }
}
