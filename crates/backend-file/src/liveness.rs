//! The liveness files: how others learn that a holder's process is gone.
//!
//! `PATH.<incarnation>.alive` is locked (see `alive.rs`) before any record names that incarnation.
//! The kernel frees the lock when the last descriptor of that open file is closed, so at the latest
//! when the last process that has one ends. A file that is not locked therefore belongs to somebody
//! who is gone; a missing or unreadable file proves nothing.
//!
//! The file gets its name when it is locked already, and a new one for every incarnation, so that
//! nobody who probes, or is stopped while probing, is ever in its holder's way.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_backend::{Failure, random};
use leasehold_core::{Clock, ErrorKind, Incarnation, Time};
use rustix::io::Errno;

use crate::alive;
use crate::disk::{self, Directory, Disk};
use crate::failure;
use crate::place::Place;

/// How many files are tried before a term begins: somebody may lock a new one faster than its
/// maker.
const TRIES: u32 = 16;

/// The liveness files that one backend holds.
#[derive(Debug)]
pub(crate) struct Liveness {
    place: Place,
    clock: Arc<dyn Clock>,
    held: Mutex<BTreeMap<Incarnation, Alive>>,
}

#[derive(Debug)]
struct Alive {
    file: File,
    /// Until then the work of an acknowledged write may run.
    until: Option<Time>,
    /// How many writes have relied on the file: a late release must not free it under a newer term.
    uses: u64,
}

/// What a liveness file had been used for when a release of it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(u64);

impl Liveness {
    pub(crate) fn new(place: Place, clock: Arc<dyn Clock>) -> Self {
        Self { place, clock, held: Mutex::default() }
    }

    /// Has the file locked. To be called before every write that begins a term of this incarnation.
    /// The ticket of a file that was not held before.
    pub(crate) fn hold(
        &self,
        disk: &dyn Disk,
        incarnation: Incarnation,
    ) -> Result<Option<Ticket>, Failure> {
        let (mut held, now) = (self.lock(), self.clock.now());
        // Other electors' terms whose lease is over: nothing of them may run any more.
        held.retain(|other, alive| {
            *other == incarnation || alive.until.is_none_or(|until| now < until)
        });
        if use_of(&mut held, incarnation) {
            return Ok(None);
        }
        let file = self.make(disk, incarnation)?;
        held.insert(incarnation, Alive { file, until: None, uses: 1 });
        Ok(Some(Ticket(1)))
    }

    /// A locked file with the name of the incarnation. Nothing else is left, whatever fails.
    fn make(&self, disk: &dyn Disk, incarnation: Incarnation) -> Result<File, Failure> {
        let name = self.place.alive(incarnation);
        let mut tries = 0;
        loop {
            let scratch = self.place.scratch(random()?);
            let failed =
                |step, errno| failure::io(step, &self.place.directory.join(&scratch), errno);
            let file =
                disk.create(&scratch, alive::MODE).map_err(|errno| failed("create", errno))?;
            let made = alive::lock(&file).map_err(|errno| ("lock", errno)).and_then(|()| {
                disk.write(&scratch, &file, alive::MARK).map_err(|errno| ("write", errno))?;
                disk.rename(&scratch, &name).map_err(|errno| ("rename", errno))
            });
            let Err((step, errno)) = made else { return Ok(file) };
            let _ = disk.unlink(&scratch);
            tries += 1;
            // A reader was faster. It must be so each time to keep anybody from a term.
            if !(step == "lock" && errno == Errno::AGAIN && tries < TRIES) {
                return Err(failed(step, errno));
            }
        }
    }

    /// A write that names the incarnation is to begin: if its file is ours, no earlier release may
    /// free it.
    pub(crate) fn rely(&self, incarnation: Incarnation) {
        use_of(&mut self.lock(), incarnation);
    }

    /// A write that names the incarnation was acknowledged: its work may run until then.
    pub(crate) fn acknowledged(&self, incarnation: Incarnation, until: Time) {
        if let Some(alive) = self.lock().get_mut(&incarnation) {
            alive.until = alive.until.max(Some(until));
        }
    }

    /// To be drawn before a release is written.
    pub(crate) fn ticket(&self, incarnation: Incarnation) -> Option<Ticket> {
        self.lock().get(&incarnation).map(|alive| Ticket(alive.uses))
    }

