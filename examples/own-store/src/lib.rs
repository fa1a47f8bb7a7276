//! A lock in a store that Leasehold does not know: an HTTP map of names to small documents.
//!
//! [`HttpMapLock`] is the whole of what an author writes. [`server`] is the store itself, which an
//! author already has. `tests/suite.rs` runs Leasehold's conformance suite on the two. The page
//! `docs/OWN-STORE.md` leads through all three.

mod lock;
pub mod server;

pub use lock::HttpMapLock;
