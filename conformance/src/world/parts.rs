//! The parts that a store may have, for a case that makes no sense without.

use std::sync::Arc;

use leasehold::Error;
use leasehold::backend::LockBackend;

use super::World;
#[cfg(feature = "servers")]
use crate::fixture::{Fixture, Tls, Wish};
use crate::link::Network;
#[cfg(feature = "servers")]
use crate::stores::parts::Disks;
use crate::stores::parts::{Administrator, Backups, Bytes, Coordinator, GoesBack, Guard, Networks};
use crate::verdict::Problem;

impl World {
    /// An administrator.
    ///
    /// # Errors
    /// The store has none here: the case is not applicable.
    pub fn admin(&self) -> Result<&dyn Administrator, Problem> {
        there_is(self.target.admin(), "nothing here deletes as an administrator does")
    }

    /// The bytes that are stored.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn bytes(&self) -> Result<&dyn Bytes, Problem> {
        there_is(self.target.bytes(), "nothing here shows or stores foreign bytes")
    }

    /// Backups.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn backups(&self) -> Result<&dyn Backups, Problem> {
        there_is(self.target.backups(), "the store keeps no backup")
    }

    /// A store that may go back to an older state.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn goes_back(&self) -> Result<&dyn GoesBack, Problem> {
        there_is(self.target.goes_back(), "the store never goes back")
    }

    /// A coordinator of the store's own.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn coordinator(&self) -> Result<&dyn Coordinator, Problem> {
        there_is(self.target.coordinator(), "the store has no coordinator")
    }

    /// Data that a write can guard by the lock.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn guard(&self) -> Result<&dyn Guard, Problem> {
        let why = "the store holds nothing beside the lock that a write could guard";
        there_is(self.target.guard(), why)
    }

    /// Networks that can fail.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn networks(&self) -> Result<&dyn Networks, Problem> {
        let why = "there is no network between a candidate and this store";
        there_is(self.target.networks(), why)
    }

    /// Disks for locks that are files.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    #[cfg(feature = "servers")]
    pub fn disks(&self) -> Result<&dyn Disks, Problem> {
        there_is(self.target.disks(), "it keeps nothing on a disk of its own")
    }

    /// Servers of the case's own.
    ///
    /// # Errors
    /// As [`admin`](Self::admin), or they do not start.
    #[cfg(feature = "servers")]
    pub async fn servers(&self, members: usize, tls: Tls) -> Result<Box<dyn Fixture>, Problem> {
        self.servers_as(Wish { members, tls, ..Wish::default() }).await
    }

    /// The same, of this kind.
    ///
    /// # Errors
    /// As [`servers`](Self::servers).
    #[cfg(feature = "servers")]
    pub async fn servers_as(&self, wish: Wish) -> Result<Box<dyn Fixture>, Problem> {
        let why = "it has no servers that the suite could start";
        let servers = there_is(self.target.servers(), why)?;
        servers.start(wish).await.map_err(Problem::NotApplicable)
    }

    /// The lock over a network of the candidate's own, if the case is about networks and the store
    /// has any.
    pub(super) async fn open_apart(
        &self,
        lock: &str,
    ) -> Result<(Arc<dyn LockBackend>, Option<Network>), Error> {
        match self.target.networks().filter(|_| self.networked.get()) {
            Some(networks) => {
                let (store, network) = networks.open_apart(lock, &self.clock).await?;
                Ok((store, Some(network)))
            }
            None => Ok((self.target.open(lock, &self.clock).await?, None)),
        }
    }
}

fn there_is<T>(part: Option<T>, why: &str) -> Result<T, Problem> {
    part.ok_or_else(|| Problem::NotApplicable(why.to_owned()))
}
