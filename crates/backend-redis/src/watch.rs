//! What is published about a lock.

use std::time::Duration;

use leasehold_backend::watching::{Told, Watching, begun, states};
use leasehold_core::{BoxStream, Error, Observed};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::node::hub::{Heard, Message, Subscription};
use crate::reader::{Reader, Seen};
use crate::stored::Stored;

/// A subscription that ended sooner than this was short, and after so many in a row the watch ends.
const AGAIN: Duration = Duration::from_secs(1);
const SHORT: u32 = 4;

const OPERATION: &str = "watch the lock";

/// What a read finds once the subscription has begun, and then what is new.
pub(crate) fn watch(reader: Reader) -> BoxStream<'static, Result<Observed, Error>> {
    states(Stage::New(reader))
}

enum Stage {
    New(Reader),
    Running(Box<Running>),
}

struct Running {
    reader: Reader,
    subscription: Subscription,
    begun: Instant,
    /// How many in a row ended soon.
    short: u32,
    told: Told,
    last: Observed,
}

impl Watching for Stage {
    async fn next(self) -> Result<Option<(Observed, Self)>, Error> {
        let name = match &self {
            Self::New(reader) => reader.name.clone(),
            Self::Running(running) => running.reader.name.clone(),
        };
        let next = match self {
            Self::New(reader) => Running::begin(reader).await,
            Self::Running(running) => running.news().await,
        };
        match next {
            Ok(running) => {
                let seen = running.last.clone();
                Ok(Some((seen, Self::Running(running))))
            }
            Err(failure) => Err(failure.on(&name).during(OPERATION)),
        }
    }
}

impl Running {
    async fn begin(reader: Reader) -> Result<Box<Self>, Failure> {
        // Of a cluster a read says which node has the key.
        let node = match reader.way.heard(&reader) {
            Some(node) => node,
            None => {
                reader.read().await?;
                let heard = reader.way.heard(&reader);
                heard.ok_or_else(|| Failure::stale("no node of the cluster is known"))?
            }
        };
        let subscription = begun(node.subscribe(reader.name.key())).await;
        let subscription = subscription.map_err(Failure::of_us)??;
        let last = reader.read().await?;
        let told = Told::of(&last);
        Ok(Box::new(Self { reader, subscription, begun: Instant::now(), short: 0, told, last }))
    }

    /// Subscribes anew, to whichever server is the primary now.
    async fn again(&mut self) -> Result<Observed, Failure> {
        self.short = if self.begun.elapsed() < AGAIN { self.short + 1 } else { 0 };
        if self.short > SHORT {
            return Err(Failure::closed("the subscription ended"));
        }
        let anew = Self::begin(self.reader.clone()).await?;
        self.subscription = anew.subscription;
        self.begun = anew.begun;
        Ok(anew.last)
    }

    /// Until there is something new.
    async fn news(mut self: Box<Self>) -> Result<Box<Self>, Failure> {
        loop {
            let seen = match self.subscription.next().await {
                Some(Heard::Stored(message)) => match self.is_next(&message) {
                    Next::Is(seen) => seen,
                    Next::IsPast => continue,
                    Next::MustBeRead => self.reader.read().await?,
                },
                Some(Heard::Missed) => self.reader.read().await?,
                None => self.again().await?,
            };
            if let Some(news) = self.told.news(seen) {
                self.last = news;
                return Ok(self);
            }
        }
    }

    /// A message is what was stored. In the reign of the last read it is the next state, if its
    /// number is greater; in another one only a read can tell.
    fn is_next(&self, message: &Message) -> Next {
        let last = &self.last.version;
        let reign = last.reign().and_then(|reign| std::str::from_utf8(reign).ok());
        let (Ok(stored), Some(reign), Some(seen)) =
            (Stored::of(message), reign, last.cargo::<Seen>())
        else {
            return Next::MustBeRead;
        };
        // Of an absent lock the number is a time.
        if stored.reign != reign || last.is_absent() {
            return Next::MustBeRead;
        }
        match stored.seq > seen.seq {
            true => Next::Is(self.reader.observed(message, reign, *seen)),
            false => Next::IsPast,
        }
    }
}

enum Next {
    Is(Observed),
    /// It was read already.
    IsPast,
    MustBeRead,
}
