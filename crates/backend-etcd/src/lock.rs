//! The backend: the writes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{
    Compare, CompareOp, GetOptions, LeaseGrantOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
    TxnResponse,
};
use leasehold_backend::TokenFloor;
use leasehold_core::{
    BoxStream, Capabilities, Change, Error, ErrorKind, Holder, Intent, LeaseClock, LockBackend,
    Observed, Outcome, Push, Record, TimingSettings, Token, Version,
};

use crate::election::{ElectionName, lease_id};
use crate::failure::{Failure, Reason};
use crate::pool::{KeptAlive, Pool, revision};
use crate::queue::{Entry, LARGEST, Queue};
use crate::reader::{HEDGE, Reader};
use crate::watch;

const READ: &str = "read the lock";
const MAY_TAKE: &str = "see whether this user may take the lock";

/// A lock in etcd: an election of this name.
#[derive(Debug)]
pub struct EtcdLock {
    name: String,
    reader: Reader,
}

impl EtcdLock {
    pub(crate) fn new(name: String, election: ElectionName, pool: Arc<Pool>) -> Self {
        Self { name, reader: Reader { election, pool, token_floor: None } }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Tokens up to this may have been used, whatever the store says: after it was restored. Nobody
    /// contends before its revision has reached this.
    ///
    /// # Errors
    /// `Invalid`: above 2^63 - 2.
    pub fn token_floor(mut self, floor: Token) -> Result<Self, Error> {
        self.reader.token_floor = Some(TokenFloor::new(floor)?);
        Ok(self)
    }
}

#[async_trait]
impl LockBackend for EtcdLock {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            push: Push::Resumable,
            lease_clock: LeaseClock::Store,
            sees_deaths: false,
            floor_is_history: true,
            forgets: false,
            // The server grants no less with its default election timeout of 1 s.
            min_lease_duration: Duration::from_secs(2),
            lease_duration_step: Duration::from_secs(1),
            default_timing: TimingSettings::default(),
        }
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.reader.read().await.map_err(|failure| failure.on(&self.reader.election).during(READ))
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let record = &change.record;
        let operation = change.intent.operation();
        let written = match change.intent {
            Intent::Adopt => {
                let why = "etcd has no record without holder: absent is free";
                return Err(Error::new(ErrorKind::Invalid, operation, why));
            }
            Intent::Take => self.take(expected, record).await,
            Intent::Renew => self.renew(expected, record).await,
            Intent::Release => self.release(expected, record).await,
            Intent::Revoke => self.revoke(expected, record).await,
        };
        written.map_err(|failure| failure.on(&self.reader.election).during(operation))
    }

    async fn may_take(&self, _: &Holder) -> Result<(), Error> {
        let asked = self.ask_whether_to_take().await;
        asked.map_err(|failure| failure.on(&self.reader.election).during(MAY_TAKE))
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        watch::watch(self.reader.clone(), after)
    }
}

impl EtcdLock {
    /// Grants a lease of its own to this term, and puts the key if the election is empty. Both come
    /// after the moment that the term counts from.
    async fn take(&self, expected: &Version, record: &Record) -> Result<Outcome, Failure> {
        if !expected.is_absent() {
            return Ok(Outcome::Conflict);
        }
        // The token is the store's word, so none is stored.
        let value = Record { token: 0, ..record.clone() }.to_json();
        if value.len() > LARGEST {
            let text =
                format!("the record has {} bytes, and at most {LARGEST} may be", value.len());
            return Err(Failure::refused(text));
        }
        let lease = lease_id(record.nonce);
        let seconds = seconds(record.lease_duration);
        let granted = self.grant(lease, seconds).await?;
        let behind = expected.cargo::<Queue>().is_some_and(|seen| granted.revision < seen.revision);
        if granted.seconds < seconds || behind {
            self.give_back(lease).await;
            return Ok(Outcome::Conflict);
        }
        let key = self.reader.election.key(lease);
        let put = PutOptions::new().with_lease(lease);
        let txn = Txn::new()
            .when([self.empty()])
            .and_then([TxnOp::put(key.as_str(), value.clone(), Some(put))])
            .or_else([TxnOp::get(key.as_str(), Some(GetOptions::new().with_keys_only()))]);
        let request = |client: etcd_client::Client| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        let response = match self.reader.pool.once(request).await {
            // The lease is gone, so this Take is not and cannot be applied.
            Err(failure) if failure.reason == Reason::NoLease => return Ok(Outcome::Conflict),
            response => response?,
        };
        let revision = revision(response.header())?;
        if response.succeeded() {
            let (key, value) = (key.into_bytes(), Some(value));
            let entry = Entry { key, created: revision, modified: revision, lease, value };
            return Ok(Outcome::Written(self.reader.observed(Queue::led_by(revision, entry, 0))));
        }
        if counted(&response).is_none_or(|ours| ours == 0) {
            self.give_back(lease).await;
        }
        Ok(Outcome::Conflict)
    }