    /// A release was written: nothing of the term runs. Does nothing if a write has relied on the
    /// file since the ticket was drawn (the release was given up by its caller, and another term
    /// has begun).
    pub(crate) fn released(&self, disk: &dyn Disk, incarnation: Incarnation, ticket: Ticket) {
        let mut held = self.lock();
        if held.get(&incarnation).is_some_and(|alive| alive.uses == ticket.0)
            && let Some(alive) = held.remove(&incarnation)
        {
            self.remove(disk, incarnation, &alive);
        }
    }

    /// Another descriptor of the locked file; the lock lasts until both are closed.
    pub(crate) fn descriptor(&self, incarnation: Incarnation) -> Result<Option<OwnedFd>, Failure> {
        let copied = self.lock().get(&incarnation).map(|alive| alive.file.try_clone()).transpose();
        let copied = copied.map_err(|error| {
            Failure::new(ErrorKind::Unavailable, format!("copy the liveness descriptor: {error}"))
        })?;
        Ok(copied.map(OwnedFd::from))
    }

    /// Removes the name, if it still is this file's. Only while no record names the incarnation.
    fn remove(&self, disk: &dyn Disk, incarnation: Incarnation, alive: &Alive) {
        let name = self.place.alive(incarnation);
        if let (Ok(ours), Ok(Some(there))) =
            (disk::identity(&alive.file), disk.directory().identity(&name))
            && ours == there
        {
            let _ = disk.unlink(&name);
        }
    }

    /// No code panics while it holds this.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Incarnation, Alive>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn use_of(held: &mut BTreeMap<Incarnation, Alive>, incarnation: Incarnation) -> bool {
    let found = held.get_mut(&incarnation);
    found.map(|alive| alive.uses += 1).is_some()
}

impl Drop for Liveness {
    /// A term that was not released may still have work running: its file stays locked until the
    /// lease of its last acknowledged write is over, or the process ends. The name stays, so that
    /// others see it come free.
    fn drop(&mut self) {
        let now = self.clock.now();
        let mut kept = Vec::new();
        for (incarnation, alive) in std::mem::take(&mut *self.lock()) {
            match alive.until {
                Some(until) if now < until => kept.push((until, alive.file)),
                Some(_) => {}
                None => {
                    if let Ok(directory) = Directory::open(&self.place.directory) {
                        self.remove(&directory, incarnation, &alive);
                    }
                }
            }
        }
        if !kept.is_empty() {
            linger(self.clock.clone(), kept);
        }
    }
}

