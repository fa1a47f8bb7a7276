//! A backend behind a link: what travels, and what becomes of it on the way.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use leasehold_core::{
    BoxStream, Capabilities, Change, Error, Holder, Intent, LockBackend, Observed, Outcome, Version,
};
use tokio::sync::oneshot;

use crate::history::{Answer, What};

use super::{Fault, Link, Strikes};

/// A backend behind a link.
pub struct Linked {
    store: Arc<dyn LockBackend>,
    link: Link,
}

/// A request on its way. Owned, so that it can outlive whoever sent it.
#[derive(Clone)]
enum Request {
    Read,
    Write(Version, Change),
}

enum Reply {
    Read(Result<Observed, Error>),
    Wrote(Result<Outcome, Error>),
}

impl Request {
    fn intent(&self) -> Option<Intent> {
        match self {
            Self::Read => None,
            Self::Write(_, change) => Some(change.intent),
        }
    }

    fn failed(&self, error: Error) -> Reply {
        match self {
            Self::Read => Reply::Read(Err(error)),
            Self::Write(..) => Reply::Wrote(Err(error)),
        }
    }
}

impl Reply {
    fn answer(&self) -> Answer {
        match self {
            Self::Read(Ok(_)) | Self::Wrote(Ok(Outcome::Written(_))) => Answer::Done,
            Self::Wrote(Ok(Outcome::Conflict)) => Answer::Conflict,
            Self::Read(Err(_)) | Self::Wrote(Err(_)) => Answer::Unknown,
        }
    }
}

/// Notes that nobody waits for an answer any more.
struct Waiting<'a> {
    link: &'a Link,
    op: u64,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.link.note(What::GivenUp { op: self.op });
        }
    }
}

impl Linked {
    pub(super) fn new(store: Arc<dyn LockBackend>, link: Link) -> Self {
        Self { store, link }
    }

    async fn request(&self, request: Request) -> Reply {
        let link = &self.link;
        link.0.gate.running(&link.0.clock).await;
        let (op, intent) = (link.0.ledger.number(), request.intent());
        link.note(What::Sent { op, intent });
        let mut waiting = Waiting { link, op, answered: false };
        let strikes = link.strikes(intent);
        let reply = if strikes.is_none() {
            carry_out(&self.store, link, op, &request).await
        } else {
            self.on_the_wire(op, request, strikes).await
        };
        link.0.gate.running(&link.0.clock).await;
        waiting.answered = true;
        link.note(What::Answered { op, answer: reply.answer() });
        reply
    }

    /// A request that a fault has struck goes on when nobody waits for it any more, as bytes on a
    /// wire do.
    async fn on_the_wire(&self, op: u64, request: Request, mut strikes: Strikes) -> Reply {
        let (store, link) = (self.store.clone(), self.link.clone());
        let (sender, reply) = oneshot::channel();
        tokio::spawn(async move {
            // Lost: this task ends, and whoever waits for it waits on.
            if strikes.has(Fault::LoseRequest) {
                return;
            }
            let answer = match strikes.there().await {
                Err(error) => request.failed(error),
                Ok(()) => {
                    let mut answer = carry_out(&store, &link, op, &request).await;
                    if strikes.has(Fault::Double) {
                        answer = carry_out(&store, &link, op, &request).await;
                    }
                    if strikes.has(Fault::LoseAnswer) {
                        return;
                    }
                    strikes.back().await;
                    answer
                }
            };
            // Whoever sent it may have given it up.
            let _ = sender.send(answer);
        });
        match reply.await {
            Ok(reply) => reply,
            Err(_gone) => std::future::pending().await,
        }
    }
}

/// There, at the store, and back.
async fn carry_out(store: &Arc<dyn LockBackend>, link: &Link, op: u64, request: &Request) -> Reply {
    link.travel(link.0.latency.request).await;
    let reply = apply(store, link, op, request).await;
    link.travel(link.0.latency.answer).await;
    reply
}

/// At the store.
async fn apply(store: &Arc<dyn LockBackend>, link: &Link, op: u64, request: &Request) -> Reply {
    let ledger = &link.0.ledger;
    match request {
        Request::Read => {
            let answer = store.read().await;
            if let Ok(observed) = &answer {
                ledger.learn(observed);
            }
            Reply::Read(answer)
        }
        Request::Write(expected, change) => {
            let answer = store.write(expected, change).await;
            match &answer {
                Ok(Outcome::Written(observed)) => {
                    let replaced = ledger.stamps().get(expected).copied();
                    ledger.learn(observed);
                    let stored = observed.record();
                    let holder =
                        change.record.holder.as_ref().and_then(|holder| holder.incarnation);
                    let token = stored.map_or(change.record.token, |record| record.token);
                    let intent = change.intent;
                    link.note(What::Applied { op, intent, holder, token, replaced });
                }
                Ok(Outcome::Conflict) => link.note(What::Refused { op }),
                Err(_) => {}
            }
            Reply::Wrote(answer)
        }
    }
}

#[async_trait]
impl LockBackend for Linked {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn default_identity(&self) -> Option<String> {
        self.store.default_identity()
    }

    async fn read(&self) -> Result<Observed, Error> {
        match self.request(Request::Read).await {
            Reply::Read(answer) => answer,
            Reply::Wrote(_) => unreachable!("a read is answered as a read"),
        }
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        match self.request(Request::Write(expected.clone(), change.clone())).await {
            Reply::Wrote(answer) => answer,
            Reply::Read(_) => unreachable!("a write is answered as a write"),
        }
    }

    async fn may_take(&self, candidate: &Holder) -> Result<(), Error> {
        self.store.may_take(candidate).await
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let reader = Reader {
            events: self.store.watch(after),
            link: self.link.clone(),
            last: None,
            again: Vec::new(),
        };
        Box::pin(futures_util::stream::unfold(reader, |mut reader| async move {
            let event = reader.next().await?;
            Some((event, reader))
        }))
    }
}

impl fmt::Debug for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Linked").field(&self.store).finish()
    }
}

/// A watch behind a link.
struct Reader {
    events: BoxStream<'static, Result<Observed, Error>>,
    link: Link,
    last: Option<Observed>,
    /// What comes next, last first.
    again: Vec<Observed>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Observed, Error>> {
        if let Some(observed) = self.again.pop() {
            return Some(Ok(observed));
        }
        let event = self.events.next().await?;
        self.link.0.gate.running(&self.link.0.clock).await;
        if self.link.is_on(|fault| fault == Fault::Deafen).is_some() {
            // A half-open connection stays so: only another stream hears again.
            std::future::pending::<()>().await;
        }
        self.link.travel(self.link.0.latency.event).await;
        let late = self.link.is_on(|fault| matches!(fault, Fault::DelayEvents(_)));
        if let Some(Fault::DelayEvents(delay)) = late {
            let clock = &self.link.0.clock;
            clock.sleep_until(clock.now() + delay).await;
        }
        if let Ok(observed) = &event {
            self.link.0.ledger.learn(observed);
            let before = self.last.replace(observed.clone());
            if self.link.is_on(|fault| fault == Fault::Replay).is_some() {
                self.again.push(observed.clone());
                self.again.extend(before);
            }
        }
        Some(event)
    }
}
