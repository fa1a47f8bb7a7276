//! When a write counts, and how a record is compared and replaced.

use redis::Value;

use crate::failure::Failure;

/// When a write counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The replicas that there are, whether or not they follow at the moment.
    pub(crate) replicas: Option<u64>,
    pub(crate) unsafe_async_failover: bool,
    pub(crate) cas: Cas,
}

/// How a record is compared and replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cas {
    /// By a script, which compares the server's reign, too.
    #[default]
    Script,
    /// By `SET … IFEQ`, for servers where nobody may run scripts. Needs Redis 8.4, Valkey 8.1 or
    /// newer. It is refused at the server's limit of memory, which the script passes.
    IfEq,
}

/// A command of a write that some servers and proxies lack.
#[derive(Debug)]
pub(crate) struct Needed {
    pub(crate) name: &'static str,
    without: &'static str,
    cure: &'static str,
}

const WAIT: Needed = Needed {
    name: "WAIT",
    without: "the server has no WAIT, so nobody can know whether its replicas have a write",
    cure: "use a server with WAIT (ElastiCache Serverless and some proxies have none)",
};

const SCRIPTS: Needed = Needed {
    name: "EVALSHA",
    without: "the server runs no scripts",
    cure: "add cas=ifeq (Redis 8.4, Valkey 8.1 or newer), or allow scripts",
};

impl Needed {
    /// That the server lacks it, if this is its answer to the bare name.
    pub(crate) fn missing(&self, reply: &Value, address: &str) -> Option<Failure> {
        let Value::ServerError(error) = reply else { return None };
        let failure = Failure::of_answer(error, address);
        let failure_of = || Failure::invalid(format!("{address}: {}", self.without));
        failure.is_unknown().then(|| failure_of().with_cure(self.cure))
    }
}

impl Rules {
    /// The commands of a write that not every server has.
    pub(crate) fn commands(self) -> Vec<Needed> {
        let waits = self.replicas.is_some_and(|replicas| replicas > 0).then_some(WAIT);
        let scripts = (self.cas == Cas::Script).then_some(SCRIPTS);
        waits.into_iter().chain(scripts).collect()
    }

    /// The replicas that were named.
    pub(crate) fn replicas(self) -> Option<u64> {
        self.replicas
    }

    #[cfg(test)]
    pub(crate) fn with_replicas(replicas: u64) -> Self {
        Self { replicas: Some(replicas), ..Self::default() }
    }

    /// Whether replicas may follow.
    pub(crate) fn expects_replicas(self) -> bool {
        self.unsafe_async_failover || self.replicas.is_some_and(|replicas| replicas > 0)
    }

    /// How many replicas must have a write, so that with the primary more than half of the nodes
    /// have it.
    pub(crate) fn majority(self, online: u64) -> u64 {
        match self.replicas {
            Some(replicas) if replicas > 0 => replicas.max(online).saturating_add(1) / 2,
            _ => 0,
        }
    }

    /// Replicas that follow, and can be promoted, take part in every decision.
    pub(crate) fn unexpected_replicas(self, address: &str, online: u64) -> Failure {
        let many = if online == 1 { "replica follows" } else { "replicas follow" };
        Failure::invalid(format!(
            "{address}: {online} {many}, and replicas= does not say how many there are"
        ))
        .with_cure(format!(
            "add replicas=N with the number that exist, also those that are down now \
             (replicas={online} if these are all): a write counts once a majority has it. With \
             unsafe_async_failover=true a fail-over may give the lock to two leaders"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_of_all_nodes() {
        let rules = |replicas| Rules { replicas: Some(replicas), ..Rules::default() };
        for (replicas, online, needed) in
            [(0, 0, 0), (1, 0, 1), (1, 1, 1), (2, 0, 1), (2, 2, 1), (2, 3, 2), (3, 3, 2), (4, 0, 2)]
        {
            assert_eq!(rules(replicas).majority(online), needed, "{replicas} {online}");
        }
        assert_eq!(Rules::default().majority(2), 0);
        assert!(!Rules::default().expects_replicas() && !rules(0).expects_replicas());
        assert!(rules(1).expects_replicas());
    }
}
