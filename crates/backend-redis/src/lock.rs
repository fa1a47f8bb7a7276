//! The backend: the writes.

use std::time::Duration;

use async_trait::async_trait;
use leasehold_backend::TokenFloor;
use leasehold_core::{
    BoxStream, Capabilities, Change, Error, Holder, Intent, LeaseClock, LockBackend, Observed,
    Outcome, Push, Record, TimingSettings, Token, Version,
};
use redis::{Value, cmd};

use crate::connection::{first_error, first_error_of};
use crate::failure::{Failure, Reason};
use crate::info::Info;
use crate::name::LockName;
use crate::node::{AFTER_WAIT, Request, Wait};
use crate::reader::{Reader, Seen};
use crate::rules::Cas;
use crate::stored::Stored;
use crate::swap::{Swap, Swapped, other_reign};
use crate::watch;

const READ: &str = "read the lock";
const MAY_TAKE: &str = "see whether this user may take the lock";

/// A lock in Redis or Valkey, under the key `leasehold:` and its name.
#[derive(Debug)]
pub struct RedisLock {
    name: String,
    reader: Reader,
}

impl RedisLock {
    pub(crate) fn new(name: String, reader: Reader) -> Self {
        Self { name, reader }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
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
        let swap = Swap { reign, expected: expected.as_bytes(), new: &new, wait };
        let (node, replies) = self.way.ask(self, self.request(&swap)).await?;
        let address = node.told();
        let own = replies.len() - if wait.is_some() { AFTER_WAIT } else { 0 };
        let (own, after) = replies.split_at(own);
        let online = match (self.swapped(&swap, own, &address), wait) {
            (Ok(Swapped::No), _) => return Ok(Outcome::Conflict),
            (Ok(Swapped::Yes), Some(wait)) => self.acknowledged(after, wait, reign, &address),
            (Ok(Swapped::Yes), None) => Ok(seen.online),
            (Err(failure), _) => Err(failure),
        };
        match online {
            Ok(online) => {
                let seen = Seen { online, ..*seen };
                Ok(Outcome::Written(self.observed(&new, reign, seen)))
            }
            Err(failure) => {
                if failure.reason == Reason::Stale {
                    node.retire();
                }
                Err(failure)
            }
        }
    }

    /// How many replicas must have it. An adoption gives the lock to nobody, so it waits for none.
    fn wait(&self, intent: Intent, record: &Record, online: u64) -> Option<Wait> {
        let replicas = self.rules.majority(online);
        let limit = (record.lease_duration / 20).max(Duration::from_millis(1));
        (replicas > 0 && intent != Intent::Adopt).then_some(Wait { replicas, limit })
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
        const RIGHTS: [&str; AFTER_WAIT] =
            ["wait", "info|server", "info|replication", "info|stats"];
        if let Some(failure) = first_error_of(after, &RIGHTS, address) {
            return Err(failure);
        }
        let [Value::Int(acknowledged), info @ ..] = after else {
            return Err(Failure::unexpected(address));
        };
        let info = Info::of(info).ok_or_else(|| Failure::unexpected(address))?;
        if info.reign().as_deref() != Some(reign) {
            return Err(other_reign(address));
        }
        let online = info.online();
        let needed = wait.replicas.max(self.rules.majority(online));
        let acknowledged = u64::try_from(*acknowledged).unwrap_or(0);
        if acknowledged >= needed {
            return Ok(online);
        }
        // Replicas may follow another primary by now.
        let failure = Failure::stale(format!(
            "{address}: {acknowledged} of {needed} replicas acknowledged within {:?} ({online} \
             follow)",
            wait.limit
        ));
        Err(failure.with_cure("bring the replicas back, or look at the network between them"))
    }

    /// Asks for all that a Take does, in forms that change nothing: the server looks at rights
    /// first.
    async fn may_take(&self) -> Result<(), Failure> {
        // No server is of this reign, so nothing is written.
        let never = Swap { reign: "", expected: None, new: b"", wait: None };
        let mut asked = match self.rules.cas {
            Cas::Script => self.request(&never),
            Cas::IfEq => Request::simple(Vec::new()),
        };
        // By its digest the server may not know the script.
        let scripts = std::mem::take(&mut asked.with_script);
        asked.commands.extend(scripts);
        let calls = asked.commands.len();
        let mut set = cmd("SET");
        set.arg(self.name.key()).arg("").arg("NX").arg("XX");
        asked.commands.push(set);
        if self.rules.expects_replicas() {
            let mut wait = cmd("WAIT");
            wait.arg("none").arg("none");
            asked.commands.push(wait);
        }
        let (node, replies) = self.way.ask(self, asked).await?;
        let address = node.told();
        let refused = replies.iter().find_map(|reply| {
            let failure = first_error(std::slice::from_ref(reply), &address)?;
            (failure.reason == Reason::NotPermitted).then_some(failure)
        });
        if let Some(failure) = refused {
            return Err(failure);
        }
        for reply in &replies[..calls] {
            if let Value::Array(parts) = reply {
                self.scripted(parts, &address)?;
            }
        }
        Ok(())
    }
}
