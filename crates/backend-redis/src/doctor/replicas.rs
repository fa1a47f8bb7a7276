//! The replicas: whether as many follow as were named, and whether this user may use them after a
//! fail-over.

use leasehold_backend::Finding;
use leasehold_core::{ErrorKind, Timing};
use redis::cmd;

use crate::connection::{Connection, first_error};
use crate::dial::Address;
use crate::failure::{Failure, Reason};
use crate::info::Info;
use crate::node::Target;
use crate::reader::Reader;
use crate::reader::way::Way;

use super::EXAMINE;
use super::server::{away, counted};

const SUBJECT: &str = "replicas";

impl Reader {
    pub(super) async fn replication(&self, timing: &Timing) -> Vec<Finding> {
        let info = match self.info().await {
            Ok((_, info)) => info,
            Err(failure) => return vec![Finding::of_error(SUBJECT, &failure.during(EXAMINE))],
        };
        let mut findings = vec![self.counts(&info)];
        if self.rules.replicas().is_some_and(|replicas| replicas > 0) {
            findings.extend(self.waits().await);
        }
        for replica in info.replicas.iter().filter(|replica| replica.is_online) {
            findings.extend(self.user_of(&replica.address).await);
        }
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
            Reason::Refused => {
                let text = format!("the server does not wait for replicas: {failure}");
                let cure = "use a server with WAIT: without it no fail-over is safe";
                Finding::problem("wait", ErrorKind::Invalid, text, cure)
            }
            _ => Finding::of_error("wait", &failure.on(&self.name).during(EXAMINE)),
        })
    }

    /// Whether this user could go on at this replica, if it were promoted: users are not
    /// replicated. Nothing is written there.
    async fn user_of(&self, replica: &str) -> Option<Finding> {
        const SUBJECT: &str = "permission";
        let node = self.way.heard(self)?;
        let asked = async {
            let address = Address::Tcp(replica.into());
            let connection = Connection::open(&node.how, &address).await?;
            let mut set = cmd("SET");
            set.arg(self.name.key()).arg("").arg("NX").arg("XX");
            let mut get = cmd("GET");
            get.arg(self.name.key());
            let replies = connection.ask(&[set, get]).await?;
            let refused = first_error(&replies, replica);
            let is_right = |failure: &Failure| failure.reason == Reason::NotPermitted;
            refused.filter(is_right).map_or(Ok(()), Err)
        };
        let failure = asked.await.err()?.on(&self.name);
        if failure.is_denied() {
            return Some(Finding::of_error(SUBJECT, &failure.during("log in to a replica")));
        }
        let text = format!("whether this user may log in to a replica is not known: {failure}");
        Some(Finding::warning(SUBJECT, text, "look at the network between here and the replicas"))
    }
}
