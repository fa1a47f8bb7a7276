//! The backend: a store, liveness files and a watch behind the trait.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use leasehold_backend::{Failure, TokenFloor};
use leasehold_core::{
    BootClock, BoxStream, Capabilities, Change, Clock, Contents, Error, ErrorKind, Expiry, Holder,
    Incarnation, Intent, LockBackend, MAX_TOKEN, Observed, Outcome, Push, Token, Version,
};
use rustix::io::Errno;

use crate::disk::Directory;
use crate::failure::{self, shown};
use crate::fs_kind;
use crate::liveness::{Liveness, Ticket};
use crate::place::{Place, State};
use crate::private;
use crate::reader::{Reader, incarnation_of, observe, open, unreadable, version};
use crate::rights;
use crate::store::{Seen, Store, Wrote};
use crate::watch;
use crate::workers::Gate;

const OPEN: &str = "open the lock";
const READ: &str = "read the lock";
const WRITE: &str = "write the lock";
const MAY_TAKE: &str = "take the lock";

/// How often a state is looked for whose lock moves on meanwhile. Each turn, somebody may write.
const TURNS: u32 = 8;

/// A lock in a local file.
///
/// Its watch needs a tokio runtime with I/O enabled around it. File operations run on a few threads
/// of their own, which all locks of the process share.
#[derive(Debug)]
pub struct FileLock {
    name: String,
    shared: Arc<Shared>,
}

/// How a [`FileLock`] is opened, where the defaults do not suit.
#[derive(Clone, Debug)]
#[must_use]
pub struct FileLockOptions {
    clock: Arc<dyn Clock>,
    token_floor: Option<Token>,
}

#[derive(Debug)]
struct Shared {
    reader: Reader,
    liveness: Liveness,
}

impl FileLock {
    /// The lock whose file is at `path`. Neither creates nor changes anything; the file need not
    /// exist, its directory must.
    ///
    /// # Errors
    /// `Invalid`: the path cannot be a lock's, is a directory or a symbolic link, or lies on a file
    /// system that is not known to be a good local one. `Denied`: the directory may not be read.
    /// The text says which and what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().open(path)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.shared.reader.place
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.shared.reader.gate
    }

    /// Why other processes of this host may have another lock under the same path, and what to do:
    /// the directory is in a container's own layer, or private to this service. `None` where
    /// nothing speaks for that; it cannot be seen everywhere. Reads a few files below `/proc`.
    #[must_use]
    pub fn caveat(&self) -> Option<String> {
        private::examine(&self.place().directory).map(|private| private.to_string())
    }

    /// Options, set to the defaults of [`open`](Self::open).
    pub fn options() -> FileLockOptions {
        FileLockOptions { clock: Arc::new(BootClock::new()), token_floor: None }
    }

    /// A second descriptor (close-on-exec) of the liveness file that this lock holds for
    /// `incarnation`; `None` if it holds none, because no write of this lock has named that
    /// incarnation yet or its term was released.
    ///
    /// For a process that outlives this one and watches over the work: others see the holder as
    /// gone only when *every* descriptor is closed. Close it; never unlock it.
    ///
    /// # Errors
    /// `Unavailable`: no descriptor is left.
    pub fn liveness(&self, incarnation: Incarnation) -> Result<Option<OwnedFd>, Error> {
        self.shared
            .liveness
            .descriptor(incarnation)
            .map_err(|failure| failure.during("hand over the liveness file"))
    }
}

impl FileLockOptions {
    /// The clock to use. Its `wall` gives the token floor of a lock that is created.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Tokens at or below this may have been used, whatever the file says: after a removal of the
    /// file while the wall clock had gone back.
    pub fn token_floor(mut self, floor: Token) -> Self {
        self.token_floor = Some(floor);
        self
    }

    /// Opens; see [`FileLock::open`].
    ///
    /// # Errors
    /// Those of [`FileLock::open`], and `Invalid` for a token floor above [`MAX_TOKEN`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<FileLock, Error> {
        let invalid = |text: String| Error::new(ErrorKind::Invalid, OPEN, text);
        let token_floor = self.token_floor.map(TokenFloor::new).transpose()?;
        let place = Place::parse(path.as_ref()).map_err(invalid)?;
        let directory = Directory::open(&place.directory).map_err(|errno| match errno {
            Errno::NOENT => invalid(format!(
                "the directory {} does not exist: create it first",
                shown(&place.directory)
            )),
            errno => failure::io("open", &place.directory, errno).during(OPEN),
        })?;
        let magic = directory.magic();
        let magic =
            magic.map_err(|errno| failure::io("look at", &place.directory, errno).during(OPEN))?;
        fs_kind::judge(magic).map_err(|kind| {
            invalid(format!(
                "{} is on a file system {kind}, which is not known to keep a lock: it must be \
                 local (ext2/3/4, xfs, btrfs, zfs, f2fs, tmpfs, overlayfs). For candidates on \
                 several hosts use a store that all of them reach",
                shown(&place.directory),
            ))
        })?;
        let device = directory.device();
        let device =
            device.map_err(|errno| failure::io("look at", &place.directory, errno).during(OPEN))?;
        observe(&place, None).map_err(|failure| failure.during(OPEN))?;
        let reader = Reader {
            place: place.clone(),
            clock: self.clock.clone(),
            token_floor,
            gate: Gate::of(device),
        };
        Ok(FileLock {
            name: format!("file:{}", shown(&place.path())),
            shared: Arc::new(Shared { reader, liveness: Liveness::new(place, self.clock) }),
        })
    }
}

