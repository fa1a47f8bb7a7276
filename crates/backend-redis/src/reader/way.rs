//! The way to the server that has a lock: one server, or the node of a cluster that has its key.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use leasehold_core::ErrorKind;
use redis::Value;

use crate::connection::{How, first_error};
use crate::dial::Address;
use crate::failure::{Failure, Reason};
use crate::node::{Node, Request, Target, locked};
use crate::reader::Reader;

/// So often a cluster may send us on.
const HOPS: usize = 5;

/// So many nodes are kept beyond those in use: their addresses may change all the time.
const NODES: usize = 64;

/// Where locks are.
pub(crate) enum Way {
    One(Arc<Node>),
    Cluster(Cluster),
}

/// The nodes of a cluster that are known.
pub(crate) struct Cluster {
    how: How,
    pub(crate) seeds: Vec<Address>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    /// Who was asked last and did not answer in time.
    silent: Mutex<Option<Address>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(node) => node.fmt(f),
            Self::Cluster(cluster) => f.debug_tuple("Cluster").field(&cluster.seeds).finish(),
        }
    }
}

impl Way {
    pub(crate) fn one(how: How, target: Target) -> Self {
        Self::One(Arc::new(Node::new(how, target)))
    }

    pub(crate) fn cluster(how: How, seeds: Vec<Address>) -> Self {
        let (nodes, silent) = (Mutex::default(), Mutex::default());
        Self::Cluster(Cluster { how, seeds, nodes, silent })
    }

    /// The same with connections of its own.
    pub(crate) fn apart(&self) -> Self {
        match self {
            Self::One(node) => Self::one(node.how.clone(), node.target.apart()),
            Self::Cluster(cluster) => Self::cluster(cluster.how.clone(), cluster.seeds.clone()),
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The replies, and the node that gave them. Goes where a cluster sends it.
    pub(crate) async fn ask(
        &self,
        lock: &Reader,
        request: Request,
    ) -> Result<(Arc<Node>, Vec<Value>), Failure> {
        match self {
            Self::One(node) => Ok((node.clone(), node.ask(lock.lane, request).await?)),
            Self::Cluster(cluster) => cluster.ask(lock, request).await,
        }
    }

    /// The node whose changes are heard. Of a cluster the one that answered last.
    pub(crate) fn heard(&self, lock: &Reader) -> Option<Arc<Node>> {
        match self {
            Self::One(node) => Some(node.clone()),
            Self::Cluster(_) => locked(&lock.route).clone(),
        }
    }
}

impl Cluster {
    async fn ask(
        &self,
        lock: &Reader,
        request: Request,
    ) -> Result<(Arc<Node>, Vec<Value>), Failure> {
        let known = locked(&lock.route).clone();
        let silent = locked(&self.silent).clone();
        let mut seeds = self.by_promise();
        let mut next = known.or_else(|| seeds.next().map(|seed| self.node(seed)));
        // While a slot is moved its nodes may disagree.
        let kind = ErrorKind::Unavailable;
        let text = "the nodes of the cluster send us from one to the other";
        let mut last = Failure::new(kind, Reason::Refused, text)
            .with_cure("wait until the slot of this lock was moved, or compare CLUSTER SLOTS");
        let mut request = request;
        for _ in 0..HOPS + self.seeds.len() {
            let Some(node) = next.take() else { break };
            let asking = Asking { cluster: self, lock, node: Some(&node) };
            let replies = node.ask(lock.lane, request.clone()).await;
            asking.done();
            let replies = match replies {
                Ok(replies) => replies,
                Err(failure) => {
                    // Nothing was sent if there is no connection: another node knows where to go.
                    locked(&lock.route).take();
                    if failure.reason != Reason::NotSent {
                        return Err(failure);
                    }
                    last = failure;
                    next = seeds.next().map(|seed| self.node(seed));
                    continue;
                }
            };
            self.answered(&node);
            request.is_asking = false;
            match first_error(&replies, &node.told()).map(|failure| failure.reason) {
                Some(Reason::Moved(to)) => {
                    let named = self.at(&to, &node);
                    // One that does not know yet that the silent one was replaced names it.
                    let is_silent = silent.as_ref().is_some_and(|silent| named.is_at(silent));
                    let other = if is_silent { seeds.next() } else { None };
                    next = Some(other.map_or(named, |seed| self.node(seed)));
                }
                // The key is on its way there: only this request goes there.
                Some(Reason::Ask(to)) => {
                    request.is_asking = true;
                    next = Some(self.at(&to, &node));
                }
                error => {
                    let keep = error != Some(Reason::Stale);
                    *locked(&lock.route) = keep.then(|| node.clone());
                    return Ok((node, replies));
                }
            }
        }
        Err(last)
    }

    /// The nodes that were given; last the one that was silent, which may be frozen or cut off.
    fn by_promise(&self) -> impl Iterator<Item = &Address> {
        let silent = locked(&self.silent).clone();
        let mut seeds: Vec<&Address> = self.seeds.iter().collect();
        seeds.sort_by_key(|seed| Some(*seed) == silent.as_ref());
        seeds.into_iter()
    }

    /// It is not silent any more.
    fn answered(&self, node: &Node) {
        let mut silent = locked(&self.silent);
        if silent.as_ref().is_some_and(|silent| node.is_at(silent)) {
            *silent = None;
        }
    }

    /// The node that another one named.
    pub(crate) fn at(&self, to: &str, from: &Node) -> Arc<Node> {
        self.node(&Address::Tcp(full(to, from).into()))
    }

    pub(crate) fn node(&self, address: &Address) -> Arc<Node> {
        let mut nodes = locked(&self.nodes);
        if nodes.len() >= NODES {
            nodes.retain(|_, node| Arc::strong_count(node) > 1);
        }
        let made = || Arc::new(Node::new(self.how.clone(), Target::Fixed(address.clone())));
        nodes.entry(address.clone()).or_insert_with(made).clone()
    }
}

/// A request under way. Dropped before its answer, it was given up: the node is not asked first
/// again, since another one may have taken over.
struct Asking<'a> {
    cluster: &'a Cluster,
    lock: &'a Reader,
    node: Option<&'a Arc<Node>>,
}

impl Asking<'_> {
    fn done(mut self) {
        self.node = None;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(node) = self.node else { return };
        if let Target::Fixed(address) = &node.target {
            *locked(&self.cluster.silent) = Some(address.clone());
        }
        locked(&self.lock.route).take();
    }
}

