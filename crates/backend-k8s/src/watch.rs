//! The stream of changes: every state of the one object after the one given.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::unfold;
use kube::api::WatchParams;
use leasehold_core::{BoxStream, Error, Observed, Version};
use tokio::time::timeout;

use crate::answer::{self, Event, Events};
use crate::failure::{Failure, Reason};
use crate::lock::Api;
use crate::object::Object;
use crate::shared::Joined;

const OPERATION: &str = "watch the lock";

/// How long the server may take to begin.
const BEGIN: Duration = Duration::from_secs(5);

/// Yields the states after `after`; ends with the first error, and when the server ends it, as it does after some minutes.
pub(crate) fn watch(api: Api, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
    let seen = after.version.cargo::<Object>().map(Object::revision);
    let watch = Watch {
        api,
        events: None,
        seat: None,
        seen,
        told: after.version.clone(),
        caught_up: false,
    };
    Box::pin(unfold(Some(watch), |watch| async {
        match watch?.next().await {
            Ok(Some((observed, watch))) => Some((Ok(observed), Some(watch))),
            Ok(None) => None,
            Err(failure) => Some((Err(failure.during(OPERATION)), None)),
        }
    }))
}

struct Watch {
    api: Api,
    /// `None` before it began.
    events: Option<Events>,
    /// Kept while it watches by itself.
    seat: Option<Arc<()>>,
    /// The revision to go on from; `None` begins with what is there.
    seen: Option<u64>,
    /// The version that was yielded last.
    told: Version,
    /// The history was gone, and nothing came since.
    caught_up: bool,
}

impl Watch {
    async fn next(mut self) -> Result<Option<(Observed, Self)>, Failure> {
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
                    let observed = self.api.observed(value)?;
                    let revision = observed.version.as_number();
                    self.newer(observed, revision)
                }
                Ok(Event::Gone(value)) => {
                    let revision = self.api.object(value)?.revision();
                    self.newer(self.api.absent(Some(revision)), Some(revision))
                }
                // How far the server is, for who would resume; a read tells as much.
                Ok(Event::Bookmark(_)) => None,
                Err(failure) if failure.reason == Reason::TooOld => match self.catch_up().await? {
                    Some(observed) => return Ok(Some((observed, self))),
                    None => continue,
                },
                Err(failure) => return Err(self.api.failed(failure)),
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
        let seat = match self.api.access.watches.join(&self.api, self.seen) {
            Joined::Own(seat) => seat,
            Joined::Shared(subscription) => {
                let seat = subscription.seat();
                if let Some(events) = subscription.begun().await {
                    // It does not resume: what happened before it began is read.
                    let observed = self.api.read().await?;
                    let revision = observed.version.as_number();
                    if revision.is_some() || self.told.is_absent() {
                        return Ok((events, self.newer(observed, revision)));
                    }
                }
                // It may not be had, or an absence was read, which has no place among events unless it is one.
                seat
            }
        };
        self.seat = Some(seat);
        let one = WatchParams::default().fields(&format!("metadata.name={}", self.api.place.name));
        Ok((begin(&self.api, one, self.seen).await?, None))
    }

    /// The history that was asked for is forgotten: reads what is there, and begins with it.
    async fn catch_up(&mut self) -> Result<Option<Observed>, Failure> {
        if std::mem::replace(&mut self.caught_up, true) {
            return Err(Failure::unavailable("the API server forgets its history again and again"));
        }
        let observed = self.api.read().await?;
        self.events = None;
        self.seen = None;
        let revision = observed.version.as_number();
        Ok(self.newer(observed, revision))
    }

    /// Another API server may show the past: what is older than was seen is not told.
    fn newer(&mut self, observed: Observed, revision: Option<u64>) -> Option<Observed> {
        let is_past = revision < self.seen;
        if is_past || observed.version == self.told {
            return None;
        }
        self.seen = revision;
        self.told = observed.version.clone();
        Some(observed)
    }
}

/// Begins after this revision, or with what is there.
pub(crate) async fn begin(
    api: &Api,
    which: WatchParams,
    seen: Option<u64>,
) -> Result<Events, Failure> {
    let after = seen.map(|revision| revision.to_string()).unwrap_or_default();
    let request = api.requests().watch(&which, &after);
    let request = request.map_err(|error| Failure::invalid(error.to_string()))?;
    let begun = async { answer::events(api.access.send(request).await?).await };
    match timeout(BEGIN, begun).await {
        Ok(events) => events.map_err(|failure| api.failed(failure)),
        Err(_elapsed) => Err(Failure::unavailable(format!("no watch began within {BEGIN:?}"))),
    }
}
