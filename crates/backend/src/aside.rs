//! Files that may hang, read where they stop nobody.
//!
//! A file on a network mount can hang for as long as its server is away. On a thread of the runtime
//! it would stop renewals with it. Which file does so nobody knows beforehand, so each is read
//! aside.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::read_small_file;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::failure::Failure;

/// How long a file may take: shorter than a request at the default timing, so that its error names
/// the file.
const LIMIT: Duration = Duration::from_millis(1500);

/// So many threads may hang before others wait for one. A file that hung and was replaced is read
/// by the next.
const PLACES: usize = 4;

/// Enough for a parser of configuration.
const STACK: usize = 1 << 20;

/// A few threads for what may hang. Clones share them, so that a file that hangs holds no more than
/// these, and not one for every attempt to read it.
#[derive(Clone, Debug)]
pub struct Aside {
    place: Arc<Semaphore>,
    limit: Duration,
}

impl Default for Aside {
    fn default() -> Self {
        Self::new(LIMIT)
    }
}

impl Aside {
    /// With a limit of its own for all that is run; [`default`](Self::default) waits for
    /// 1.5 seconds.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { place: Arc::new(Semaphore::new(PLACES)), limit }
    }

    /// The result of `work`, from a thread of its own. `what` names it in errors: `"reading
    /// /run/token"`. The runtime around the caller is around `work`, too. Nothing stops a thread:
    /// dropping the future does not either.
    ///
    /// # Errors
    /// `Unavailable`: it did not end in time, too many earlier ones still run, or no thread could
    /// be had.
    pub async fn run<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let running = async {
            let place = self.place.clone().acquire_owned().await.expect("nobody closes it");
            let (tell, told) = oneshot::channel();
            let runtime = Handle::try_current().ok();
            let thread = std::thread::Builder::new().name("leasehold-aside".to_owned());
            let started = thread.stack_size(STACK).spawn(move || {
                let _around = runtime.as_ref().map(Handle::enter);
                let done = work();
                drop(place);
                let _ = tell.send(done);
            });
            if let Err(error) = started {
                return Err(Failure::unavailable(format!("{what}: no thread can be had: {error}"))
                    .with_cure("raise the limit of processes and threads"));
            }
            told.await.map_err(|_panicked| Failure::unavailable(format!("{what} failed")))
        };
        timeout(self.limit, running).await.unwrap_or_else(|_elapsed| {
            let text = format!("{what} did not end within {:?}", self.limit);
            Err(Failure::unavailable(text).with_cure("look at the mount that the file is on"))
        })
    }

    /// The bytes of a small file: see [`read_small_file`]. `name` is how errors call it, for a path
    /// may be a secret that was put in the wrong place.
    ///
    /// # Errors
    /// `Invalid`: it cannot be read, or is none of configuration. `Unavailable`: not within the
    /// limit.
    pub async fn read(&self, name: &str, path: &Path) -> Result<Vec<u8>, Failure> {
        let file = PathBuf::from(path);
        let read = self.run(&format!("reading {name}"), move || read_small_file(&file)).await?;
        read.map_err(|error| Failure::invalid(format!("cannot read {name}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Instant;

    use leasehold_core::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn what_hangs_stops_nobody_and_holds_few_threads() {
        let aside = Aside::new(Duration::from_millis(100));
        let begun = Arc::new(AtomicUsize::new(0));
        let mut ends = Vec::new();
        for _ in 0..PLACES + 3 {
            let (end, hanging) = mpsc::channel::<()>();
            ends.push(end);
            let (counted, since) = (begun.clone(), Instant::now());
            let hung = aside.run("reading x", move || {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = hanging.recv();
            });
            // This runtime has one thread, which goes on.
            let (failed, ()) = tokio::join!(hung, tokio::task::yield_now());
            let failure = failed.unwrap_err();
            assert_eq!(failure.kind, ErrorKind::Unavailable);
            assert!(failure.text.contains("reading x did not end within 100ms"), "{failure}");
            assert!(since.elapsed() < Duration::from_secs(5));
        }
        assert_eq!(begun.load(Ordering::SeqCst), PLACES, "the others waited for these");
        drop(ends);
        let patient = Aside { limit: Duration::from_secs(60), ..aside };
        assert_eq!(patient.run("adding", || 1 + 1).await, Ok(2), "and it goes on after it");
    }

    #[tokio::test]
    async fn a_file_is_read_within_bounds() {
        let aside = Aside::default();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "s3cret").unwrap();
        assert_eq!(aside.read("it", &file).await.unwrap(), b"s3cret");
        let missing = aside.read("it", Path::new("/no/such/file")).await.unwrap_err();
        assert_eq!(missing.kind, ErrorKind::Invalid);
        assert!(missing.text.contains("cannot read it: No such file"), "{missing}");
        assert!(aside.read("it", Path::new("/dev/zero")).await.is_err());
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let refused = aside.read("it", &pipe).await.unwrap_err();
        assert!(refused.text.contains("not a regular file"), "{refused}");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let failed = Aside::default().run("parsing x", || -> u32 { panic!("a bug") }).await;
        assert_eq!(failed.unwrap_err().text, "parsing x failed");
    }
}
