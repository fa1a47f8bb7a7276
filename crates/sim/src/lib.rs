//! Deterministic simulation of the real election.
//!
//! A seed stands for a schedule ([`Case`]): candidates, clocks, a store and what goes wrong.
//! [`run`] plays it and judges after every event; a broken invariant is a [`Violation`]. Schedules
//! are data, so that a failure is a file that can be replayed and shrunk.

mod case;
mod cause;
mod clock;
mod coverage;
mod draw;
mod excuse;
mod generate;
mod judge;
mod lanes;
pub mod model;
mod mutant;
mod node;
pub mod processes;
mod queue;
mod scene;
mod shrink;
mod store;
mod store_kind;
mod story;
mod term;
mod world;

pub use case::{CandidateConfig, Case, Fault, Kind, Nanos};
pub use cause::Cause;
pub use coverage::{Branch, Coverage};
pub use generate::{generate, generate_at};
pub use judge::{Rule, Violation};
pub use lanes::{Bar, Lane, Lanes, Style};
pub use mutant::Mutant;
pub use shrink::shrink;
pub use store_kind::{Floor, PushKind, StoreKind};
pub use world::{Report, run};