#[async_trait]
impl LockBackend for FileLock {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            push: Push::Hint,
            sees_deaths: true,
            min_lease_duration: Duration::from_millis(100),
            ..Capabilities::default()
        }
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.shared.reader.read(READ).await
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let abandoned = Abandoned::default();
        let flag = abandoned.0.clone();
        let (shared, expected, change) = (self.shared.clone(), expected.clone(), change.clone());
        self.gate().blocking(WRITE, move || shared.write(&expected, &change, &flag)).await
    }

    async fn may_take(&self, _: &Holder) -> Result<(), Error> {
        let shared = self.shared.clone();
        self.gate().blocking(MAY_TAKE, move || shared.may_take()).await
    }

    fn watch(&self, _: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        watch::watch(self.shared.reader.clone())
    }
}

/// Tells the blocking thread that nobody waits for it any more.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn write(
        &self,
        expected: &Version,
        change: &Change,
        abandoned: &AtomicBool,
    ) -> Result<Outcome, Failure> {
        let begun = self.reader.clock.now();
        let place = &self.reader.place;
        let directory = open(place)?;
        let store = Store { place, disk: &directory };
        let go = || {
            let gone = abandoned.load(Ordering::Relaxed);
            if gone {
                Err(Failure::new(ErrorKind::Unavailable, "the caller gave up"))
            } else {
                Ok(())
            }
        };
        go()?;
        // Before anything is made: what is refused here leaves nothing behind, not even where
        // nothing can be removed.
        match state_of(expected) {
            Some(state) if rights::of_state(place, &directory, state)?.is_none() => {
                return Ok(Outcome::Conflict);
            }
            None if expected.is_absent() => rights::of_directory(place, &directory)?,
            Some(_) | None => {}
        }
        let names = incarnation_of(&change.record);
        let fresh = match (change.intent, names) {
            (Intent::Take, Some(incarnation)) => {
                let ticket = self.liveness.hold(&directory, incarnation)?;
                ticket.map(|ticket| (incarnation, ticket))
            }
            // Not necessarily our own: a request to a holder is a write that keeps it.
            (_, Some(incarnation)) => {
                self.liveness.rely(incarnation);
                None
            }
            (_, None) => None,
        };
        let has_begun = Cell::new(false);
        let begin = || go().inspect(|()| has_begun.set(true));
        let tried = self.replace(&store, expected, change, &begin);
        if tried.is_err()
            && !has_begun.get()
            && let Some((incarnation, ticket)) = fresh
        {
            self.liveness.released(&directory, incarnation, ticket);
        }
        let (wrote, replaced) = tried?;
        let Wrote::Written(state, header) = wrote else {
            return Ok(Outcome::Conflict);
        };
        if let Some(incarnation) = names {
            self.liveness.acknowledged(incarnation, begun + change.record.lease_duration);
        }
        if let (Intent::Release, None, Some((incarnation, ticket))) =
            (change.intent, names, replaced)
        {
            self.liveness.released(&directory, incarnation, ticket);
        }
        if change.intent == Intent::Take {
            store.sweep(state, self.reader.clock.wall());
        }
        Ok(Outcome::Written(Observed {
            version: version(state),
            contents: Contents::Record(change.record.clone()),
            expiry: Expiry::ByObserver,
            token_floor: Some(header.floor.max(self.reader.least_floor().unwrap_or(0))),
        }))
    }

    /// The step between permission and acknowledgement. Beside what came of it: the incarnation
    /// that was replaced, with the ticket to free its liveness file.
    fn replace(
        &self,
        store: &Store<'_>,
        expected: &Version,
        change: &Change,
        begin: &dyn Fn() -> Result<(), Failure>,
    ) -> Result<(Wrote, Option<(Incarnation, Ticket)>), Failure> {
        if expected.is_absent() {
            let wrote = store.create(self.floor_of_now(), &change.record, begin)?;
            return Ok((wrote, None));
        }
        let (header, record) = match store.read()? {
            Seen::Present(state, header, record) if version(state) == *expected => (header, record),
            Seen::Unreadable(why, bytes) if unreadable(&bytes) == *expected => {
                return Err(Failure::new(ErrorKind::Corrupt, why));
            }
            _ => return Ok((Wrote::Conflict, None)),
        };
        let Some(state) = state_of(expected) else {
            return Ok((Wrote::Conflict, None));
        };
        let replaced = incarnation_of(&record)
            .and_then(|incarnation| Some((incarnation, self.liveness.ticket(incarnation)?)));
        Ok((store.replace(state, header, &change.record, begin)?, replaced))
    }

    fn may_take(&self) -> Result<(), Failure> {
        let place = &self.reader.place;
        let directory = open(place)?;
        rights::of_directory(place, &directory)?;
        for _ in 0..TURNS {
            let seen = Store { place, disk: &directory }.read()?;
            // What is not there may be made in such a directory, and what is unreadable is refused
            // for another reason.
            let Seen::Present(state, ..) = seen else { return Ok(()) };
            if rights::of_state(place, &directory, state)?.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The one place where the wall clock counts: tokens begin above the milliseconds since 1970,
    /// and so above all of a lock that was here before, unless the clock went back.
    fn floor_of_now(&self) -> Token {
        let now = self.reader.clock.wall().0.min(MAX_TOKEN - 1);
        now.max(self.reader.least_floor().unwrap_or(0))
    }
}

fn state_of(version: &Version) -> Option<State> {
    std::str::from_utf8(version.as_bytes()?).ok()?.parse().ok()
}
