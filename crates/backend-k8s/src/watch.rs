//! The stream of changes: every state of the one object after the one given.

use std::sync::Arc;

use futures_util::StreamExt;
use kube::api::WatchParams;
use leasehold_backend::watching::{Told, Watching, states};
use leasehold_core::{BoxStream, Error, Observed, Version};

use crate::answer::{Event, Events};
use crate::failure::{Failure, Reason};
use crate::object::Object;
use crate::reader::Reader;
use crate::shared::{Joined, Watches};

const OPERATION: &str = "watch the lock";

/// Yields the states after `after`; ends with the first error, and when the server ends it, as it
/// does after some minutes.
pub(crate) fn watch(
    reader: Reader,
    watches: Arc<Watches>,
    after: &Observed,
) -> BoxStream<'static, Result<Observed, Error>> {
    let seen = after.version.cargo::<Object>().map(Object::revision);
    states(Watch {
        reader,
        watches,
        events: None,
        seat: None,
        seen,
        told: Told::of(after),
        caught_up: false,
    })
}

struct Watch {
    reader: Reader,
    watches: Arc<Watches>,
    /// `None` before it began.
    events: Option<Events>,
    /// Kept while it watches by itself.
    seat: Option<Arc<()>>,
    /// The revision to go on from; `None` begins with what is there.
    seen: Option<u64>,
    told: Told,
    /// The history was gone, and nothing came since.
    caught_up: bool,
}

impl Watching for Watch {
    async fn next(self) -> Result<Option<(Observed, Self)>, Error> {
        self.following().await.map_err(|failure| failure.during(OPERATION))
    }
}

impl Watch {
    async fn following(mut self) -> Result<Option<(Observed, Self)>, Failure> {
        loop {
            let begun = match self.events.take() {
                Some(events) => Ok((events, None)),
                None => self.begin().await,
            };
            let mut events = match begun {
                Ok((events, None)) => events,
                Ok((events, Some(observed))) => {
                    self.events = Some(events);
                    return Ok(Some((observed, self)));
                }
                Err(failure) if failure.reason == Reason::TooOld => match self.catch_up().await? {
                    Some(observed) => return Ok(Some((observed, self))),
                    None => continue,
                },
                Err(failure) => return Err(failure),
            };
            let Some(event) = events.next().await else { return Ok(None) };
            let observed = match event {
                Ok(Event::Is(value)) => {
                    let observed = self.reader.observed(value)?;
                    let revision = observed.version.as_number();
                    self.newer(observed, revision)
                }
                Ok(Event::Gone(value)) => {
                    let revision = self.reader.object(value)?.revision();
                    self.newer(self.reader.absent(Some(revision)), Some(revision))
                }
                // How far the server is, for who would resume; a read tells as much.
                Ok(Event::Bookmark(_)) => None,
                Err(failure) if failure.reason == Reason::TooOld => match self.catch_up().await? {
                    Some(observed) => return Ok(Some((observed, self))),
                    None => continue,
                },
                Err(failure) => return Err(self.reader.failed(failure)),
            };
            self.events = Some(events);
            self.caught_up = false;
            if let Some(observed) = observed {
                return Ok(Some((observed, self)));
            }
        }
    }

    /// The events from now on, and what they begin with if that is news.
    async fn begin(&mut self) -> Result<(Events, Option<Observed>), Failure> {
        let seat = match self.watches.join(&self.reader, self.seen) {
            Joined::Own(seat) => seat,
            Joined::Shared(subscription) => {
                let seat = subscription.seat();
                if let Some(events) = subscription.begun().await {
                    // It does not resume: what happened before it began is read.
                    let observed = self.reader.read().await?;
                    let revision = observed.version.as_number();
                    if revision.is_some() || self.told.version().is_some_and(Version::is_absent) {
                        return Ok((events, self.newer(observed, revision)));
                    }
                }
                // It may not be had, or an absence was read, which has no place among events unless
                // it is one.
                seat
            }
        };
        self.seat = Some(seat);
        let one =
            WatchParams::default().fields(&format!("metadata.name={}", self.reader.place.name));
        Ok((self.reader.events(one, self.seen).await?, None))
    }

    /// The history that was asked for is forgotten: reads what is there, and begins with it.
    async fn catch_up(&mut self) -> Result<Option<Observed>, Failure> {
        if std::mem::replace(&mut self.caught_up, true) {
            return Err(Failure::unavailable("the API server forgets its history again and again"));
        }
        let observed = self.reader.read().await?;
        self.events = None;
        self.seen = None;
        let revision = observed.version.as_number();
        Ok(self.newer(observed, revision))
    }

    /// Another API server may show the past: what is older than was seen is not told.
    fn newer(&mut self, observed: Observed, revision: Option<u64>) -> Option<Observed> {
        if revision < self.seen {
            return None;
        }
        let news = self.told.news(observed)?;
        self.seen = revision;
        Some(news)
    }
}
