//! The lock in memory.

use async_trait::async_trait;
use leasehold_core::{Error, MemoryLock};

use crate::lock_url::{LockUrl, invalid};
use crate::opened::{Listed, Opened, StoreUrl};

/// A `mem:` URL, parsed.
pub(crate) struct MemoryUrl {
    name: String,
}

impl TryFrom<&LockUrl> for MemoryUrl {
    type Error = Error;

    fn try_from(url: &LockUrl) -> Result<Self, Error> {
        url.allow_parameters(&[])?;
        Ok(Self { name: url.path().display().to_string() })
    }
}

#[async_trait]
impl StoreUrl for MemoryUrl {
    async fn open(self: Box<Self>) -> Result<Opened, Error> {
        Ok(Opened::in_this_process(MemoryLock::new(self.name)))
    }

    async fn list(self: Box<Self>) -> Result<Vec<Listed>, Error> {
        let why = "mem: is a lock inside one process, so there is nothing to list; \
                   file:DIRECTORY can be listed";
        Err(invalid(why.to_owned()))
    }
}
