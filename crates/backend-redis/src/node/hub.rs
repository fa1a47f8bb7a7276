//! What is published, for all watches of one server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use redis::Msg;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::sync::broadcast;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::connection::listen;
use crate::dial::Address;
use crate::failure::Failure;
use crate::node::sentinel::tcp;
use crate::node::{Node, Target, locked};

/// How often a subscription shows that it is alive, and how long that may take.
const ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2));

/// Messages that a watch may be behind. One that is further behind reads.
const BEHIND: usize = 16;

/// A message: the bytes that were stored.
pub(crate) type Message = Arc<[u8]>;

/// Where Sentinels announce another primary: its name, the old address and the new one.
pub(crate) const SWITCHED: &str = "+switch-master";

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
    /// They end with this.
    _switches: JoinSet<()>,
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
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        channel: &str,
    ) -> Result<Subscription, Failure> {
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

    async fn live(self: &Arc<Self>) -> Result<Arc<Live>, Failure> {
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
        let live = Arc::new(Live { sink, channels, task, _switches: self.switches() });
        *locked(&self.hub.live) = Some(live.clone());
        Ok(live)
    }
}

impl Node {
    /// Tasks that hear from Sentinels that another server is the primary. Subscribers and idle
    /// connections stay on a demoted one for ten seconds.
    fn switches(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Target::Sentinels(sentinels) = &self.target {
            for host in &sentinels.hosts {
                tasks.spawn(heed(Arc::downgrade(self), host.clone()));
            }
        }
        tasks
    }
}

impl Node {
    /// Another server is the primary, as a Sentinel says: `m 10.0.0.1 6379 10.0.0.2 6379`. The
    /// other Sentinels say so, too.
    fn switched(&self, message: &[u8]) {
        let words = String::from_utf8_lossy(message);
        let words: Vec<&str> = words.split(' ').collect();
        let is_known = matches!(words[..], [_, _, _, host, port]
            if Some(tcp(host, port)) == self.last());
        if !is_known {
            self.retire();
        }
    }
}

/// Until nobody needs it any more. A Sentinel that does not answer is asked again later.
async fn heed(node: Weak<Node>, host: Address) {
    loop {
        let Some((how, master)) = node.upgrade().and_then(|node| match &node.target {
            Target::Sentinels(sentinels) => {
                Some((sentinels.how.clone(), format!("{} ", sentinels.master)))
            }
            Target::Fixed(_) => None,
        }) else {
            return;
        };
        if let Ok(hints) = listen(&how, &host).await {
            heard(&node, &master, hints).await;
        }
        sleep(ALIVE.0).await;
    }
}

/// Until this Sentinel is silent when it should answer.
async fn heard(node: &Weak<Node>, master: &str, hints: PubSub) {
    let (mut sink, mut stream) = hints.split();
    let mut is_alive =
        async || matches!(timeout(ALIVE.1, sink.subscribe(SWITCHED)).await, Ok(Ok(())));
    if !is_alive().await {
        return;
    }
    loop {
        match timeout(ALIVE.0, stream.next()).await {
            Ok(Some(message)) => {
                let words = message.get_payload_bytes();
                let Some(node) = node.upgrade() else { return };
                if words.starts_with(master.as_bytes()) {
                    node.switched(words);
                }
            }
            Ok(None) => return,
            Err(_silence) if is_alive().await => {}
            Err(_silence) => return,
        }
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
                Some(message) => {
                    tell(&channels, &message);
                    alive.reset();
                }
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
