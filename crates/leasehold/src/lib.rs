//! Leader election over any lock.
