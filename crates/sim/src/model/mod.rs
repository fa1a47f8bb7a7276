//! Exhaustive exploration of two candidates over one register.
//!
//! The state is the very [`Election`](leasehold_core::Election) of the product, twice, with what is on the way and
//! what is stored. Every order of steps is explored, breadth first, until no new state is found.

mod check;
mod prune;
mod register;
mod rename;
mod runs;
mod setup;
mod step;
mod story;
mod world;

pub use check::{Counts, Limits, Outcome, Unfinished, explore};
pub use runs::{Run, all};
pub use setup::{ANY, Mode, Rates, Setup};
pub use step::{Event, Events, Step};
pub use story::tell;
pub use world::{Rule, World};
