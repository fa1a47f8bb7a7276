//! The stream of changes: every state of the election after the one given.

use std::collections::VecDeque;

use etcd_client::{WatchOptions, WatchResponse, WatchStream};
use leasehold_backend::watching::{Told, Watching, begun, states};
use leasehold_core::{BoxStream, Error, ErrorKind, Observed};

use crate::failure::{Failure, Reason};
use crate::pool::Place;
use crate::queue::{Moved, Pair, Queue};
use crate::reader::Reader;

const OPERATION: &str = "watch the lock";

/// Yields the states after `after`; ends with the first error.
pub(crate) fn watch(
    reader: Reader,
    after: &Observed,
) -> BoxStream<'static, Result<Observed, Error>> {
    let seen = after.version.cargo::<Queue>().cloned();
    states(Stage::New { reader, seen, told: Told::of(after) })
}

enum Stage {
    New { reader: Reader, seen: Option<Queue>, told: Told },
    Running(Watch),
}

impl Watching for Stage {
    async fn next(self) -> Result<Option<(Observed, Self)>, Error> {
        let reader = match &self {
            Self::New { reader, .. } | Self::Running(Watch { reader, .. }) => reader,
        };
        let election = reader.election.clone();
        let next = async {
            let watch = match self {
                Self::New { reader, seen, told } => Watch::from(reader, seen, told).await?,
                Self::Running(watch) => watch,
            };
            watch.next().await
        };
        match next.await {
            Ok((seen, watch)) => Ok(Some((seen, Self::Running(watch)))),
            Err(failure) => Err(failure.on(&election).during(OPERATION)),
        }
    }
}

struct Watch {
    reader: Reader,
    stream: WatchStream,
    place: Place,
    /// The candidates after the last event.
    queue: Queue,
    /// States that nobody was told of yet.
    news: VecDeque<Observed>,
    told: Told,
}

impl Watch {
    async fn from(reader: Reader, seen: Option<Queue>, told: Told) -> Result<Self, Failure> {
        match seen {
            Some(queue) => Self::after(reader, queue, told).await,
            None => Self::listed(reader, told).await,
        }
    }

    /// Reads what is there and goes on from it.
    async fn listed(reader: Reader, told: Told) -> Result<Self, Failure> {
        let seen = reader.read().await?;
        let queue = seen.version.cargo::<Queue>().cloned().unwrap_or_default();
        let mut watch = Self::after(reader, queue, told).await?;
        watch.tell(seen);
        Ok(watch)
    }

    async fn after(reader: Reader, queue: Queue, told: Told) -> Result<Self, Failure> {
        let mut lent = reader.pool.lend().await?;
        // From the next revision: a watch from the present one is served in arrears, every 100 ms.
        let next = queue.revision.saturating_add(1);
        // What others put under the prefix may be large: it comes in pieces.
        let options = WatchOptions::new().with_prefix().with_start_revision(next).with_fragment();
        let prefix = reader.election.prefix();
        let beginning = begun(lent.client.watch(prefix, Some(options))).await;
        let stream = match beginning {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(reader.pool.failed(lent.place, &error)),
            Err(late) => {
                reader.pool.close(lent.place);
                return Err(Failure::unanswered(late.text));
            }
        };
        let place = lent.place;
        Ok(Self { reader, stream, place, queue, news: VecDeque::new(), told })
    }

    async fn next(mut self) -> Result<(Observed, Self), Failure> {
        loop {
            if let Some(seen) = self.news.pop_front() {
                return Ok((seen, self));
            }
            let message = match self.stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    self.reader.pool.close(self.place);
                    return Err(ended("the server ended it"));
                }
                Err(error) => return Err(self.reader.pool.failed(self.place, &error)),
            };
            self.reader.pool.heard(self.place, message.header()).await?;
            if message.compact_revision() > 0 {
                // What came in between is forgotten by the store.
                self = Self::listed(self.reader, self.told).await?;
            } else if message.canceled() {
                // A login that ran out is not renewed on a connection that is used for a stream
                // alone.
                self.reader.pool.close(self.place);
                return Err(canceled(&message));
            } else {
                self.take_in(&message).await?;
            }
        }
    }

    /// One state for each revision.
    async fn take_in(&mut self, message: &WatchResponse) -> Result<(), Failure> {
        let changes: Vec<Pair<'_>> =
            message.events().iter().filter_map(|event| event.kv()).map(Pair::of).collect();
        for of_one_revision in changes.chunk_by(|one, next| one.modified == next.modified) {
            let seen_at = self.queue.revision;
            let mut moved = Moved::Known;
            for change in of_one_revision.iter().filter(|new| new.modified > seen_at) {
                if self.queue.apply(&self.reader.election, change)? == Moved::Unknown {
                    moved = Moved::Unknown;
                }
            }
            let last = of_one_revision.last().map_or(seen_at, |last| last.modified);
            self.queue.revision = seen_at.max(last);
            if moved == Moved::Unknown {
                self.queue = self.next_in_line().await?;
            }
            let seen = self.reader.observed(self.queue.clone());
            self.tell(seen);
        }
        Ok(())
    }

    /// Who leads after the one before is gone, as of that revision if the store still knows it.
    async fn next_in_line(&self) -> Result<Queue, Failure> {
        match self.reader.queue(self.queue.revision).await {
            Err(failure) if failure.kind() == ErrorKind::Unavailable => self.reader.queue(0).await,
            read => read,
        }
    }

    fn tell(&mut self, seen: Observed) {
        self.news.extend(self.told.news(seen));
    }
}

/// The server's reasons are words only.
fn canceled(message: &WatchResponse) -> Failure {
    let reason = message.cancel_reason();
    if reason.contains("permission denied") {
        return Failure::new(ErrorKind::Denied, Reason::NotPermitted, reason);
    }
    ended(if reason.is_empty() { "the server canceled it" } else { reason })
}

fn ended(why: &str) -> Failure {
    Failure::unanswered(why)
}
