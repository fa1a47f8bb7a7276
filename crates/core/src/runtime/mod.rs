//! Everything that needs tokio: the handles that programs hold, the driver between them and the
//! election, the clock of the machine, the store in memory and the clock of tests. The rest of the
//! crate is pure.

mod atomic;
mod boot_clock;
mod builder;
mod campaign;
mod cell;
#[cfg(test)]
mod cell_tests;
mod command;
mod driver;
mod elector;
#[cfg(test)]
mod exploration;
mod identity;
pub(crate) mod memory;
mod observer;
pub(crate) mod random;
mod status;
mod term;
pub mod testing;

pub use boot_clock::BootClock;
pub use builder::Builder;
pub use elector::{Elector, Finished};
pub use identity::host_name;
pub use memory::{MemoryBuilder, MemoryLock};
pub use observer::Observer;
pub use status::{Counters, Leader, LeaderInfo, Role, Status};
pub use term::{Deadlines, Held, StopReason, Term};
