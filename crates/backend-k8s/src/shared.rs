//! One watch of a whole namespace for all locks of a client in it, so that a thousand elections
//! need no thousand connections. It needs the right to watch every name; who has it for some only
//! goes on with a watch for each.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::unfold;
use kube::api::WatchParams;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::answer::{Event, Events};
use crate::failure::{Failure, Reason};
use crate::form::Form;
use crate::object::Object;
use crate::reader::Reader;

/// A hub that heard nothing for so long, and knows less than who comes to it, is silently dead.
const SILENT: Duration = Duration::from_secs(3);

/// How many events may wait for one listener. Who is slower is let go, reads, and comes again.
const WAITING: usize = 256;

/// The form and the namespace of the objects.
type Place = (Form, String);

/// The watches of one client.
#[derive(Default)]
pub(crate) struct Watches {
    places: Mutex<HashMap<Place, Watched>>,
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watches")
    }
}

#[derive(Default)]
struct Watched {
    /// Every stream has one.
    streams: Weak<()>,
    hub: Weak<Hub>,
    /// Watching every name is not allowed.
    is_forbidden: bool,
}

/// Which watch a lock gets.
pub(crate) enum Joined {
    /// One of its own, which lasts no longer than this.
    Own(Arc<()>),
    Shared(Subscription),
}

/// A place among the listeners of a hub.
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    events: mpsc::Receiver<Event>,
    seat: Arc<()>,
}

/// Tells every listener what happens to its object. Ends with its last subscription.
struct Hub {
    listeners: Mutex<Listeners>,
    /// Whether the API server tells it what happens from now on.
    begun: watch::Receiver<bool>,
    task: OnceLock<AbortHandle>,
}

struct Listeners {
    /// `None`: it is over.
    of: Option<HashMap<String, Vec<mpsc::Sender<Event>>>>,
    /// Up to which revision it was told, and when.
    heard: (Option<u64>, Instant),
}

impl Watches {
    /// The watch for a lock whose state at this revision is known: the first in its namespace gets
    /// one of its own, for which the right to watch this very name is enough.
    pub(crate) fn join(self: &Arc<Self>, reader: &Reader, seen: Option<u64>) -> Joined {
        let mut places = locked(&self.places);
        let watched = places.entry(place(reader)).or_default();
        let Some(seat) = watched.streams.upgrade() else {
            let seat = Arc::new(());
            watched.streams = Arc::downgrade(&seat);
            return Joined::Own(seat);
        };
        if watched.is_forbidden {
            return Joined::Own(seat);
        }
        let hub = watched.hub.upgrade().filter(|hub| hub.serves(seen)).unwrap_or_else(|| {
            let hub = Hub::start(reader.clone(), self);
            watched.hub = Arc::downgrade(&hub);
            hub
        });
        let events = hub.subscribe(&reader.place.name);
        Joined::Shared(Subscription { hub, events, seat })
    }

    fn forbid(&self, reader: &Reader) {
        locked(&self.places).entry(place(reader)).or_default().is_forbidden = true;
    }
}

fn place(reader: &Reader) -> Place {
    (reader.form, reader.place.namespace.clone())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscription {
    /// For a watch of its own instead.
    pub(crate) fn seat(&self) -> Arc<()> {
        self.seat.clone()
    }

    /// What happens to the object from now on; `None` if the hub ended before it began. What
    /// happened before is for the caller to read.
    pub(crate) async fn begun(self) -> Option<Events> {
        self.hub.begun.clone().wait_for(|begun| *begun).await.ok()?;
        Some(Box::pin(unfold(self, |mut subscription| async {
            let event = subscription.events.recv().await?;
            Some((Ok(event), subscription))
        })))
    }
}

impl Hub {
    fn start(reader: Reader, watches: &Arc<Watches>) -> Arc<Self> {
        let (sender, begun) = watch::channel(false);
        let listeners = Listeners { of: Some(HashMap::new()), heard: (None, Instant::now()) };
        let hub = Arc::new(Self { listeners: Mutex::new(listeners), begun, task: OnceLock::new() });
        let task =
            tokio::spawn(follow(reader, Arc::downgrade(watches), Arc::downgrade(&hub), sender));
        let _ = hub.task.set(task.abort_handle());
        hub
    }

    fn serves(&self, seen: Option<u64>) -> bool {
        let listeners = locked(&self.listeners);
        let (revision, at) = listeners.heard;
        let knows_less = *self.begun.borrow() && revision < seen;
        listeners.of.is_some() && !(knows_less && at.elapsed() > SILENT)
    }

    fn subscribe(&self, name: &str) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(WAITING);
        // Over meanwhile: the receiver ends at once, and its owner comes again.
        if let Some(of) = &mut locked(&self.listeners).of {
            let senders = of.entry(name.to_owned()).or_default();
            senders.retain(|sender| !sender.is_closed());
            senders.push(sender);
        }
        receiver
    }

    fn tell(&self, event: Event) {
        let (Event::Is(object) | Event::Gone(object)) = &event else { return };
        let mut listeners = locked(&self.listeners);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let Some(senders) = listeners.of.as_mut().and_then(|of| of.get_mut(name)) else { return };
        senders.retain(|sender| sender.try_send(event.clone()).is_ok());
    }

    fn hears(&self, revision: Option<u64>) {
        let mut listeners = locked(&self.listeners);
        listeners.heard = (revision.max(listeners.heard.0), Instant::now());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// Tells the hub until the API server has told of an error, and resumes where a watch came to its
/// end.
async fn follow(
    reader: Reader,
    watches: Weak<Watches>,
    hub: Weak<Hub>,
    begun: watch::Sender<bool>,
) {
    let failure = follow_on(&reader, &hub, &begun).await;
    if failure.reason == Reason::Forbidden {
        tracing::debug!(
            namespace = reader.place.namespace,
            "may not watch every name: one watch for each lock"
        );
        if let Some(watches) = watches.upgrade() {
            watches.forbid(&reader);
        }
    }
    if let Some(hub) = hub.upgrade() {
        locked(&hub.listeners).of = None;
    }
}

async fn follow_on(reader: &Reader, hub: &Weak<Hub>, begun: &watch::Sender<bool>) -> Failure {
    let gone = || Failure::unavailable("nobody listens any more");
    let mut seen = None;
    loop {
        let mut events = match reader.events(WatchParams::default(), seen).await {
            Ok(events) => events,
            Err(failure) => return failure,
        };
        begun.send_replace(true);
        while let Some(event) = events.next().await {
            let Some(hub) = hub.upgrade() else { return gone() };
            let event = match event {
                Ok(event) => event,
                Err(failure) => return failure,
            };
            // The states that are there come first, in no order.
            seen = revision(&event).max(seen);
            hub.hears(seen);
            hub.tell(event);
        }
        if seen.is_none() {
            return Failure::unavailable("the watch ended before anything came");
        }
    }
}

fn revision(event: &Event) -> Option<u64> {
    match event {
        Event::Is(value) | Event::Gone(value) => Object::revision_of(value),
        Event::Bookmark(revision) => *revision,
    }
}
