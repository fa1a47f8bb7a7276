//! How a term is named in the store.

use std::time::Duration;

use leasehold_core::Token;

/// The term of a foreign client, which has no token.
pub(crate) const FOREIGN: Token = Token::MAX;

/// A term in the store, or the last one that somebody was told of, and not told to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub term: Token,
    /// What a release of it carries at least.
    pub token: Token,
    /// Its lease.
    pub lease: Duration,
    /// The state that showed it; of a displaced one, what an administrator had left before.
    pub last: u64,
}

impl Bound {
    /// Whether who was told of this term waits out a deleted one. Told after an administrator had
    /// touched the record the time before, it begins its wait no earlier than the deletion, and
    /// waits as long as this term's lease.
    #[must_use]
    pub(crate) fn covers(&self, deleted: &Self) -> bool {
        self.last > deleted.last && self.lease >= deleted.lease
    }
}
