//! The pieces of the command `leasehold`. Not a library interface: only the binary and its tests
//! use it.
//!
//! What `leasehold run -- CMD` keeps: CMD runs while this candidate leads, and CMD with everything
//! it started is dead before the lease can pass on ([`guard`] says by what means).
//!
//! What it does not keep: supervisor and guard both frozen, or both killed, while CMD is not; a
//! process in uninterruptible sleep, or one that this user may not signal. The resource that CMD
//! writes to should check the fencing token.
//!
//! Linux only: `run`, its guard, and the conformance suite. Everything else only looks, and builds
//! on macOS and Windows too.

#[cfg(all(feature = "conformance", not(target_os = "linux")))]
compile_error!("the conformance suite needs Linux: it freezes, kills and cuts off servers");

pub mod about;
pub mod args;
pub mod bench;
#[cfg(target_os = "linux")]
pub mod boot;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod exit;
pub mod explain;
#[cfg(target_os = "linux")]
pub mod guard;
pub mod list;
pub mod lock;
pub mod logging;
pub mod notice;
pub mod output;
#[cfg(target_os = "linux")]
pub mod run;
pub mod runtime;
pub mod signals;
pub mod status;
mod timing;
mod version;
#[cfg(target_os = "linux")]
pub mod waiting;
pub mod watch;
