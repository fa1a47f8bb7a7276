//! The compare-and-swap register.
//!
//! A lock is its own file `PATH`, which says by its first bytes which lock it is; one *baton*, an
//! empty file whose name says which state the lock is in; and that state's *record* file. A write
//! puts the next state's record on the disk and then renames the baton from the state it expects to
//! the next one.
//!
//! Why that is a compare-and-swap, whoever is stopped wherever and for however long:
//! - State names are never repeated (ids drawn at random for every lock and every attempt), and a
//!   baton only leaves a name. So a name once left never comes back, and a rename from it finds
//!   nothing, for ever.
//! - There is one baton for each lock, so "this baton is there" means "this is the state". A reader
//!   reads `PATH`, then a record, then asks whether that record's baton is there and `PATH` is
//!   still the same file: if so, lock, record and baton belonged together at that moment. Listing
//!   the directory is only the way to a guess; the question after it decides.
//! - Removing `PATH` ends the lock, because its name in every state goes with it; the next one has
//!   another. Creating is `link(2)` of a complete file to `PATH`, which fails if there is one.
//! - No step waits for anybody else's. A stopped process leaves at most files that nobody looks at.
//!   Records are removed only when a write of a later generation, or another one of the same, is
//!   known to have won.
//! - Record before baton, baton before acknowledgement: each is on the disk before the next step
//!   begins.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use leasehold_backend::{Failure, random};
use leasehold_core::{ErrorKind, Record, Token, Wall, printable};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::alive;
use crate::disk::{self, Contents, Disk, MOST, SHARED};
use crate::failure::{self, shown};
use crate::form::{self, Header};
use crate::place::{Place, Role, State};

/// How often a reader follows a lock that moves on under its eyes. Each turn, somebody has written.
const TURNS: u32 = 64;

/// Files of a lock that was removed are left alone for this long: somebody may be about to create
/// it.
const OLD: Duration = Duration::from_secs(3600);

/// What a read found.
#[derive(Debug)]
pub(crate) enum Seen {
    Absent,
    Present(State, Header, Record),
    /// Why, and the bytes that cannot be read.
    Unreadable(String, Vec<u8>),
}

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Wrote {
    Written(State, Header),
    Conflict,
}

/// One lock in an open directory.
pub(crate) struct Store<'a> {
    pub(crate) place: &'a Place,
    pub(crate) disk: &'a dyn Disk,
}

