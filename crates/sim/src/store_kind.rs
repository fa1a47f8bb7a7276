//! What a store of a schedule is like.

use leasehold_core::Push;
use serde::{Deserialize, Serialize};

/// The kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// Keeps no clock (Kubernetes, object stores).
    Observer,
    /// Ends leases itself (etcd).
    Server,
    /// A restart may bring back an older state, marked as suspended (Redis).
    Forgets,
    /// Knows when the holder's process is gone (a file on one host).
    Passed,
}

/// How a store tells of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PushKind {
    /// Not at all.
    None,
    /// Something changed: what is stored then.
    Hint,
    /// Every change.
    Resumable,
}

impl PushKind {
    /// The capability.
    #[must_use]
    pub fn capability(self) -> Push {
        match self {
            Self::None => Push::None,
            Self::Hint => Push::Hint,
            Self::Resumable => Push::Resumable,
        }
    }
}

/// What a read knows of the store's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Floor {
    /// The revision of the store: its own history.
    Revision,
    /// The store's clock.
    Clock,
    /// The clock at the creation of the record, carried by every write.
    Carried,
    /// Nothing: once the record is deleted, tokens may repeat.
    None,
}