/// A node that does not know its own host names only the port.
fn full(to: &str, from: &Node) -> String {
    match (to.strip_prefix(':'), &from.target) {
        (Some(port), Target::Fixed(Address::Tcp(address))) => {
            let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
            format!("{host}:{port}")
        }
        _ => to.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_core::LockBackend;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use crate::options::Redis;

    /// As a frozen process: the kernel accepts, and nobody answers.
    async fn node() -> (TcpListener, String) {
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = node.local_addr().unwrap().to_string();
        (node, address)
    }

    #[tokio::test]
    async fn a_node_that_is_silent_is_not_asked_first_again() {
        let [(_silent, first), (knows, second), (other, third)] =
            [node().await, node().await, node().await];
        let moved = format!("-MOVED 1 {first}\r\n");
        tokio::spawn(async move {
            let (mut asked, _) = knows.accept().await.unwrap();
            let mut request = [0; 4096];
            while let Ok(length @ 1..) = asked.read(&mut request).await {
                // Each command begins with the number of its parts.
                let commands = request[..length].iter().filter(|byte| **byte == b'*').count();
                asked.write_all(moved.repeat(commands).as_bytes()).await.unwrap();
            }
        });
        let cluster = Redis::cluster([first, second, third]).replicas(2).build().unwrap();
        let lock = cluster.lock("jobs").unwrap();
        assert!(timeout(Duration::from_millis(100), lock.read()).await.is_err());
        // The second one still sends us to the first: the third one may have taken over.
        tokio::select! {
            biased;
            accepted = other.accept() => drop(accepted.unwrap()),
            _ = timeout(Duration::from_secs(5), lock.read()) => panic!("the other is not asked"),
        }
    }
}
