//! What is published, for all watches of one server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use redis::Msg;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::connection::listen;
use crate::failure::Failure;
use crate::node::{Node, locked};

/// How often a subscription shows that it is alive, and how long that may take.
const ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2));

/// Messages that a watch may be behind. One that is further behind reads.
const BEHIND: usize = 16;

/// A message: the bytes that were stored.
pub(crate) type Message = Arc<[u8]>;

type Channels = Arc<Mutex<HashMap<String, broadcast::Sender<Message>>>>;

/// The connection that hears what is published, if there is one.
#[derive(Default)]
pub(crate) struct Hub {
    live: Mutex<Option<Arc<Live>>>,
    opening: tokio::sync::Mutex<()>,
}

struct Live {
    sink: PubSubSink,
    channels: Channels,
    task: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is published on one channel. It ends when the connection does.
pub(crate) struct Subscription {
    messages: broadcast::Receiver<Message>,
    _live: Arc<Live>,
}

/// What a watch hears.
pub(crate) enum Heard {
    Stored(Message),
    /// Something was missed.
    Missed,
}

impl Subscription {
    /// The next message; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        match self.messages.recv().await {
            Ok(message) => Some(Heard::Stored(message)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Heard::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Hub {
    /// All subscriptions end: another server may have taken over.
    pub(crate) fn end(&self) {
        if let Some(live) = locked(&self.live).take() {
            live.task.abort();
            locked(&live.channels).clear();
        }
    }
}

impl Node {
    /// What is published on this channel from now on.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<Subscription, Failure> {
        let live = self.live().await?;
        let messages = {
            let mut channels = locked(&live.channels);
            let sender = channels.entry(channel.to_owned());
            sender.or_insert_with(|| broadcast::Sender::new(BEHIND)).subscribe()
        };
        let asked = live.sink.clone().subscribe(channel).await;
        asked.map_err(|error| Failure::of_redis(&error, &self.told()))?;
        Ok(Subscription { messages, _live: live })
    }

    async fn live(&self) -> Result<Arc<Live>, Failure> {
        let live = || {
            let live = locked(&self.hub.live).clone();
            live.filter(|live| !live.task.is_finished())
        };
        if let Some(live) = live() {
            return Ok(live);
        }
        let _opening = self.hub.opening.lock().await;
        if let Some(live) = live() {
            return Ok(live);
        }
        let address = self.find().await?;
        let (sink, stream) = listen(&self.how, &address).await?.split();
        let channels = Channels::default();
        let task = tokio::spawn(hear(sink.clone(), stream, channels.clone()));
        let live = Arc::new(Live { sink, channels, task });
        *locked(&self.hub.live) = Some(live.clone());
        Ok(live)
    }
}

/// Until the connection ends, or is silent when it should answer.
async fn hear(mut sink: PubSubSink, mut stream: PubSubStream, channels: Channels) {
    let mut alive = interval(ALIVE.0);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    alive.reset();
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => tell(&channels, &message),
                None => break,
            },
            _ = alive.tick() => {
                // A subscription that is there already is confirmed again: that needs no right
                // to PING.
                let Some(channel) = locked(&channels).keys().next().cloned() else { continue };
                let confirmed = timeout(ALIVE.1, sink.subscribe(channel)).await;
                if !matches!(confirmed, Ok(Ok(()))) {
                    break;
                }
            }
        }
    }
    locked(&channels).clear();
}

fn tell(channels: &Channels, message: &Msg) {
    if let Some(channel) = locked(channels).get(message.get_channel_name()) {
        // Nobody may listen any more.
        let _ = channel.send(message.get_payload_bytes().into());
    }
}
