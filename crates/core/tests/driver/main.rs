//! What the driver owes the election, the store and its callers, in virtual time.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

#[path = "../common/mod.rs"]
mod common;
mod failures;
mod handles;
mod permission;
mod races;
mod requests;
mod scripted;
mod watch;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::{D, FaultyLock, L, P, SECOND, elector, in_virtual_time, led, spawn_local};
use futures_util::{FutureExt, Stream, StreamExt};
use leasehold_core::testing::VirtualClock;
use leasehold_core::{
    BoxFuture, BoxStream, Capabilities, Change, Clock, Contents, Elector, Error, ErrorKind, Expiry,
    Held, Holder, Incarnation, Intent, Leader, LockBackend, Loss, MemoryLock, Nonce, Observed,
    Observer, Outcome, Push, Record, Role, StopReason, Time, Token, Version, Wall,
};
use scripted::{Fault, Scripted, Shows};
use tokio::sync::mpsc;

const T: Duration = Duration::from_secs(2);
const MS: Duration = Duration::from_millis(1);

type Campaign = tokio::task::JoinHandle<Result<Held, Error>>;

fn campaign(elector: &Elector) -> Campaign {
    let elector = elector.clone();
    spawn_local(async move { elector.campaign().await })
}

/// Writes this record's holder, one token on, over what is stored.
async fn overwrite(lock: &MemoryLock, holder: impl FnOnce(Option<Holder>) -> Option<Holder>) {
    let observed = lock.read().await.unwrap();
    let mut record = observed.record().unwrap().clone();
    record.token += 1;
    record.nonce = Nonce(record.nonce.0 ^ 1);
    record.holder = holder(record.holder);
    lock.write(&observed.version, &Change { intent: Intent::Take, record }).await.unwrap();
}

/// Somebody else holds the lock, and shows no other sign of life.
async fn hold(lock: &MemoryLock) {
    let holder =
        Holder { identity: "other".into(), incarnation: Some(Incarnation(7)), advertise: None };
    let record = Record {
        holder: Some(holder),
        token: 5,
        lease_duration: L,
        nonce: Nonce(7),
        acquired: Wall(0),
        renewed: Wall(0),
        extra: serde_json::Map::new(),
    };
    let change = Change { intent: Intent::Take, record };
    lock.write(&Version::absent(), &change).await.unwrap();
}

fn drain<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> usize {
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).take(100).count()
}
