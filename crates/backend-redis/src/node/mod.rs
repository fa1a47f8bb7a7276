//! The connections to one server, which all its locks share.

mod group;
pub(crate) mod hub;
pub(crate) mod sentinel;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value, cmd};

use crate::connection::{Connection, How, first_error};
use crate::dial::Address;
use crate::failure::{Failure, Reason};
use crate::info::SECTIONS;
use crate::node::group::{Group, Queued};
use crate::node::hub::Hub;
use crate::node::sentinel::Sentinels;

/// Connections for reads, and as many for writes: one that waits for replicas serves nobody else.
const LANES: usize = 2;

/// A server, or what takes its place after a fail-over.
pub(crate) struct Node {
    pub(crate) how: How,
    pub(crate) target: Target,
    reads: [Slot; LANES],
    writes: [Slot; LANES],
    pub(crate) hub: Hub,
    /// Where it was found last.
    last: Mutex<Option<Address>>,
    /// Whether it was a primary once.
    pub(crate) has_served: AtomicBool,
}

/// Where a server is found.
#[derive(Debug)]
pub(crate) enum Target {
    Fixed(Address),
    Sentinels(Sentinels),
}

impl Target {
    pub(crate) fn apart(&self) -> Self {
        match self {
            Self::Fixed(address) => Self::Fixed(address.clone()),
            Self::Sentinels(sentinels) => Self::Sentinels(sentinels.apart()),
        }
    }
}

/// What is asked of a server.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) commands: Vec<Cmd>,
    /// What is sent instead if the server does not know the script of the first command.
    pub(crate) with_script: Vec<Cmd>,
    /// How many replicas must have it.
    pub(crate) wait: Option<Wait>,
    /// Whether it may be sent twice.
    pub(crate) is_simple: bool,
    /// Whether it goes to a node of a cluster that is about to get the key.
    pub(crate) is_asking: bool,
}

/// How a request calls its script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// By its digest.
    Known,
    WithScript,
}

impl Request {
    /// A request without scripts that may be sent twice.
    pub(crate) fn simple(commands: Vec<Cmd>) -> Self {
        Self { commands, with_script: Vec::new(), wait: None, is_simple: true, is_asking: false }
    }

    /// What is sent.
    fn sent(&self, form: Form) -> Vec<Cmd> {
        let commands = match form {
            Form::Known => &self.commands,
            Form::WithScript => &self.with_script,
        };
        let asking = self.is_asking.then(|| cmd("ASKING"));
        asking.into_iter().chain(commands.iter().cloned()).collect()
    }

    /// The replies to the commands alone.
    fn replied(&self, replies: &[Value]) -> Vec<Value> {
        replies[usize::from(self.is_asking)..].to_vec()
    }

    /// Whether the server must be sent the script.
    fn lacks_script(&self, replies: &[Value]) -> bool {
        let first = replies.get(usize::from(self.is_asking));
        !self.with_script.is_empty()
            && matches!(first, Some(Value::ServerError(error)) if error.code() == "NOSCRIPT")
    }
}

/// For replicas to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) replicas: u64,
    pub(crate) limit: Duration,
}

/// What follows the replies to a request that waits: the replicas that acknowledged, and the
/// sections of INFO after that.
pub(crate) const AFTER_WAIT: usize = 1 + SECTIONS.len();

