//! Deterministic simulation of the real election.
//!
//! A seed stands for a schedule ([`Case`]): candidates, clocks, a store and what goes wrong.
//! [`run`] plays it and judges after every event; a broken invariant is a [`Violation`]. Schedules
//! are data, so that a failure is a file that can be replayed and shrunk.

mod case;
mod clock;
mod coverage;
mod draw;
mod drawing;
mod driver;
mod excuse;
mod faults;
mod foreign;
mod generate;
mod judge;
mod lanes;
pub mod model;
mod mutant;
mod network;
mod node;
pub mod processes;
mod queue;
mod shrink;
mod store;
mod story;
mod watch;
mod world;

pub use case::{CandidateConfig, Case, Fault, Floor, Kind, Nanos, PushKind, StoreKind};
pub use coverage::{Branch, Coverage};
pub use excuse::Cause;
pub use generate::{generate, generate_at};
pub use judge::{Rule, Violation};
pub use lanes::{Bar, Lane, Lanes, Style};
pub use mutant::Mutant;
pub use shrink::shrink;
pub use world::{Report, run};
