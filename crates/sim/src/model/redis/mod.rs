//! The layer below the register: how Redis servers replicate, and what the backend makes of it.
//!
//! Three servers, each with data of its own, two or three candidates, and the protocol of the
//! backend between them: a compare-and-swap that one server does alone, then the wait for an
//! acknowledgement of one of the other two, then a second look at the server's reign. Any server
//! may be promoted, told to follow another, or start again, in any order, any number of times, and
//! whoever else is promoted: a primary that nobody demotes goes on, and a replica may go back to
//! it.
//!
//! - `cluster.rs`: the servers. `world.rs`: the state. `step.rs`: what may happen next.
//! - `canonical.rs`: why there are finitely many states, and few.
//! - `runs.rs`: the runs and the deliberate defects. `step/story.rs`: a way told to people.
//!
//! **The candidates are not the election of the product**, whose states are too many here (with one
//! promotion more than six million). They are coarser, and may do all that it may do with the
//! register, and more:
//!
//! - They adopt what is suspended at once. They take at once what was released and what they wrote
//!   themselves in the present reign, and what another holds once it did not change for L after it
//!   was read.
//! - A leader renews over whatever it read, and believes until L after its last acknowledged write
//!   was sent: not D, so that nothing is left between belief and wait. It stops earlier only to
//!   release.
//! - They read and write whenever they like, at any server that takes itself for the primary, and
//!   may never hear of an answer.
//!
//! That the election itself keeps to the contract of a store that forgets is the matter of the run
//! `forgets` and of the simulation.
//!
//! Where the model is coarser than Redis, it is the worse for safety: an acknowledgement counts
//! although the replica has left since, and nothing but the writes of the lock moves an offset, so
//! that fewer resyncs are full.
//!
//! Where it is smaller, it proves nothing: three servers and one acknowledgement, equal clocks and
//! lease durations of two or three ticks, no tokens, no watch, no replica of a replica. The dump
//! from which a primary starts again is complete or none. A deletion and an eviction are left out:
//! that is absence, which is suspended. A request arrives when it is sent or never. One that
//! arrives late is the same as one that is sent late and not answered, but for the release of a
//! record that the store had gone back to.
//!
//! A replica that starts again from a dump which is older than what it has acknowledged, and goes
//! on from there with another primary (a partial resync), has forgotten an acknowledgement. A reign
//! that counts full resyncs only does not show that, and two lead (the run `redis-old-dump`). The
//! product's counts partial resyncs, too (the run `redis-partials`). The other runs do not, which
//! gives fewer reigns.

mod canonical;
mod cluster;
mod runs;
mod step;
mod world;

pub use cluster::Kept;
pub use runs::all;
pub use step::{Replicas, Step};
pub use world::{Defect, Setup, World};
