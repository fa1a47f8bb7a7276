//! The backend: the writes.

use std::time::Duration;

use async_trait::async_trait;
use leasehold_backend::TokenFloor;
use leasehold_core::{
    BoxStream, Capabilities, Change, Error, Holder, Intent, LeaseClock, LockBackend, Observed,
    Outcome, Push, Record, TimingSettings, Token, Version,
};
use redis::{Cmd, Value, cmd};

use crate::connection::first_error;
use crate::failure::{Failure, Reason};
use crate::info::{Info, text};
use crate::name::LockName;
use crate::node::{AFTER_WAIT, Request, Wait};
use crate::reader::{Reader, Seen};
use crate::script::{CAS, CAS_SHA1, answer};
use crate::stored::Stored;
use crate::watch;

const READ: &str = "read the lock";
const MAY_TAKE: &str = "see whether this user may take the lock";

/// A lock in Redis or Valkey, under the key `leasehold:` and its name.
#[derive(Debug)]
pub struct RedisLock {
    name: String,
    reader: Reader,
}

/// What became of the compare-and-swap itself.
enum Swapped {
    Yes,
    No,
}

impl RedisLock {
    pub(crate) fn new(name: String, reader: Reader) -> Self {
        Self { name, reader }
    }

    /// Tokens up to this may have been used, whatever the store says: the server's clock was set
    /// back, for example. They are minted above it.
    ///
    /// # Errors
    /// `Invalid`: above 2^63 - 2.
    pub fn token_floor(mut self, floor: Token) -> Result<Self, Error> {
        self.reader.token_floor = Some(TokenFloor::new(floor)?);
        Ok(self)
    }

    fn lock_name(&self) -> &LockName {
        &self.reader.name
    }
}

#[async_trait]
impl LockBackend for RedisLock {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            push: Push::Hint,
            lease_clock: LeaseClock::Observers,
            sees_deaths: false,
            floor_is_history: false,
            forgets: true,
            min_lease_duration: Duration::ZERO,
            lease_duration_step: Duration::from_millis(1),
            default_timing: TimingSettings::default(),
        }
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.reader.read().await.map_err(|failure| failure.on(self.lock_name()).during(READ))
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let written = self.reader.write(expected, change).await;
        let operation = change.intent.operation();
        written.map_err(|failure| failure.on(self.lock_name()).during(operation))
    }

    async fn may_take(&self, _: &Holder) -> Result<(), Error> {
        let asked = self.reader.may_take().await;
        asked.map_err(|failure| failure.on(self.lock_name()).during(MAY_TAKE))
    }

    fn watch(&self, _: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        watch::watch(self.reader.clone())
    }
}

impl Reader {
    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Failure> {
        let reign = expected.reign().and_then(|reign| std::str::from_utf8(reign).ok());
        let (Some(reign), Some(seen)) = (reign, expected.cargo::<Seen>()) else {
            return Ok(Outcome::Conflict);
        };
        let stored = Stored {
            record: change.record.clone(),
            reign: reign.to_owned(),
            seq: seen.seq.saturating_add(1),
        };
        let new = stored.to_bytes();
        let wait = self.wait(change.intent, &change.record, seen.online);
        let request = self.swap(reign, expected.as_bytes().unwrap_or_default(), &new, wait);
        let (node, replies) = self.way.ask(self, request).await?;
        let address = node.told();
        let own = replies.len() - if wait.is_some() { AFTER_WAIT } else { 0 };
        let (own, after) = replies.split_at(own);
        match self.swapped(own, &address)? {
            Swapped::No => return Ok(Outcome::Conflict),
            Swapped::Yes => {}
        }
        let online = match wait {
            Some(wait) => self.acknowledged(after, wait, reign, &address)?,
            None => seen.online,
        };
        Ok(Outcome::Written(self.observed(&new, reign, Seen { online, ..*seen })))
    }

    /// How many replicas must have it. An adoption gives the lock to nobody, so it waits for none.
    fn wait(&self, intent: Intent, record: &Record, online: u64) -> Option<Wait> {
        let replicas = self.rules.majority(online);
        let limit = (record.lease_duration / 20).max(Duration::from_millis(1));
        (replicas > 0 && intent != Intent::Adopt).then_some(Wait { replicas, limit })
    }