/// Keeps files open until their moments, on a thread that outlives the runtime.
fn linger(clock: Arc<dyn Clock>, mut kept: Vec<(Time, File)>) {
    let kept = Arc::new(Mutex::new({
        kept.sort_by_key(|(until, _)| *until);
        kept
    }));
    let ours = kept.clone();
    let thread =
        std::thread::Builder::new().name("leasehold-file".to_owned()).stack_size(64 * 1024);
    let started = thread.spawn(move || {
        loop {
            let mut kept = ours.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock.now();
            kept.retain(|(until, _)| now < *until);
            let Some((next, _)) = kept.first() else {
                return;
            };
            // Counts no suspend, so not longer.
            let nap = next.since(now).min(Duration::from_millis(200));
            drop(kept);
            std::thread::sleep(nap);
        }
    });
    if started.is_err() {
        std::mem::forget(kept); // no thread to be had: until the process ends
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::ffi::OsStr;
    use std::os::unix::fs::PermissionsExt;

    use leasehold_core::BootClock;
    use rustix::fs::{FlockOperation, OFlags, flock};

    use super::*;
    use crate::alive::is_free;

    const INCARNATION: Incarnation = Incarnation(7);

    fn setup() -> (tempfile::TempDir, Directory, Liveness) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::parse(&dir.path().join("jobs")).unwrap();
        let directory = Directory::open(&place.directory).unwrap();
        (dir, directory, Liveness::new(place, Arc::new(BootClock::new())))
    }

    fn free(directory: &Directory, liveness: &Liveness) -> Option<bool> {
        let name = liveness.place.alive(INCARNATION);
        directory.has(&name).unwrap().then(|| is_free(directory, &name))
    }

    #[test]
    fn a_release_that_was_given_up_does_not_free_a_later_term() {
        let (_dir, directory, liveness) = setup();
        liveness.hold(&directory, INCARNATION).unwrap();
        let late = liveness.ticket(INCARNATION).unwrap();
        liveness.hold(&directory, INCARNATION).unwrap();
        liveness.released(&directory, INCARNATION, late);
        assert_eq!(free(&directory, &liveness), Some(false));
        let now = liveness.ticket(INCARNATION).unwrap();
        liveness.released(&directory, INCARNATION, now);
        assert_eq!(free(&directory, &liveness), None);
    }

    #[test]
    fn a_probe_stopped_half_way_is_in_nobodys_way() {
        let (_dir, directory, liveness) = setup();
        liveness.hold(&directory, INCARNATION).unwrap();
        let first = liveness.ticket(INCARNATION).unwrap();
        let name = liveness.place.alive(INCARNATION);
        let probe = directory.file(&name, OFlags::RDONLY).unwrap().unwrap();
        liveness.released(&directory, INCARNATION, first);
        flock(&probe, FlockOperation::NonBlockingLockShared).unwrap();
        liveness.hold(&directory, INCARNATION).unwrap();
        assert_eq!(free(&directory, &liveness), Some(false));
    }

    /// A disk on which a reader locks so many new files before their maker does.
    struct Readers {
        directory: Directory,
        faster: Cell<u32>,
        files: RefCell<Vec<File>>,
    }

    impl Disk for Readers {
        fn directory(&self) -> &Directory {
            &self.directory
        }
        fn create(&self, name: &OsStr, mode: u32) -> Result<File, Errno> {
            let made = self.directory.create(name, mode)?;
            if self.faster.get() > 0 {
                self.faster.set(self.faster.get() - 1);
                let reader = self.directory.file(name, OFlags::RDONLY)?.expect("it was made");
                flock(&reader, FlockOperation::NonBlockingLockShared)?;
                self.files.borrow_mut().push(reader);
            }
            Ok(made)
        }
        fn write(&self, name: &OsStr, file: &File, bytes: &[u8]) -> Result<(), Errno> {
            self.directory.write(name, file, bytes)
        }
        fn sync(&self, name: &OsStr, file: &File) -> Result<(), Errno> {
            self.directory.sync(name, file)
        }
        fn sync_directory(&self) -> Result<(), Errno> {
            self.directory.sync_directory()
        }
        fn link(&self, name: &OsStr, second: &OsStr) -> Result<(), Errno> {
            self.directory.link(name, second)
        }
        fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
            self.directory.rename(from, to)
        }
        fn unlink(&self, name: &OsStr) -> Result<(), Errno> {
            self.directory.unlink(name)
        }
        fn overwrite(&self, name: &OsStr, file: &File, at: u64, bytes: &[u8]) -> Result<(), Errno> {
            self.directory.overwrite(name, file, at, bytes)
        }
    }

    #[test]
    fn a_new_file_that_a_reader_has_locked_is_made_anew_and_not_without_end() {
        for (faster, left) in [(TRIES - 1, 1), (TRIES, 0)] {
            let (dir, directory, liveness) = setup();
            let readers =
                Readers { directory, faster: Cell::new(faster), files: RefCell::default() };
            let held = liveness.hold(&readers, INCARNATION);
            assert_eq!(held.is_ok(), left == 1, "{faster}: {held:?}");
            assert_eq!(readers.files.borrow().len(), faster as usize);
            // Nothing of what was given up stays.
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), left);
            if left == 1 {
                assert_eq!(free(&readers.directory, &liveness), Some(false));
            }
        }
    }

    #[test]
    fn a_copied_descriptor_keeps_the_lock() {
        let (_dir, directory, liveness) = setup();
        liveness.hold(&directory, INCARNATION).unwrap();
        liveness.acknowledged(INCARNATION, Time(1)); // long past: the drop closes at once
        let copy = liveness.descriptor(INCARNATION).unwrap().unwrap();
        let name = liveness.place.alive(INCARNATION);
        drop(liveness);
        assert!(!is_free(&directory, &name));
        drop(copy);
        assert!(is_free(&directory, &name));
    }

    #[test]
    fn others_may_read_the_file_and_not_write_it() {
        let (dir, directory, liveness) = setup();
        liveness.hold(&directory, INCARNATION).unwrap();
        let path = dir.path().join(liveness.place.alive(INCARNATION));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o022, 0);
    }

    #[test]
    fn a_failure_leaves_no_file() {
        let (dir, directory, liveness) = setup();
        std::fs::create_dir(dir.path().join(liveness.place.alive(INCARNATION))).unwrap();
        assert!(liveness.hold(&directory, INCARNATION).is_err(), "its name is taken");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(liveness.ticket(INCARNATION).is_none());
    }
}
