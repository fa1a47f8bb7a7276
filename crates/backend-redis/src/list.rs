//! The locks under a prefix: for people. No lock needs this, nor the right to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use leasehold_backend::doctor::is_scratch_name;
use leasehold_core::{Error, ErrorKind};
use redis::{Cmd, Value, cmd};

use crate::connection::first_error;
use crate::dial::Address;
use crate::failure::{Failure, Reason};
use crate::info::text;
use crate::lock::RedisLock;
use crate::name::{LockName, PREFIX};
use crate::node::{Node, Request, Target};
use crate::options::Redis;
use crate::reader::way::{Cluster, Way};

const LIST: &str = "list the locks";

/// Keys that are looked at in one step.
const PAGE: u32 = 1000;

/// So many locks are listed.
const MOST: usize = 10_000;

impl Redis {
    /// The locks whose names begin with the parts of `under`, and `under` itself, by name; an empty
    /// `under` is the whole store. Looks at the names of all keys, and writes nothing.
    ///
    /// # Errors
    /// `Denied`: this user may not scan. `Invalid`: there are more than 10,000 locks.
    pub async fn locks(&self, under: &str) -> Result<Vec<RedisLock>, Error> {
        let names = self.names(under.trim_end_matches('/')).await;
        let explained = |failure: Failure| match failure.reason {
            Reason::NotPermitted => failure.with_cure(format!(
                "to list, a user needs +scan (in a cluster +cluster|slots, too) and to read: \
                 ACL SETUSER NAME '~{PREFIX}*' +scan +get +time +multi +exec \
                 '+info|replication' '+info|stats' '+info|server'"
            )),
            _ => failure,
        };
        let names = names.map_err(|failure| explained(failure).during(LIST))?;
        names.iter().map(|name| self.lock(name)).collect()
    }

