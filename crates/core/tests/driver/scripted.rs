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
        Ok(Observed { token_floor: floor.or(observed.token_floor), ..observed })
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        self.tell(|script| script.sent.push(change.clone()));
        Fault::happen(self.pop(|script| &mut script.writes)).await?;
        self.lock.write(expected, change).await
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
