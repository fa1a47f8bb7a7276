//! What a case does by hand: writes to a resource, and writes to the store as somebody else would.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use leasehold::backend::{
    Capabilities, Change, Holder, Incarnation, Intent, LockBackend, Nonce, Observed,
    Outcome as Written, Record, Version,
};
use leasehold::status::Leader;
use leasehold::timing::Wall;
use leasehold::{Elector, Token};

use crate::history::{History, What};
use crate::verdict::{Problem, must};
use crate::world::{LEASE, World};

/// The effect of a leader on the outside: resources that compare tokens, and ones that do not.
#[derive(Debug)]
pub struct Resource {
    name: Arc<str>,
    fence: Option<Cell<leasehold::Fence>>,
    history: History,
}

impl Resource {
    /// A resource, fenced or not.
    #[must_use]
    pub fn new(world: &World, fenced: bool) -> Self {
        let name = if fenced { "fenced" } else { "unfenced" };
        let fence = fenced.then(|| Cell::new(leasehold::Fence::default()));
        Self { name: name.into(), fence, history: world.history().clone() }
    }

    /// Writes to it; whether it let the write in.
    #[must_use]
    pub fn write(&self, token: Token) -> bool {
        let accepted = self.fence.as_ref().is_none_or(|cell| {
            let mut fence = cell.get();
            let admitted = fence.admit(token).is_ok();
            cell.set(fence);
            admitted
        });
        let fenced = self.fence.is_some();
        self.history.note(&self.name, What::Effect { token, fenced, accepted });
        accepted
    }
}

/// A record by hand, as somebody else would write it. Two calls never give the same nonce.
#[must_use]
pub fn record_of(identity: &str, token: Token) -> Record {
    let random = || RandomState::new().build_hasher().finish();
    let nonce = u128::from(random()) << 64 | u128::from(random());
    Record {
        holder: Some(Holder {
            identity: identity.to_owned(),
            incarnation: Some(Incarnation(nonce)),
            advertise: None,
        }),
        token,
        lease_duration: LEASE,
        nonce: Nonce(nonce),
        acquired: Wall(0),
        renewed: Wall(0),
        extra: serde_json::Map::new(),
    }
}

/// The intent of the first write of a lock that is not there: only a store that ends leases itself
/// lets it be taken at once.
#[must_use]
pub fn first_intent(capabilities: &Capabilities) -> Intent {
    if capabilities.ends_leases() { Intent::Take } else { Intent::Adopt }
}

/// Frees by hand what is stored.
///
/// # Errors
/// The store fails or refuses.
pub async fn free(store: &Arc<dyn LockBackend>, held: &Observed) -> Result<Observed, Problem> {
    let record = held.record().cloned().unwrap_or_else(|| record_of("nobody", 1));
    put(store, &held.version, Intent::Release, Record { holder: None, ..record }).await
}

/// Writes by hand, and returns what is stored then.
///
/// # Errors
/// The store fails or refuses.
pub async fn put(
    store: &Arc<dyn LockBackend>,
    expected: &Version,
    intent: Intent,
    record: Record,
) -> Result<Observed, Problem> {
    match store.write(expected, &Change { intent, record }).await? {
        Written::Written(observed) => Ok(observed),
        Written::Conflict => {
            Err(Problem::Violated("a write over the present version is refused".to_owned()))
        }
    }
}

/// Waits until what is stored names this holder, or none: the store's own word, whoever heard an
/// answer.
///
/// # Errors
/// It does not within the time that a fresh lock may take, or the store fails.
pub async fn until_held_by(world: &World, holder: Option<&str>) -> Result<(), Problem> {
    let end = world.now() + world.fresh();
    loop {
        let record = world.record().await?;
        let stored = record.as_ref().and_then(|record| record.holder.as_ref());
        if stored.map(|stored| stored.identity.as_str()) == holder {
            return Ok(());
        }
        if world.now() > end {
            return Err(Problem::Late(format!("{holder:?} does not hold the lock: {stored:?}")));
        }
        world.sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Whether the elector says that this one leads.
#[must_use]
pub fn says_leader(elector: &Elector, identity: &str, token: Token) -> bool {
    match elector.status().leader {
        Leader::Held(leading) => leading.identity == identity && leading.token == Some(token),
        _ => false,
    }
}

/// Fails unless two tokens grow.
///
/// # Errors
/// They do not.
pub fn grows(before: Token, after: Token) -> Result<(), Problem> {
    must(after > before, || format!("token {after} after {before}"))
}
