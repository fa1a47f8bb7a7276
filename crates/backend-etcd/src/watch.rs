//! The stream of changes: every state of the election after the one given.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{WatchOptions, WatchResponse, WatchStream};
use futures_util::stream::unfold;
use leasehold_core::{BoxStream, Error, ErrorKind, Observed, Version};
use tokio::time::timeout;

use crate::failure::{Failure, Reason};
use crate::lock::Keys;
use crate::pool::Place;
use crate::queue::{Moved, Pair, Queue};

const OPERATION: &str = "watch the lock";

/// How long the server may take to begin.
const BEGIN: Duration = Duration::from_secs(5);

/// Yields the states after `after`; ends with the first error.
pub(crate) fn watch(keys: Keys, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
    let seen = after.version.cargo::<Queue>().cloned();
    let stage = Stage::New { keys, seen, yielded: after.version.clone() };
    Box::pin(unfold(Some(stage), |stage| async {
        let stage = stage?;
        let election = stage.keys().election.clone();
        let next = match stage {
            Stage::New { keys, seen, yielded } => Watch::from(keys, seen, yielded).await,
            Stage::Running(watch) => Ok(watch),
        };
        let next = match next {
            Ok(watch) => watch.next().await,
            Err(failure) => Err(failure),
        };
        Some(match next {
            Ok((seen, watch)) => (Ok(seen), Some(Stage::Running(watch))),
            Err(failure) => (Err(failure.on(&election).during(OPERATION)), None),
        })
    }))
}

enum Stage {
    New { keys: Keys, seen: Option<Queue>, yielded: Version },
    Running(Watch),
}

impl Stage {
    fn keys(&self) -> &Keys {
        match self {
            Self::New { keys, .. } => keys,
            Self::Running(watch) => &watch.keys,
        }
    }
}

struct Watch {
    keys: Keys,
    stream: WatchStream,
    place: Place,
    /// The candidates after the last event.
    queue: Queue,
    /// States that nobody was told of yet.
    news: VecDeque<Observed>,
    yielded: Version,
}

impl Watch {
    async fn from(keys: Keys, seen: Option<Queue>, yielded: Version) -> Result<Self, Failure> {
        match seen {
            Some(queue) => Self::after(keys, queue, yielded).await,
            None => Self::listed(keys, yielded).await,
        }
    }

    /// Reads what is there and goes on from it.
    async fn listed(keys: Keys, yielded: Version) -> Result<Self, Failure> {
        let seen = keys.read().await?;
        let queue = seen.version.cargo::<Queue>().cloned().unwrap_or_default();
        let mut watch = Self::after(keys, queue, yielded).await?;
        watch.tell(seen);
        Ok(watch)
    }

    async fn after(keys: Keys, queue: Queue, yielded: Version) -> Result<Self, Failure> {
        let mut lent = keys.pool.lend().await?;
        // From the next revision: a watch from the present one is served in arrears, every 100 ms.
        let next = queue.revision.saturating_add(1);
        // What others put under the prefix may be large: it comes in pieces.
        let options = WatchOptions::new().with_prefix().with_start_revision(next).with_fragment();
        let prefix = keys.election.prefix();
        let begun = timeout(BEGIN, lent.client.watch(prefix, Some(options))).await;
        let stream = match begun {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(keys.pool.failed(lent.place, &error)),
            Err(_elapsed) => {
                keys.pool.close(lent.place);
                let text = format!("no watch began within {BEGIN:?}");
                return Err(Failure::unanswered(text));
            }
        };
        let place = lent.place;
        Ok(Self { keys, stream, place, queue, news: VecDeque::new(), yielded })
    }

    async fn next(mut self) -> Result<(Observed, Self), Failure> {
        loop {
            if let Some(seen) = self.news.pop_front() {
                return Ok((seen, self));
            }
            let message = match self.stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    self.keys.pool.close(self.place);
                    return Err(ended("the server ended it"));
                }
                Err(error) => return Err(self.keys.pool.failed(self.place, &error)),
            };
            self.keys.pool.heard(self.place, message.header()).await?;
            if message.compact_revision() > 0 {
                // What came in between is forgotten by the store.
                self = Self::listed(self.keys, self.yielded).await?;
            } else if message.canceled() {
                // A login that ran out is not renewed on a connection that is used for a stream alone.
                self.keys.pool.close(self.place);
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
                if self.queue.apply(&self.keys.election, change)? == Moved::Unknown {
                    moved = Moved::Unknown;
                }
            }
            let last = of_one_revision.last().map_or(seen_at, |last| last.modified);
            self.queue.revision = seen_at.max(last);
            if moved == Moved::Unknown {
                self.queue = self.next_in_line().await?;
            }
            let seen = self.keys.observed(self.queue.clone());
            self.tell(seen);
        }
        Ok(())
    }

    /// Who leads after the one before is gone, as of that revision if the store still knows it.
    async fn next_in_line(&self) -> Result<Queue, Failure> {
        match self.keys.queue(self.queue.revision).await {
            Err(failure) if failure.kind() == ErrorKind::Unavailable => self.keys.queue(0).await,
            read => read,
        }
    }

    fn tell(&mut self, seen: Observed) {
        if seen.version != self.yielded {
            self.yielded = seen.version.clone();
            self.news.push_back(seen);
        }
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
