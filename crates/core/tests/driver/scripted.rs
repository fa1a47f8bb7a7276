//! A lock that does as it is told.

use super::*;

/// A lock that does as it is told, and remembers what was asked.
#[derive(Clone, Debug)]
pub(super) struct Scripted {
    pub(super) lock: MemoryLock,
    pub(super) script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
pub(super) struct Script {
    /// What becomes of the next reads and writes; once it is used up, they work.
    pub(super) reads: Vec<Fault>,
    pub(super) writes: Vec<Fault>,
    /// The same of the next questions whether one may take; then `denied` says so.
    pub(super) asks: Vec<Fault>,
    pub(super) asked: u32,
    pub(super) denied: bool,
    /// What every acknowledged write shows instead of what is stored: the state from before, or
    /// none.
    pub(super) shows: Option<Shows>,
    /// The expiry that every read gives, whatever the capabilities say.
    pub(super) expiry: Option<Expiry>,
    pub(super) push: Push,
    pub(super) floor: Option<Token>,
    /// A watch ends as soon as it is opened.
    pub(super) watches_end: bool,
    /// The watches that were opened, with what they are to yield.
    pub(super) watches: Vec<mpsc::UnboundedSender<Result<Observed, Error>>>,
    /// How much of them was heard.
    heard: u32,
    pub(super) sent: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Hangs,
    Fails(ErrorKind),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Shows {
    Before,
    Nothing,
}

impl Fault {
    async fn happen(fault: Option<Self>) -> Result<(), Error> {
        match fault {
            None => Ok(()),
            Some(Self::Hangs) => std::future::pending().await,
            Some(Self::Fails(kind)) => Err(Error::new(kind, "ask the store", "as told")),
        }
    }
}

impl Scripted {
    pub(super) fn new(push: Push) -> Self {
        let script = Script {
            reads: Vec::new(),
            writes: Vec::new(),
            asks: Vec::new(),
            asked: 0,
            denied: false,
            shows: None,
            expiry: None,
            push,
            floor: None,
            watches_end: false,
            watches: Vec::new(),
            heard: 0,
            sent: Vec::new(),
        };
        Self { lock: MemoryLock::new("scripted"), script: Arc::new(Mutex::new(script)) }
    }

    pub(super) fn tell(&self, tell: impl FnOnce(&mut Script)) {
        tell(&mut self.script.lock().unwrap());
    }

    pub(super) fn sent(&self, intent: Intent) -> Vec<Change> {
        let script = self.script.lock().unwrap();
        script.sent.iter().filter(|change| change.intent == intent).cloned().collect()
    }

    pub(super) fn heard(&self) -> u32 {
        self.script.lock().unwrap().heard
    }

    pub(super) fn watches(&self) -> usize {
        self.script.lock().unwrap().watches.len()
    }

    pub(super) fn pop(&self, faults: impl FnOnce(&mut Script) -> &mut Vec<Fault>) -> Option<Fault> {
        let mut script = self.script.lock().unwrap();
        let faults = faults(&mut script);
        if faults.is_empty() { None } else { Some(faults.remove(0)) }
    }
}

#[async_trait]
impl LockBackend for Scripted {
    fn name(&self) -> &str {
        self.lock.name()
    }

    fn capabilities(&self) -> Capabilities {
        let script = self.script.lock().unwrap();
        let floor_is_history = script.floor.is_some();
        Capabilities { push: script.push, floor_is_history, ..self.lock.capabilities() }
    }

    async fn read(&self) -> Result<Observed, Error> {
        Fault::happen(self.pop(|script| &mut script.reads)).await?;
        let floor = self.script.lock().unwrap().floor;
        let observed = self.lock.read().await?;
        let expiry = self.script.lock().unwrap().expiry.unwrap_or(observed.expiry);
        Ok(Observed { token_floor: floor.or(observed.token_floor), expiry, ..observed })
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        self.tell(|script| script.sent.push(change.clone()));
        Fault::happen(self.pop(|script| &mut script.writes)).await?;
        let before = self.lock.read().await?;
        let outcome = self.lock.write(expected, change).await?;
        Ok(match (outcome, self.script.lock().unwrap().shows) {
            (Outcome::Written(_), Some(Shows::Before)) => Outcome::Written(before),
            (Outcome::Written(stored), Some(Shows::Nothing)) => Outcome::Written(Observed {
                version: Version::absent(),
                contents: Contents::Absent,
                ..stored
            }),
            (outcome, _) => outcome,
        })
    }

    async fn may_take(&self, _: &Holder) -> Result<(), Error> {
        self.tell(|script| script.asked += 1);
        Fault::happen(self.pop(|script| &mut script.asks)).await?;
        match self.script.lock().unwrap().denied {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Denied, "take the lock", "as told")),
        }
    }

    fn watch(&self, _: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let (send, receive) = mpsc::unbounded_channel();
        let mut script = self.script.lock().unwrap();
        script.watches.push(send);
        if script.watches_end {
            return futures_util::stream::empty().boxed();
        }
        let script = self.script.clone();
        futures_util::stream::unfold((receive, script), |(mut receive, script)| async move {
            let observed = receive.recv().await?;
            script.lock().unwrap().heard += 1;
            Some((observed, (receive, script)))
        })
        .boxed()
    }
}
