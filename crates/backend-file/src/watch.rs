//! Notifications of changes, by inotify on the lock's directory.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::future::{Either, select};
use leasehold_backend::Failure;
use leasehold_backend::watching::{Hint, Hints, hinted};
use leasehold_core::{BoxStream, Error, ErrorKind, Expiry, Incarnation, Observed, Time};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::failure;
use crate::place::{Place, Role};
use crate::reader::Reader;

const OPERATION: &str = "watch the lock";

/// The kernel tells of a closed file before it unlocks it, so it is probed again.
const AFTER_CLOSE: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(5), Duration::from_millis(25)];

/// Yields what a read finds, once after it subscribed and then after every change; ends with the
/// first error.
pub(crate) fn watch(reader: Reader) -> BoxStream<'static, Result<Observed, Error>> {
    // A subscription of the kernel does not die unseen.
    hinted(async { Watch::start(reader).map_err(|failure| failure.during(OPERATION)) }, None)
}

struct Watch {
    reader: Reader,
    events: AsyncFd<OwnedFd>,
    holder: Option<Incarnation>,
    again: VecDeque<Time>,
}

/// What a batch of events means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct News {
    changed: bool,
    closed: bool,
    /// The directory is gone or moved: nothing more will come.
    over: bool,
}

impl Hints for Watch {
    async fn hint(&mut self) -> Result<Hint, Error> {
        self.change().await.map(|()| Hint::Changed)
    }

    async fn read(&mut self) -> Result<Observed, Error> {
        let seen = self.reader.read(OPERATION).await?;
        if seen.expiry == Expiry::Passed {
            self.again.clear();
        }
        self.holder = holder_of(&seen);
        Ok(seen)
    }
}

impl Watch {
    fn start(reader: Reader) -> Result<Self, Failure> {
        let events = subscribe(&reader.place)?;
        Ok(Self { reader, events, holder: None, again: VecDeque::new() })
    }

    /// Resolves when a read may find something new.
    async fn change(&mut self) -> Result<(), Error> {
        loop {
            let at = self.again.front().copied().unwrap_or(Time::NEVER);
            let due = self.reader.clock.sleep_until(at);
            let mut ready = match select(Box::pin(self.events.readable()), due).await {
                Either::Left((ready, _)) => {
                    ready.map_err(|error| stream_error(&error.to_string()))?
                }
                Either::Right(_) => {
                    self.again.pop_front();
                    return Ok(());
                }
            };
            let news = drain(self.events.get_ref(), &self.reader.place, self.holder)
                .map_err(|errno| stream_error(&std::io::Error::from(errno).to_string()))?;
            ready.clear_ready();
            if news.over {
                return Err(stream_error("the directory was removed, moved or unmounted"));
            }
            if news.closed {
                let now = self.reader.clock.now();
                self.again = AFTER_CLOSE.iter().map(|delay| now + *delay).collect();
            }
            if news.changed || news.closed {
                return Ok(());
            }
        }
    }
}

fn holder_of(seen: &Observed) -> Option<Incarnation> {
    seen.record()?.holder.as_ref()?.incarnation
}

fn subscribe(place: &Place) -> Result<AsyncFd<OwnedFd>, Failure> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|errno| {
        let failure =
            Failure::unavailable(format!("start inotify: {}", std::io::Error::from(errno)));
        if errno != Errno::MFILE {
            return failure;
        }
        failure.with_cure("raise fs.inotify.max_user_instances or the limit of open files")
    })?;
    let flags = WatchFlags::ONLYDIR
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    inotify::add_watch(&events, &place.directory, flags).map_err(|errno| match errno {
        Errno::NOSPC => Failure::unavailable("no inotify watch is left")
            .with_cure("raise fs.inotify.max_user_watches"),
        errno => failure::io("watch", &place.directory, errno),
    })?;
    #[allow(
        deprecated,
        reason = "sound for an OwnedFd, which is one descriptor as long as it lives"
    )]
    let registered =
        catch_unwind(AssertUnwindSafe(|| AsyncFd::with_interest(events, Interest::READABLE)));
    // A runtime without I/O panics, and cannot be asked before.
    let failed = |why: &str| Failure::unavailable(format!("wait for inotify: {why}"));
    match registered {
        Ok(registered) => registered.map_err(|error| failed(&error.to_string())),
        Err(_) => {
            Err(failed("the tokio runtime has no I/O").with_cure("build it with enable_io()"))
        }
    }
}

/// Reads all that there is.
fn drain(events: &OwnedFd, place: &Place, holder: Option<Incarnation>) -> Result<News, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    let mut news = News::default();
    loop {
        match reader.next() {
            Ok(event) => {
                let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                judge(event.events(), name, place, holder, &mut news);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(news),
            Err(errno) => return Err(errno),
        }
    }
}

/// Of the handful of events of one write only the arrival of the baton counts, so that it is one
/// read.
fn judge(
    what: ReadFlags,
    name: Option<&OsStr>,
    place: &Place,
    holder: Option<Incarnation>,
    news: &mut News,
) {
    let over =
        ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
    news.over |= what.intersects(over);
    news.changed |= what.contains(ReadFlags::QUEUE_OVERFLOW);
    let Some(name) = name else { return };
    if name == place.name {
        news.changed |= !what.contains(ReadFlags::CLOSE_WRITE); // the copy for people
        return;
    }
    match place.role(name) {
        Some(Role::Baton(_)) => news.changed |= what.contains(ReadFlags::MOVED_TO),
        Some(Role::Alive(incarnation)) if Some(incarnation) == holder => {
            news.closed |= what.contains(ReadFlags::CLOSE_WRITE);
        }
        Some(Role::Alive(_) | Role::Record(_) | Role::Scratch) | None => {}
    }
}

fn stream_error(text: &str) -> Error {
    Error::new(ErrorKind::Unavailable, OPERATION, text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::place::State;

    #[test]
    fn one_write_is_one_change() {
        let place = Place::parse(Path::new("/run/jobs")).unwrap();
        let (old, new) =
            (State { lock: 1, generation: 1, id: 1 }, State { lock: 1, generation: 2, id: 2 });
        let holder = Some(Incarnation(5));
        let means = |what, name: &OsStr| {
            let mut news = News::default();
            judge(what, Some(name), &place, holder, &mut news);
            news
        };
        let nothing = News::default();
        let changed = News { changed: true, ..nothing };
        for (what, name, meaning) in [
            (ReadFlags::CREATE, place.record(new), nothing),
            (ReadFlags::CLOSE_WRITE, place.record(new), nothing),
            (ReadFlags::MOVED_FROM, place.baton(old), nothing),
            (ReadFlags::MOVED_TO, place.baton(new), changed),
            (ReadFlags::CLOSE_WRITE, place.name.clone(), nothing),
            (ReadFlags::DELETE, place.record(old), nothing),
            (ReadFlags::CREATE, place.name.clone(), changed),
            (ReadFlags::DELETE, place.name.clone(), changed),
            (ReadFlags::CLOSE_WRITE, place.alive(Incarnation(6)), nothing),
            (ReadFlags::CLOSE_WRITE, place.alive(Incarnation(5)), News { closed: true, ..nothing }),
        ] {
            assert_eq!(means(what, &name), meaning, "{what:?} {name:?}");
        }
    }
}