    /// Keeps the lease alive and asks, side by side, whether the key is still ours and the oldest:
    /// the store keeps a lease alive too whose key somebody else deleted.
    async fn renew(&self, expected: &Version, record: &Record) -> Result<Outcome, Failure> {
        let Some(seen) = expected.cargo::<Queue>() else { return Ok(Outcome::Conflict) };
        let Some(first) = seen.first() else { return Ok(Outcome::Conflict) };
        let delay = hedge(record.lease_duration);
        let lease = first.lease;
        // A stream for every keep-alive: an answer says not which one it is for.
        let keep_alive = self.reader.pool.hedged(delay, |client: etcd_client::Client| async move {
            client.lease_client().keep_alive(lease).await.map(|_stream| KeptAlive)
        });
        let confirm = self.confirm(first, delay);
        let (kept, confirmed) = tokio::join!(keep_alive, confirm);
        let confirmed = confirmed?;
        match kept {
            Err(failure) if failure.reason == Reason::NoLease => return Ok(Outcome::Conflict),
            kept => {
                kept?;
            }
        }
        Ok(match confirmed {
            Some(queue) if queue.revision >= seen.revision => {
                Outcome::Written(self.reader.observed(queue))
            }
            Some(_) | None => Outcome::Conflict,
        })
    }

    /// The candidates, if this key is as it was and the oldest. No key is read for it.
    async fn confirm(&self, first: &Entry, delay: Duration) -> Result<Option<Queue>, Failure> {
        let (key, prefix) = (first.key.as_slice(), self.reader.election.prefix());
        let count = GetOptions::new().with_prefix().with_count_only();
        let txn = Txn::new()
            .when([
                Compare::create_revision(key, CompareOp::Equal, first.created),
                Compare::mod_revision(key, CompareOp::Equal, first.modified),
                Compare::lease(key, CompareOp::Equal, first.lease),
                Compare::create_revision(prefix, CompareOp::Greater, first.created - 1)
                    .with_prefix(),
            ])
            .and_then([TxnOp::get(prefix, Some(count))]);
        let request = |client: etcd_client::Client| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        let response = self.reader.pool.hedged(delay, request).await?;
        let revision = revision(response.header())?;
        let confirmed = counted(&response).filter(|_| response.succeeded());
        let queue = |all: u64| Queue::led_by(revision, first.clone(), all.saturating_sub(1));
        Ok(confirmed.map(queue))
    }

    /// Asks for a write that never comes true: rights are checked for all that a transaction might
    /// do, before it does any of it. It needs what a Take needs: to read the keys of the election,
    /// and to write one.
    async fn ask_whether_to_take(&self) -> Result<(), Failure> {
        let key = self.reader.election.key(1);
        let never = Compare::create_revision(key.as_str(), CompareOp::Less, 0);
        let txn = Txn::new().when([self.empty(), never]).and_then([TxnOp::put(
            key.as_str(),
            "",
            None::<PutOptions>,
        )]);
        let request = |client: etcd_client::Client| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        self.reader.pool.hedged(HEDGE, request).await.map(drop)
    }