impl Store<'_> {
    /// The present state.
    pub(crate) fn read(&self) -> Result<Seen, Failure> {
        let mut batons = 0;
        for turn in 0..TURNS {
            if turn >= TURNS / 2 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let Some(own) = self.contents(&self.place.name)? else {
                return Ok(Seen::Absent);
            };
            let lock = match form::lock_of(&own.bytes) {
                Ok(lock) => lock,
                Err(why) => return Ok(self.unreadable(&self.place.name, &why, own.bytes)),
            };
            let hint = form::hint(&own.bytes).filter(|state| state.lock == lock);
            if let Some(state) = hint
                && let Some(seen) = self.look(state, &own.file)?
            {
                return Ok(seen);
            }
            for state in self.batons(lock)? {
                batons += 1;
                if let Some(seen) = self.look(state, &own.file)? {
                    return Ok(seen);
                }
            }
        }
        if batons > 0 {
            let text = format!("{} changes faster than it can be read", shown(&self.place.path()));
            return Err(Failure::new(ErrorKind::Unavailable, text));
        }
        let why = "the file that says which state it is in (.baton) is gone";
        Ok(self.unreadable(&self.place.name, why, Vec::new()))
    }

    /// Puts `record` in the place of `expected`. `go` is asked once, before the step that cannot be
    /// undone.
    pub(crate) fn replace(
        &self,
        expected: State,
        header: Header,
        record: &Record,
        go: &dyn Fn() -> Result<(), Failure>,
    ) -> Result<Wrote, Failure> {
        let generation = expected.generation + 1;
        let next = State { lock: expected.lock, generation, id: random()? };
        let name = self.place.record(next);
        let contents = fitting(form::encode(next, &header, record))?;
        self.put(&name, &contents).and_then(|()| go()).inspect_err(|_| self.discard(&name))?;

        let (from, to) = (self.place.baton(expected), self.place.baton(next));
        match self.disk.rename(&from, &to) {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                self.discard(&name);
                return Ok(Wrote::Conflict);
            }
            Err(errno) => {
                // Whether it was applied may be unknown: then the record stays, and a later winner
                // removes it.
                if errno != Errno::IO && matches!(self.disk.directory().has(&from), Ok(true)) {
                    self.discard(&name);
                }
                return Err(self.failed("rename", &from)(errno));
            }
        }
        let own = self.own(next.lock)?;
        self.disk.sync_directory().map_err(self.failed("sync", OsStr::new(".")))?;
        let Some((file, length)) = own else {
            let text = format!("{} was removed during the write", shown(&self.place.path()));
            return Err(Failure::new(ErrorKind::Unavailable, text));
        };
        // For `cat`, and as the first guess of the next read. Only now: the lock's own file and the
        // record of the first generation are one file, which a crash before the baton's new name is
        // on the disk needs.
        let at = form::prefix(next.lock).len() as u64;
        let copy = form::copy(&contents, length);
        let _ = self.disk.overwrite(&self.place.name, &file, at, &copy);
        self.discard(&self.place.record(expected));
        Ok(Wrote::Written(next, header))
    }

    /// Creates the lock, whose file must not exist. `go` as for [`replace`](Self::replace).
    pub(crate) fn create(
        &self,
        floor: Token,
        record: &Record,
        go: &dyn Fn() -> Result<(), Failure>,
    ) -> Result<Wrote, Failure> {
        let own = &self.place.name;
        if self.disk.directory().has(own).map_err(self.failed("look for", own))? {
            return Ok(Wrote::Conflict);
        }
        let state = State { lock: random()?, generation: 1, id: random()? };
        let header = Header { floor, ..Header::default() };
        let (name, baton) = (self.place.record(state), self.place.baton(state));
        let discard = || {
            self.discard(&baton);
            self.discard(&name);
        };
        let contents = fitting(form::encode(state, &header, record))?;
        let ready = self.disk.create(&baton, SHARED).map_err(self.failed("create", &baton));
        ready
            .and_then(|_| self.put(&name, &contents))
            .and_then(|()| go())
            .inspect_err(|_| discard())?;
        match self.disk.link(&name, own) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                discard();
                return Ok(Wrote::Conflict);
            }
            Err(errno) => {
                // As for a rename: what may have been applied stays.
                if errno != Errno::IO && matches!(self.disk.directory().has(own), Ok(false)) {
                    discard();
                }
                return Err(self.failed("create", own)(errno));
            }
        }
        self.disk.sync_directory().map_err(self.failed("sync", OsStr::new(".")))?;
        Ok(Wrote::Written(state, header))
    }

    /// Removes what crashed or beaten writers left behind, once `won` is known to have come to be.
    pub(crate) fn sweep(&self, won: State, now: Wall) {
        let Ok(names) = self.disk.directory().list() else {
            return;
        };
        for name in names {
            let dead = match self.place.role(&name) {
                Some(Role::Record(state)) if state.lock == won.lock => {
                    state.generation <= won.generation && state != won
                }
                Some(Role::Alive(_)) => alive::is_free(self.disk.directory(), &name),
                Some(Role::Scratch) => self.is_old(&name, now),
                // Another lock's may be in use: whoever was stopped here wakes up in another lock's
                // time.
                Some(Role::Record(_) | Role::Baton(_)) | None => false,
            };
            if dead {
                self.discard(&name);
            }
        }
    }

    /// The lock in this state, if that is the one it is in.
    fn look(&self, state: State, own: &File) -> Result<Option<Seen>, Failure> {
        let directory = self.disk.directory();
        let (name, baton) = (self.place.record(state), self.place.baton(state));
        let contents = self.contents(&name)?;
        if !directory.has(&baton).map_err(self.failed("look for", &baton))? {
            return Ok(None);
        }
        let path = &self.place.name;
        let now = directory.identity(path).map_err(self.failed("look for", path))?;
        if now != Some(disk::identity(own).map_err(self.failed("look at", path))?) {
            return Ok(None);
        }
        let Some(Contents { bytes, .. }) = contents else {
            // It is removed only after the baton has left, and the baton is there.
            let why = "the file that holds the record is gone";
            return Ok(Some(self.unreadable(&name, why, state.to_string().into_bytes())));
        };
        Ok(Some(match form::decode(&bytes, state) {
            Ok((header, record)) => Seen::Present(state, header, record),
            Err(why) => self.unreadable(&name, &why, bytes),
        }))
    }

    /// The states whose batons a listing shows; the latest first.
    fn batons(&self, lock: u64) -> Result<Vec<State>, Failure> {
        let names = self.disk.directory().list().map_err(self.failed("list", OsStr::new(".")))?;
        let roles = names.iter().filter_map(|name| self.place.role(name));
        let mut states: Vec<State> = roles
            .filter_map(|role| match role {
                Role::Baton(state) if state.lock == lock => Some(state),
                _ => None,
            })
            .collect();
        states.sort_unstable_by(|a, b| b.cmp(a));
        Ok(states)
    }

    /// The lock's own file and its length, if it is still this lock's.
    fn own(&self, lock: u64) -> Result<Option<(File, usize)>, Failure> {
        let name = &self.place.name;
        let directory = self.disk.directory();
        let opened = match directory.file(name, OFlags::RDWR) {
            Err(Errno::ACCESS | Errno::PERM) => directory.file(name, OFlags::RDONLY),
            other => other,
        };
        let Some(file) = opened.map_err(self.failed("open", name))? else {
            return Ok(None);
        };
        let prefix = form::prefix(lock);
        let mut head = vec![0; prefix.len()];
        let same = file.read_exact_at(&mut head, 0).is_ok() && head == prefix.as_bytes();
        let length = file.metadata().ok().and_then(|data| usize::try_from(data.len()).ok());
        Ok(same.then_some((file, length.unwrap_or(0))))
    }

    /// A new file, on the disk with its name.
    fn put(&self, name: &OsStr, bytes: &[u8]) -> Result<(), Failure> {
        let file = self.disk.create(name, SHARED).map_err(self.failed("create", name))?;
        self.disk.write(name, &file, bytes).map_err(self.failed("write", name))?;
        self.disk.sync(name, &file).map_err(self.failed("sync", name))?;
        self.disk.sync_directory().map_err(self.failed("sync", OsStr::new(".")))
    }

    fn discard(&self, name: &OsStr) {
        let _ = self.disk.unlink(name); // what stays behind is looked at by nobody, and swept later
    }

    fn is_old(&self, name: &OsStr, now: Wall) -> bool {
        let now = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
        let old = i64::try_from(OLD.as_secs()).unwrap_or(i64::MAX);
        matches!(self.disk.directory().changed(name), Ok(Some(at)) if now.saturating_sub(at) > old)
    }

    fn contents(&self, name: &OsStr) -> Result<Option<Contents>, Failure> {
        self.disk.directory().contents(name).map_err(self.failed("read", name))
    }

    fn unreadable(&self, name: &OsStr, why: &str, bytes: Vec<u8>) -> Seen {
        let long = bytes.len() as u64 > MOST;
        let why = if long { "the file is too long for a lock" } else { why };
        let (file, path) = (self.place.directory.join(name), self.place.path());
        let text = format!(
            "{}: {}. Nothing was overwritten. Look at the file; to begin anew, move {} away",
            shown(&file),
            printable(why),
            shown(&path)
        );
        Seen::Unreadable(text, bytes)
    }

    fn failed(&self, step: &'static str, name: &OsStr) -> impl FnOnce(Errno) -> Failure + use<> {
        let path = if name == "." {
            self.place.directory.clone()
        } else {
            self.place.directory.join(name)
        };
        move |errno| match errno {
            Errno::NXIO => Failure::new(
                ErrorKind::Invalid,
                format!(
                    "{} is a directory, a pipe or a device: name a regular file, or one that does \
                     not exist yet",
                    shown(&path)
                ),
            ),
            errno => failure::io(step, &path, errno),
        }
    }
}