    fn swap(&self, reign: &str, expected: &[u8], new: &[u8], wait: Option<Wait>) -> Request {
        let replicas = if self.rules.expects_replicas() { "1" } else { "0" };
        let call = |command: &str, script: &str| -> Cmd {
            let mut call = cmd(command);
            call.arg(script).arg(1).arg(self.name.key());
            call.arg(reign).arg(expected).arg(new).arg(replicas);
            call
        };
        Request {
            commands: vec![call("EVALSHA", CAS_SHA1)],
            with_script: vec![call("EVAL", CAS)],
            wait,
            is_read: false,
        }
    }

    /// What the script answered.
    fn swapped(&self, replies: &[Value], address: &str) -> Result<Swapped, Failure> {
        if let Some(failure) = first_error(replies, address) {
            return Err(failure);
        }
        let Some(Value::Array(parts)) = replies.first() else {
            return Err(Failure::unexpected(address));
        };
        let word = |at: usize| parts.get(at).and_then(text).unwrap_or_default();
        match parts.first() {
            Some(Value::Int(answer::WRITTEN)) => Ok(Swapped::Yes),
            Some(Value::Int(answer::CONFLICT)) => Ok(Swapped::No),
            Some(Value::Int(answer::REFUSED)) => {
                match Failure::in_script(word(1), word(2), address) {
                    // A read says what is there instead.
                    failure if failure.reason == Reason::WrongType => Ok(Swapped::No),
                    failure => Err(failure),
                }
            }
            Some(Value::Int(answer::NO_PRIMARY)) => {
                Err(Failure::stale(format!("{address} is not a primary any more")))
            }
            Some(Value::Int(answer::HAS_REPLICAS)) => {
                let online = match parts.get(1) {
                    Some(Value::Int(online)) => u64::try_from(*online).unwrap_or(1),
                    _ => 1,
                };
                Err(self.rules.unexpected_replicas(address, online))
            }
            _ => Err(Failure::unexpected(address)),
        }
    }

    /// Whether enough replicas have the write, in the reign in which it was made. Gives the
    /// replicas that follow.
    fn acknowledged(
        &self,
        after: &[Value],
        wait: Wait,
        reign: &str,
        address: &str,
    ) -> Result<u64, Failure> {
        if let Some(failure) = first_error(after, address) {
            return Err(failure);
        }
        let [Value::Int(acknowledged), info @ ..] = after else {
            return Err(Failure::unexpected(address));
        };
        let info = Info::of(info).ok_or_else(|| Failure::unexpected(address))?;
        if info.reign().as_deref() != Some(reign) {
            return Err(Failure::stale(format!(
                "{address}: the server was demoted, promoted or restarted, or resynchronized a \
                 replica, while it was asked"
            )));
        }
        let online = info.online();
        let needed = wait.replicas.max(self.rules.majority(online));
        let acknowledged = u64::try_from(*acknowledged).unwrap_or(0);
        if acknowledged >= needed {
            return Ok(online);
        }
        let failure = Failure::closed(format!(
            "{address}: {acknowledged} of {needed} replicas acknowledged within {:?} ({online} \
             follow)",
            wait.limit
        ));
        Err(failure.with_cure("bring the replicas back, or look at the network between them"))
    }

    /// Asks for all that a Take does, in forms that change nothing: the server looks at rights
    /// first.
    async fn may_take(&self) -> Result<(), Failure> {
        let mut swap = self.swap("", b"", b"", None);
        // In no reign anything is written.
        let by_text = swap.with_script.clone();
        swap.commands.extend(by_text);
        let mut set = cmd("SET");
        set.arg(self.name.key()).arg("").arg("NX").arg("XX");
        swap.commands.push(set);
        if self.rules.expects_replicas() {
            let mut wait = cmd("WAIT");
            wait.arg("none").arg("none");
            swap.commands.push(wait);
        }
        swap.with_script.clear();
        let (node, replies) = self.way.ask(self, swap).await?;
        let address = node.told();
        let is_right = |failure: &Failure| failure.reason == Reason::NotPermitted;
        let refused = replies
            .iter()
            .find_map(|reply| first_error(std::slice::from_ref(reply), &address).filter(is_right));
        if let Some(failure) = refused {
            return Err(failure);
        }
        // By its digest the server may not know it yet.
        for reply in &replies[..2] {
            if let Value::Array(_) = reply {
                self.swapped(std::slice::from_ref(reply), &address)?;
            }
        }
        Ok(())
    }
}
