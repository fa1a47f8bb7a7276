//! The replicas: whether as many follow as were named, and whether this user may use them after a
//! fail-over.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use leasehold_backend::Finding;
use leasehold_core::{ErrorKind, Timing};
use redis::cmd;

use crate::dial::Address;
use crate::failure::Reason;
use crate::info::Info;
use crate::node::Target;
use crate::reader::Reader;
use crate::reader::way::Way;

use super::EXAMINE;
use super::rights::{all_good, not_asked};
use super::server::{away, counted};

const SUBJECT: &str = "replicas";

impl Reader {
    pub(super) async fn replication(&self, timing: &Timing) -> Vec<Finding> {
        let (address, info) = match self.info().await {
            Ok(found) => found,
            Err(failure) => return vec![Finding::of_error(SUBJECT, &failure.during(EXAMINE))],
        };
        let mut findings = vec![self.counts(&info)];
        if self.rules.replicas().is_some_and(|replicas| replicas > 0) {
            findings.extend(self.waits().await);
        }
        let (nodes, unseen) = self.nodes(&address, &info).await;
        findings.extend(unseen);
        findings.extend(self.user_on(nodes).await);
        if let Way::One(node) = &*self.way
            && let Target::Sentinels(sentinels) = &node.target
        {
            findings.extend(sentinels.examined(self.rules, timing).await);
        }
        findings
    }

    fn counts(&self, info: &Info) -> Finding {
        let online = info.online();
        let follow = counted(online);
        let Some(replicas) = self.rules.replicas().filter(|replicas| *replicas > 0) else {
            if self.rules.expects_replicas() {
                let text = format!(
                    "{follow} online, and a write waits for none (unsafe_async_failover): a \
                     fail-over may give the lock to two leaders"
                );
                return Finding::warning(SUBJECT, text, "name their number instead: replicas=N");
            }
            let text = "none: the lock is as available as this server";
            return Finding::good(SUBJECT, text);
        };
        let needed = self.rules.majority(online);
        let text = format!(
            "{online} of {replicas} online: a write counts once {needed} of them and the primary \
             have it"
        );
        if online < needed {
            return away(SUBJECT, text, "bring the replicas back: until then nobody can lead");
        }
        if online > replicas {
            let cure = format!("write replicas={online}, if none of them is only for a while");
            return Finding::warning(SUBJECT, text, cure);
        }
        if online == needed {
            let cure = match online < replicas {
                true => "bring the others back: not one more may fail",
                false => "add a replica: a primary and two replicas go on when one of them fails",
            };
            return Finding::warning(SUBJECT, text, cure);
        }
        Finding::good(SUBJECT, text)
    }

    /// Whether the server waits for replicas at all.
    async fn waits(&self) -> Option<Finding> {
        let mut wait = cmd("WAIT");
        wait.arg(0).arg(1);
        let failure = self.asked(wait).await.err()?;
        Some(match failure.reason {
            Reason::Refused | Reason::Unknown => {
                let text = format!("the server does not wait for replicas: {failure}");
                let cure = "use a server with WAIT: without it no fail-over is safe";
                Finding::problem("wait", ErrorKind::Invalid, text, cure)
            }
            _ => Finding::of_error("wait", &failure.on(&self.name).during(EXAMINE)),
        })
    }

    /// The nodes that may have the lock one day, and what could not be seen of them: those that
    /// replicate from this primary, those that a Sentinel knows, those of a cluster.
    async fn nodes(&self, primary: &str, info: &Info) -> (Vec<Address>, Vec<Finding>) {
        let mut nodes = BTreeMap::new();
        let mut add = |address: &Address| {
            nodes.insert(address.to_string(), address.clone());
        };
        match &*self.way {
            Way::One(node) => {
                add(&node.last().unwrap_or_else(|| match &node.target {
                    Target::Fixed(address) => address.clone(),
                    Target::Sentinels(_) => Address::Tcp(primary.into()),
                }));
                if let Target::Sentinels(sentinels) = &node.target {
                    sentinels.replicas().await.iter().for_each(&mut add);
                }
            }
            Way::Cluster(cluster) => {
                add(&Address::Tcp(primary.into()));
                cluster.seeds.iter().for_each(&mut add);
            }
        }
        // One that only copies the data has no port.
        let replicas = info.replicas.iter().filter(|replica| !replica.address.ends_with(":0"));
        for replica in replicas {
            add(&Address::Tcp(replica.address.as_str().into()));
        }
        let mut unseen = Vec::new();
        if self.way.is_cluster() {
            match self.way.members().await {
                Ok(members) => members.iter().for_each(&mut add),
                Err(failure) => unseen.push(super::not_seen(
                    "cluster",
                    "CLUSTER SLOTS",
                    failure,
                    "+cluster|slots, to look at the nodes to which the lock may move",
                )),
            }
        }
        (nodes.into_values().collect(), unseen)
    }

    /// Whether this user may do on each of these nodes what a candidate does.
    async fn user_on(&self, nodes: Vec<Address>) -> Vec<Finding> {
        let Some(node) = self.way.heard(self) else { return Vec::new() };
        let asked = nodes.iter().map(|address| self.rights_at(&node.how, address));
        let (mut findings, mut good) = (Vec::new(), Vec::new());
        for (address, asked) in nodes.iter().zip(join_all(asked).await) {
            match asked {
                Ok(rights) if rights.is_complete() => good.push(address.to_string()),
                Ok(rights) => findings.extend(rights.finding(address, self)),
                Err(failure) => findings.push(not_asked(address, failure, self)),
            }
        }
        if !good.is_empty() {
            findings.insert(0, all_good(&good));
        }
        findings
    }
}
