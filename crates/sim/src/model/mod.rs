//! Exhaustive exploration of two candidates over one register.
//!
//! The state is the very [`Election`](leasehold_core::Election) of the product, twice, with what is
//! on the way and what is stored. Every order of steps is explored, breadth first, until no new
//! state is found.
//!
//! - `setup.rs`, `runs.rs`: what a run contains, and the runs.
//! - `world.rs`, `register.rs`: the state. `step.rs`: what may happen next.
//! - `rule.rs`: what must hold.
//! - `prune.rs`, `rename.rs`: why there are finitely many states.
//! - `check.rs`, `event.rs`, `story.rs`: stateright, and what it found.
//! - `redis/`: the same candidates over what is below the register on Redis.
//!
//! Where the model is coarser than the world, it is the worse for safety: a store ends a lease at
//! its very first moment and grants one when the Take is sent. Where it is smaller, it proves
//! nothing: no watch, no store that forgets, equal lease durations, no jitter, G is zero, and a
//! candidate that is not `late` asks for its next request without delay.

mod check;
mod event;
mod prune;
pub mod redis;
mod register;
mod rename;
mod rule;
mod runs;
mod setup;
mod step;
mod story;
mod world;

pub use check::{Counts, Limits, Outcome, Space, Unfinished, explore};
pub use event::{Event, Events};
pub use rule::Rule;
pub use runs::{Run, all};
pub use setup::{ANY, Mode, Rates, Setup};
pub use step::Step;
pub use story::tell;
pub use world::World;