#[derive(Default)]
struct Slot {
    live: Mutex<Option<Arc<Connection>>>,
    dialing: tokio::sync::Mutex<()>,
    queue: Mutex<Vec<Queued>>,
    /// Held by whoever sends what is queued, and waits for all of it.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn new(how: How, target: Target) -> Self {
        Self {
            how,
            target,
            reads: Default::default(),
            writes: Default::default(),
            hub: Hub::default(),
            last: Mutex::default(),
            has_served: AtomicBool::new(false),
        }
    }

    /// The replies to each command of a request, errors too; a request that waits has
    /// [`AFTER_WAIT`] more. `lane` says which of the connections is used.
    pub(crate) async fn ask(&self, lane: usize, request: Request) -> Result<Vec<Value>, Failure> {
        let slots = if request.is_simple { &self.reads } else { &self.writes };
        let slot = &slots[lane % LANES];
        let replies = match request.wait {
            None => self.alone(slot, &request).await,
            Some(_) => self.in_group(slot, request).await,
        };
        let address = || self.told();
        let error = match &replies {
            Ok(replies) => first_error(replies, &address()),
            Err(failure) => Some(failure.clone()),
        };
        if error.is_some_and(|failure| failure.reason == Reason::Stale) {
            self.retire();
        }
        replies
    }

    /// Where it was found last, for people.
    pub(crate) fn told(&self) -> String {
        match (&self.target, &*locked(&self.last)) {
            (Target::Fixed(address), _) | (_, Some(address)) => address.to_string(),
            (Target::Sentinels(sentinels), None) => sentinels.to_string(),
        }
    }

    /// Whether it is this one.
    pub(crate) fn is_at(&self, address: &Address) -> bool {
        matches!(&self.target, Target::Fixed(own) if own == address)
    }

    /// Where it was found last.
    pub(crate) fn last(&self) -> Option<Address> {
        locked(&self.last).clone()
    }

    /// Nothing more is asked on the connections there are: another server may have taken over.
    pub(crate) fn retire(&self) {
        for slot in self.reads.iter().chain(&self.writes) {
            locked(&slot.live).take();
        }
        self.hub.end();
    }

    /// Where the server is now.
    pub(crate) async fn find(&self) -> Result<Address, Failure> {
        let found = match &self.target {
            Target::Fixed(address) => return Ok(address.clone()),
            Target::Sentinels(sentinels) => sentinels.primary().await?,
        };
        let before = locked(&self.last).replace(found.clone());
        if before.is_some_and(|before| before != found) {
            self.retire();
        }
        Ok(found)
    }

    async fn alone(&self, slot: &Slot, request: &Request) -> Result<Vec<Value>, Failure> {
        let (connection, is_new) = self.connection(slot).await?;
        let using = Using::of(slot, &connection);
        let replies = match connection.ask(&request.sent(Form::Known)).await {
            // It was closed while nobody used it.
            Err(failure) if failure.reason == Reason::Closed && request.is_simple && !is_new => {
                drop(using);
                return Box::pin(self.alone(slot, request)).await;
            }
            replies => replies?,
        };
        let replies = match request.lacks_script(&replies) {
            true => connection.ask(&request.sent(Form::WithScript)).await?,
            false => replies,
        };
        using.done();
        Ok(request.replied(&replies))
    }

    /// Sends what is queued with one WAIT for all, when its turn comes; or hears from whoever did.
    async fn in_group(&self, slot: &Slot, request: Request) -> Result<Vec<Value>, Failure> {
        let (queued, mut asked) = Queued::new(request);
        locked(&slot.queue).push(queued);
        let abandoned = Abandoned { slot, sent: asked.sent.clone() };
        let turn = tokio::select! {
            biased;
            replied = &mut asked.replied => {
                abandoned.done();
                return replied.unwrap_or_else(|_gone| Err(interrupted()));
            }
            turn = slot.turn.lock() => turn,
        };
        // Unless whoever sent it gave up meanwhile.
        if asked.sent.get().is_none() {
            let connection = self.connection(slot).await;
            let mut queued = std::mem::take(&mut *locked(&slot.queue));
            queued.retain(Queued::is_wanted);
            match connection {
                Ok((connection, _)) => Group::of(connection, queued).await,
                Err(failure) => queued.into_iter().for_each(|one| one.fail(&failure)),
            }
        }
        drop(turn);
        let replied = asked.replied.await;
        abandoned.done();
        replied.unwrap_or_else(|_gone| Err(interrupted()))
    }

    /// The slot's connection, and whether it was made just now.
    async fn connection(&self, slot: &Slot) -> Result<(Arc<Connection>, bool), Failure> {
        let live = || {
            let live = locked(&slot.live).clone();
            live.filter(|connection| !connection.is_closed())
        };
        if let Some(connection) = live() {
            return Ok((connection, false));
        }
        let _dialing = slot.dialing.lock().await;
        if let Some(connection) = live() {
            return Ok((connection, false));
        }
        let address = self.find().await?;
        let opened = Connection::open(&self.how, &address).await;
        if let (Err(_), Target::Sentinels(sentinels)) = (&opened, &self.target) {
            sentinels.doubt(&address);
        }
        let connection = Arc::new(opened?);
        *locked(&slot.live) = Some(connection.clone());
        Ok((connection, true))
    }
}

/// The sections of INFO that are needed.
pub(crate) fn sections() -> impl Iterator<Item = Cmd> {
    SECTIONS.iter().map(|section| {
        let mut info = cmd("INFO");
        info.arg(*section);
        info
    })
}

fn interrupted() -> Failure {
    Failure::closed("the connection ended before an answer came")
}

/// A request under way. Dropped before its answer, it takes its connection away from others: the
/// server may not answer there for long. Who waits on it still is answered.
struct Using<'a> {
    slot: &'a Slot,
    connection: &'a Arc<Connection>,
    done: bool,
}

impl<'a> Using<'a> {
    fn of(slot: &'a Slot, connection: &'a Arc<Connection>) -> Self {
        Self { slot, connection, done: false }
    }

    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Using<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.slot.avoid(self.connection);
        }
    }
}

/// The same for a request that shares its WAIT.
struct Abandoned<'a> {
    slot: &'a Slot,
    sent: Arc<OnceLock<Arc<Connection>>>,
}

impl Abandoned<'_> {
    fn done(mut self) {
        self.sent = Arc::default();
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.sent.get() {
            self.slot.avoid(connection);
        }
    }
}

impl Slot {
    /// Nothing more is asked on this connection.
    fn avoid(&self, connection: &Arc<Connection>) {
        let mut live = locked(&self.live);
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(live, connection)) {
            live.take();
        }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