    /// Ends the lease of a term, and with it the key. The lease is that term's alone, so nothing
    /// else can be hit, however late this arrives.
    async fn release(&self, expected: &Version, record: &Record) -> Result<Outcome, Failure> {
        match expected.cargo::<Queue>().and_then(Queue::first) {
            Some(first) => self.end_lease(first.lease, expected, record).await,
            None => Ok(Outcome::Conflict),
        }
    }

    /// A Take grants its own lease, which its nonce names.
    async fn revoke(&self, expected: &Version, record: &Record) -> Result<Outcome, Failure> {
        self.end_lease(lease_id(record.nonce), expected, record).await
    }

    async fn end_lease(
        &self,
        lease: i64,
        expected: &Version,
        record: &Record,
    ) -> Result<Outcome, Failure> {
        let revoked = self
            .reader
            .pool
            .hedged(hedge(record.lease_duration), |client: etcd_client::Client| async move {
                client.lease_client().revoke(lease).await
            });
        let revision = match revoked.await {
            Ok(response) => revision(response.header())?,
            // It is gone already, be it by an earlier copy of this request.
            Err(failure) if failure.reason == Reason::NoLease => {
                expected.cargo::<Queue>().map_or(0, |seen| seen.revision)
            }
            Err(failure) => return Err(failure),
        };
        Ok(Outcome::Written(self.reader.observed(Queue::empty(revision))))
    }

    pub(crate) async fn grant(&self, lease: i64, seconds: i64) -> Result<Granted, Failure> {
        let request = |client: etcd_client::Client| async move {
            let id = LeaseGrantOptions::new().with_id(lease);
            client.lease_client().grant(seconds, Some(id)).await
        };
        match self.reader.pool.once(request).await {
            Ok(response) => {
                let revision = revision(response.header())?;
                Ok(Granted { seconds: response.ttl(), revision })
            }
            // An earlier copy of the same Take granted it, after the moment that the term counts
            // from.
            Err(failure) if failure.reason == Reason::LeaseExists => {
                let request = |client: etcd_client::Client| async move {
                    client.lease_client().time_to_live(lease, None).await
                };
                let response = self.reader.pool.hedged(HEDGE, request).await?;
                let revision = revision(response.header())?;
                Ok(Granted { seconds: response.granted_ttl(), revision })
            }
            Err(failure) => Err(failure),
        }
    }

    /// A lease that came to nothing. It runs out by itself if this fails.
    pub(crate) async fn give_back(&self, lease: i64) {
        let request =
            |client: etcd_client::Client| async move { client.lease_client().revoke(lease).await };
        let _ = self.reader.pool.once(request).await;
    }

    /// True only if nobody contends.
    fn empty(&self) -> Compare {
        Compare::create_revision(self.reader.election.prefix(), CompareOp::Equal, 0).with_prefix()
    }
}

pub(crate) struct Granted {
    pub(crate) seconds: i64,
    /// The store's, when it granted.
    revision: i64,
}

/// Leases are whole seconds; rounding up is the safe side.
pub(crate) fn seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// How long a renewal waits for one member before it asks another too: three can be asked within
/// the request timeout that belongs to this lease.
fn hedge(lease: Duration) -> Duration {
    (lease / 40).clamp(Duration::from_millis(50), Duration::from_millis(400))
}

/// How many keys the first operation of a transaction found.
fn counted(response: &TxnResponse) -> Option<u64> {
    match response.op_responses().first()? {
        TxnOpResponse::Get(get) => u64::try_from(get.count()).ok(),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_never_shorter_than_asked() {
        for (asked, granted) in [(2000, 2), (2001, 3), (15_000, 15), (14_999, 15)] {
            assert_eq!(seconds(Duration::from_millis(asked)), granted);
        }
    }

    #[test]
    fn three_members_are_asked_within_the_request_timeout() {
        for lease in [2, 3, 5, 15, 60, 3600] {
            let timing = TimingSettings {
                lease_duration: Some(Duration::from_secs(lease)),
                ..TimingSettings::default()
            };
            let timeout = timing.build().unwrap().request_timeout();
            assert!(hedge(Duration::from_secs(lease)) * 3 <= timeout, "{lease} s");
        }
    }
}