    async fn names(&self, under: &str) -> Result<BTreeSet<String>, Failure> {
        let mut names = BTreeSet::new();
        for node in self.way().all().await? {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(format!("{PREFIX}*")).arg("COUNT").arg(PAGE);
                let replies = asked(&node, scan).await?;
                let (next, keys) =
                    page(&replies).ok_or_else(|| Failure::unexpected(&node.told()))?;
                names.extend(keys.iter().filter_map(|key| name_of(key, under)));
                if names.len() > MOST {
                    return Err(Failure::invalid(format!("there are more than {MOST} locks"))
                        .with_cure("name a longer prefix"));
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(names)
    }
}

impl RedisLock {
    /// Removes the key of a scratch lock, for the tool that made it.
    ///
    /// # Errors
    /// `Invalid`: the name is not that of a scratch lock; a key that anybody uses is never removed.
    /// Others: the server refused, or did not answer.
    #[doc(hidden)]
    pub async fn remove_scratch(&self) -> Result<(), Error> {
        if !is_scratch_name(&self.reader().name.to_string()) {
            let why = "its name is not that of a scratch lock";
            return Err(Error::new(ErrorKind::Invalid, "remove the key", why));
        }
        self.remove().await.map_err(|failure| failure.during("remove the scratch key"))
    }

    pub(crate) async fn remove(&self) -> Result<(), Failure> {
        let reader = self.reader();
        let mut delete = cmd("DEL");
        delete.arg(reader.name.key());
        let (node, replies) = reader.way.ask(reader, Request::simple(vec![delete])).await?;
        first_error(&replies, &node.told()).map_or(Ok(()), Err)
    }
}

impl Way {
    /// The servers that have keys: of a cluster every primary.
    async fn all(&self) -> Result<Vec<Arc<Node>>, Failure> {
        match self {
            Self::One(node) => Ok(vec![node.clone()]),
            Self::Cluster(cluster) => {
                let (seed, replies) = cluster.slots().await?;
                let found = named(&replies, 1);
                Ok(found.iter().map(|to| cluster.at(to, &seed)).collect())
            }
        }
    }

    /// Every node of a cluster that has keys or replicates them; otherwise none.
    pub(crate) async fn members(&self) -> Result<Vec<Address>, Failure> {
        let Self::Cluster(cluster) = self else { return Ok(Vec::new()) };
        let (seed, replies) = cluster.slots().await?;
        let found = named(&replies, usize::MAX);
        let nodes = found.iter().map(|to| cluster.at(to, &seed));
        let address = |node: Arc<Node>| match &node.target {
            Target::Fixed(address) => Some(address.clone()),
            Target::Sentinels(_) => None,
        };
        Ok(nodes.filter_map(address).collect())
    }
}

impl Cluster {
    /// Who has which slots, as the first seed says that answers.
    async fn slots(&self) -> Result<(Arc<Node>, Vec<Value>), Failure> {
        let mut failure = Failure::invalid("no host was given");
        for seed in &self.seeds {
            let mut slots = cmd("CLUSTER");
            slots.arg("SLOTS");
            let seed = self.node(seed);
            match asked(&seed, slots).await {
                Ok(replies) => return Ok((seed, replies)),
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }
}

async fn asked(node: &Node, command: Cmd) -> Result<Vec<Value>, Failure> {
    let replies = node.ask(0, Request::simple(vec![command])).await?;
    first_error(&replies, &node.told()).map_or(Ok(replies), Err)
}

/// Where it goes on, and keys.
fn page(replies: &[Value]) -> Option<(String, Vec<&str>)> {
    let Value::Array(parts) = replies.first()? else { return None };
    let [next, Value::Array(keys)] = parts.as_slice() else { return None };
    // A key that is not text is nobody's of ours.
    Some((text(next)?.to_owned(), keys.iter().filter_map(text).collect()))
}

/// The name of a lock, if it is under this prefix.
fn name_of(key: &str, under: &str) -> Option<String> {
    let name = key.strip_prefix(PREFIX)?;
    let is_under = under.is_empty()
        || name.strip_prefix(under).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (is_under && LockName::parse(name).is_ok()).then(|| name.to_owned())
}

/// The nodes of each range of slots, at most so many of each, each once: the primary is the first.
fn named(replies: &[Value], at_most: usize) -> BTreeSet<String> {
    let Some(Value::Array(ranges)) = replies.first() else { return BTreeSet::new() };
    let node = |node: &Value| {
        let Value::Array(node) = node else { return None };
        let host = node.first().and_then(text).unwrap_or_default();
        let Some(Value::Int(port)) = node.get(1) else { return None };
        Some(crate::node::sentinel::tcp(host, &port.to_string()).to_string())
    };
    let ranges = ranges.iter().filter_map(|range| match range {
        Value::Array(parts) => parts.get(2..),
        _ => None,
    });
    ranges.flat_map(|nodes| nodes.iter().take(at_most)).filter_map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_part_ends() {
        for (key, under, name) in [
            ("leasehold:jobs/nightly", "jobs", Some("jobs/nightly")),
            ("leasehold:jobs", "jobs", Some("jobs")),
            ("leasehold:jobsx", "jobs", None),
            ("leasehold:jobs", "", Some("jobs")),
            ("leasehold:", "", None),
            ("leasehold:7", "", None),
            ("leasehold:{a}", "", None),
            ("other", "", None),
        ] {
            assert_eq!(name_of(key, under).as_deref(), name, "{key}");
        }
    }

    #[test]
    fn the_nodes_of_a_cluster_are_told_once() {
        let node = |host: &str, port| {
            Value::Array(vec![Value::BulkString(host.as_bytes().to_vec()), Value::Int(port)])
        };
        let range = |from, primary, replica| {
            Value::Array(vec![Value::Int(from), Value::Int(from + 9), primary, replica])
        };
        let slots = Value::Array(vec![
            range(0, node("10.0.0.1", 1), node("10.0.0.2", 1)),
            range(10, node("10.0.0.1", 1), node("10.0.0.2", 1)),
            range(20, node("", 7), node("10.0.0.2", 1)),
        ]);
        let found: Vec<String> = named(std::slice::from_ref(&slots), 1).into_iter().collect();
        assert_eq!(found, ["10.0.0.1:1", ":7"]);
        assert_eq!(named(&[slots], 9).len(), 3);
        assert!(named(&[Value::Nil], 1).is_empty());
    }
}
