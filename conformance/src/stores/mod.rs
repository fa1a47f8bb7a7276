//! The stores under test, one folder each: how a case gets candidates for its locks, the servers
//! that the suite starts, and what is expected of every case.

pub mod etcd;
mod file;
pub mod kubernetes;
mod memory;
pub mod parts;
pub mod redis;
mod target;
mod url;

use std::fmt::Display;
use std::sync::Arc;

#[cfg(feature = "servers")]
pub use etcd::EtcdTarget;
pub use file::FileTarget;
#[cfg(feature = "servers")]
pub use kubernetes::KubernetesTarget;
pub use memory::{MemoryTarget, Wrap};
#[cfg(feature = "servers")]
pub use redis::RedisTarget;
pub use target::Target;
pub use url::UrlTarget;

/// A store of the suite's own.
#[derive(Debug)]
pub struct Store {
    /// What its target calls itself.
    pub backend: &'static str,
    /// How the command line may call it; several stores may share a name.
    pub names: &'static [&'static str],
    /// Whether it is run where no store is named: it needs no server.
    pub by_default: bool,
    /// What is expected of every case: the text of its `expected*.toml`.
    pub expected: &'static str,
    /// The only cases that may be "not applicable". `None`: the file above argues each exception.
    pub leaves_out: Option<&'static [&'static str]>,
    /// Starts it.
    pub start: fn() -> Started,
}

/// A store that was started, or why it cannot be.
pub type Started = Result<Arc<dyn Target>, String>;

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Store> {
    [memory::STORES, file::STORES, etcd::STORES, kubernetes::STORES, redis::STORES]
        .into_iter()
        .flatten()
}

/// The store of that backend.
#[must_use]
pub fn of(backend: &str) -> Option<&'static Store> {
    all().find(|store| store.backend == backend)
}

fn started<T: Target + 'static, E: Display>(target: Result<T, E>, why: &str) -> Started {
    match target {
        Ok(target) => Ok(Arc::new(target)),
        Err(error) => Err(format!("{why}: {error}")),
    }
}
