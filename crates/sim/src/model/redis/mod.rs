//! The layer below the register: how Redis servers replicate, and what the backend makes of it.
//!
//! Three servers, each with data of its own, two candidates, and the protocol of the backend
//! between them: a compare-and-swap that one server does alone, then the wait for an
//! acknowledgement of one of the other two, then a second look at the server's reign. Any server
//! may be promoted, or told to follow another, in any order and whoever else is promoted: a primary
//! that nobody demotes goes on, and a replica may go back to it.
//!
//! - `cluster.rs`: the servers. `world.rs`: the state. `step.rs`: what may happen next.
//! - `canonical.rs`: why there are finitely many states, and few.
//! - `runs.rs`: the runs and the deliberate defects. `story.rs`: a way told to people.
//!
//! **The candidates are not the election of the product**, whose states are too many here, but
//! coarser ones that may do all that it may do with the register, and more:
//!
//! - They adopt what is suspended, and take what was released, or is their own record in the present
//!   reign, at once, and what another holds once it did not change for L after it was read.
//! - A leader renews over whatever it read, believes until L after its last acknowledged write was
//!   sent (not D, so that nothing is left between both), and stops earlier only to release.
//! - They read and write whenever they like, at any server that takes itself for the primary, and
//!   never hear of an answer if it is lost.
//!
//! That the election itself keeps to the contract of a store that forgets is the matter of the run
//! `forgets` and of the simulation.
//!
//! Where the model is coarser than Redis, it is the worse for safety: an acknowledgement counts
//! although the replica has left since, a candidate reaches every server, and nothing but the writes
//! of the lock moves an offset, so that fewer resyncs are full. (A server that starts again, an
//! eviction or a deletion is another reign or absence, which the candidates treat alike.)
//!
//! Where it is smaller, it proves nothing: three servers and one acknowledgement, two candidates
//! with equal clocks and one lease duration of two ticks, no tokens, no watch, no replica of a
//! replica, only so many promotions and moves as the run says. A request arrives when it is sent or
//! never; one that arrives late is the same as one that is sent late and not answered, but for the
//! release of a record that the store had gone back to.

mod canonical;
mod cluster;
mod runs;
mod step;
mod story;
mod world;

pub use runs::all;
pub use step::{Replicas, Step};
pub use world::{Defect, Setup, World};