/// What is longer could not be read again.
fn fitting(contents: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if contents.len() as u64 <= MOST {
        return Ok(contents);
    }
    let text = format!("the record has {} bytes, of which a file may have {MOST}", contents.len());
    Err(Failure::invalid(text).with_cure("choose a shorter identity or address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Directory;
    use crate::form::tests::record;

    fn written(wrote: Wrote) -> (State, Header) {
        let Wrote::Written(state, header) = wrote else { panic!("a conflict with nobody") };
        (state, header)
    }

    /// A took, and was stopped before its sweep. Its lock was removed, another was created, used,
    /// and has been idle for more than an hour when A goes on.
    #[test]
    fn a_late_sweep_leaves_the_next_lock_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::parse(&dir.path().join("jobs")).unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let store = Store { place: &place, disk: &directory };
        let go = || Ok(());
        let (old, header) = written(store.create(1, &record(1), &go).unwrap());
        let (won, _) = written(store.replace(old, header, &record(2), &go).unwrap());
        std::fs::remove_file(dir.path().join("jobs")).unwrap();
        let (new, header) = written(store.create(5, &record(6), &go).unwrap());
        written(store.replace(new, header, &record(7), &go).unwrap());
        store.sweep(won, Wall(u64::MAX / 2));
        assert!(matches!(store.read().unwrap(), Seen::Present(..)));
    }

    /// The caller gives up while the record is put on the disk, right before the step that cannot
    /// be undone.
    #[test]
    fn a_write_that_was_given_up_before_its_last_step_is_not_applied() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::parse(&dir.path().join("jobs")).unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let store = Store { place: &place, disk: &directory };
        let files = || std::fs::read_dir(dir.path()).unwrap().count();
        let given_up_beside = |written: usize| {
            move || {
                assert_eq!(files(), written, "it is asked last");
                Err(Failure::new(ErrorKind::Unavailable, "given up"))
            }
        };
        assert!(store.create(1, &record(1), &given_up_beside(2)).is_err());
        assert_eq!(files(), 0);
        assert!(matches!(store.read().unwrap(), Seen::Absent));

        let (state, header) = written(store.create(1, &record(1), &|| Ok(())).unwrap());
        let before = files();
        assert!(store.replace(state, header, &record(2), &given_up_beside(before + 1)).is_err());
        assert_eq!(files(), before);
        assert!(matches!(store.read().unwrap(), Seen::Present(is, ..) if is == state));
    }

    #[test]
    fn who_loses_a_race_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::parse(&dir.path().join("jobs")).unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let store = Store { place: &place, disk: &directory };
        let files = || std::fs::read_dir(dir.path()).unwrap().count();
        let go = || Ok(());
        let (state, header) = written(store.create(1, &record(1), &go).unwrap());
        written(store.replace(state, header.clone(), &record(2), &go).unwrap());
        let before = files();
        let late = store.replace(state, header, &record(3), &go).unwrap();
        assert!(matches!(late, Wrote::Conflict));
        assert!(matches!(store.create(1, &record(4), &go).unwrap(), Wrote::Conflict));
        assert_eq!(files(), before);
    }
}
