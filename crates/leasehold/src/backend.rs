//! The contract between the election and a store, for those who write a store of their own.
//!
//! A store is a value that implements [`LockBackend`]: four methods over one compare-and-swap
//! register. The page of the trait says what each must keep.
//! [`Elector::builder`](crate::Elector::builder) and [`Observer::new`](crate::Observer::new) take
//! any such value.
//!
//! This one keeps the record where a row of a table would stand. Its candidates poll
//! ([`Push::None`]) and count leases themselves
//! ([`LeaseClock::Observers`]), which asks the least of a store and is the default of
//! [`Capabilities`]:
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use leasehold::backend::{
//!     Capabilities, Change, Contents, Expiry, LockBackend, Observed, Outcome, Record, Version,
//!     async_trait,
//! };
//! use leasehold::{Elector, Error};
//!
//! /// `INSERT INTO locks VALUES ('jobs', $1) ON CONFLICT DO NOTHING`, and
//! /// `UPDATE locks SET record = $1 WHERE name = 'jobs' AND record = $2`
//! #[derive(Debug, Default)]
//! struct Row(Mutex<Option<Vec<u8>>>);
//!
//! fn observed(row: Option<&Vec<u8>>) -> Observed {
//!     let (version, contents) = match row {
//!         None => (Version::absent(), Contents::Absent),
//!         Some(json) => {
//!             let contents = match Record::from_json(json) {
//!                 Ok(record) => Contents::Record(record),
//!                 Err(why) => Contents::Unreadable(why), // it is never overwritten
//!             };
//!             // Every write has a nonce of its own, so its bytes name it, also after somebody
//!             // deleted the row. A number that begins at 1 again would not.
//!             (Version::bytes(json), contents)
//!         }
//!     };
//!     // The store keeps no clock, and knows nothing of tokens that were used before.
//!     Observed { version, contents, expiry: Expiry::ByObserver, token_floor: None }
//! }
//!
//! #[async_trait]
//! impl LockBackend for Row {
//!     fn name(&self) -> &str {
//!         "row:jobs"
//!     }
//!
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::default()
//!     }
//!
//!     async fn read(&self) -> Result<Observed, Error> {
//!         Ok(observed(self.0.lock().unwrap().as_ref()))
//!     }
//!
//!     async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
//!         let mut row = self.0.lock().unwrap();
//!         if observed(row.as_ref()).version != *expected {
//!             return Ok(Outcome::Conflict); // somebody was faster; the election reads again
//!         }
//!         *row = Some(change.record.to_json());
//!         Ok(Outcome::Written(observed(row.as_ref())))
//!         // No answer is an `Err`, never a `Conflict`: the write may yet be applied.
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let elector = Elector::builder(Arc::new(Row::default())).build()?;
//! let held = elector.campaign().await?;
//! assert_eq!(held.check(), Ok(1));
//! # Ok(())
//! # }
//! ```
//! Run the conformance suite against a store before anybody relies on it: it freezes, cuts off and
//! kills what a doc test cannot. The page `docs/OWN-STORE.md` and the project `examples/own-store`
//! in Leasehold's repository lead from nothing to a store that was tested so.

pub use async_trait::async_trait;
pub use leasehold_core::{
    BoxStream, Capabilities, Change, Contents, Expiry, Holder, Incarnation, Intent, LeaseClock,
    LockBackend, MAX_TOKEN, Nonce, Observed, Outcome, Push, RECORD_VERSION, Record, Version,
    host_name,
};
