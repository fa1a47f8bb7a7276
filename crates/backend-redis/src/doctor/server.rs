//! What a server says of itself.

use leasehold_backend::Finding;
use leasehold_core::{ErrorKind, printable};
use redis::{Cmd, Value, cmd};

use crate::connection::first_error;
use crate::failure::Failure;
use crate::info::{Info, text};
use crate::node::{Request, sections};
use crate::reader::Reader;

use super::{not_seen, versions};

impl Reader {
    /// Its version, its life so far, and what it does when memory runs out.
    pub(super) async fn server(&self) -> Result<Vec<Finding>, Failure> {
        let (address, info) = self.info().await?;
        let (told, role) = (info.told(), if info.role == "master" { "a primary" } else { "" });
        let mut findings =
            vec![Finding::good("server", format!("{address}: {told}, {role} ({})", info.mode))];
        let known = versions::known_defects(&info);
        findings.push(match known.is_empty() {
            true => {
                let text = format!("{told}: no defect that matters here is known of it");
                Finding::good("version", text)
            }
            false => {
                let text = format!("{told}: {}", known.join("; "));
                Finding::warning("version", text, versions::cure(&info))
            }
        });
        let run = info.run_id.get(..8).unwrap_or(&info.run_id);
        let (full, partial) = (&info.sync_full, &info.sync_partial);
        findings.push(Finding::good(
            "reign",
            format!(
                "process {run}…, which has resynchronized replicas {full} times fully and \
                 {partial} times in part: each time, and at a restart or a promotion, whoever \
                 wants the lock waits a lease out"
            ),
        ));
        findings.extend(self.sites(&info).await);
        findings.push(self.memory().await);
        Ok(findings)
    }

    /// Whether another site accepts writes for the same lock: an Active-Active database has a
    /// section of INFO for that.
    async fn sites(&self, info: &Info) -> Vec<Finding> {
        let mut crdt = cmd("INFO");
        crdt.arg("crdt");
        let told = self.asked(crdt).await;
        let is_active = told.as_ref().is_ok_and(|told| of_several_sites(text(told)));
        if is_active {
            return vec![Finding::problem(
                "server",
                ErrorKind::Invalid,
                "an Active-Active database: two sites accept writes for one lock",
                "use a database of one site, without Active-Active",
            )];
        }
        let mut findings = Vec::new();
        if info.is_managed {
            findings.push(Finding::warning(
                "server",
                "Redis Software or Redis Cloud, which this project has not tested: its WAIT counts \
                 one replica at most, and often none during maintenance",
                "run leasehold conformance on it before anything relies on it",
            ));
            if let Err(failure) = told {
                findings.push(not_seen("server", "INFO crdt", failure, "+info|crdt"));
            }
        }
        findings
    }

    /// Of the server that has the lock.
    pub(super) async fn info(&self) -> Result<(String, Info), Failure> {
        let request = Request::simple(sections().collect());
        // A read before has gone where a cluster has the key.
        let (node, replies) = self.way.ask(self, request).await?;
        let address = node.told();
        if let Some(failure) = first_error(&replies, &address) {
            return Err(failure);
        }
        let info = Info::of(&replies).ok_or_else(|| Failure::unexpected(&address))?;
        Ok((address, info))
    }

    /// The reply to one command.
    pub(super) async fn asked(&self, command: Cmd) -> Result<Value, Failure> {
        let (node, mut replies) = self.way.ask(self, Request::simple(vec![command])).await?;
        match first_error(&replies, &node.told()) {
            Some(failure) => Err(failure),
            None => replies.pop().ok_or_else(|| Failure::unexpected(&node.told())),
        }
    }

    /// A lock has no time to live, so only some policies throw it away.
    async fn memory(&self) -> Finding {
        const SUBJECT: &str = "eviction";
        let mut memory = cmd("INFO");
        memory.arg("memory");
        let reply = match self.asked(memory).await {
            Ok(reply) => reply,
            Err(failure) => return not_seen(SUBJECT, "INFO memory", failure, "+info|memory"),
        };
        let field = |name: &str| {
            let lines = text(&reply).unwrap_or_default().lines();
            let mut fields = lines.filter_map(|line| line.trim_end().split_once(':'));
            fields.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        let limit = field("maxmemory").unwrap_or_default();
        let policy = field("maxmemory_policy").unwrap_or_default();
        eviction(&limit, &printable(&policy).at_most(40).to_string())
    }
}

/// Other servers have no such section, and answer with nothing.
fn of_several_sites(crdt: Option<&str>) -> bool {
    crdt.is_some_and(|told| told.lines().any(|line| line.starts_with("crdt_")))
}

fn eviction(limit: &str, policy: &str) -> Finding {
    const SUBJECT: &str = "eviction";
    if policy.starts_with("allkeys") {
        let text = format!(
            "maxmemory-policy is {policy}: when memory runs out the lock may be thrown away; a \
             leader asserts it again, and nobody else leads before a lease is over"
        );
        let cure = "set maxmemory-policy noeviction or one that begins with volatile-";
        return Finding::warning(SUBJECT, text, cure);
    }
    match (limit, policy) {
        (_, "") => Finding::warning(
            SUBJECT,
            "the server does not say what it does when memory runs out",
            "make sure that it throws no key away that has no time to live",
        ),
        ("0" | "", _) => Finding::good(SUBJECT, format!("{policy}, and no limit of memory")),
        (limit, _) => Finding::good(
            SUBJECT,
            format!("{policy} at {limit} bytes: a lock, which has no time to live, is kept"),
        ),
    }
}

/// A number of replicas, for people.
pub(super) fn counted(count: u64) -> String {
    match count {
        1 => "1 replica".to_owned(),
        more => format!("{more} replicas"),
    }
}

/// A problem that waiting may end.
pub(super) fn away(subject: &'static str, text: String, cure: &str) -> Finding {
    Finding::problem(subject, ErrorKind::Unavailable, text, cure)
}

#[cfg(test)]
mod tests {
    use leasehold_backend::Level;

    use super::*;

    /// The fields are those that the vendor documents.
    #[test]
    fn an_active_active_database_is_told_by_its_section() {
        assert!(of_several_sites(Some("# CRDT Context\r\ncrdt_config_version:1\r\n")));
        for other in [None, Some(""), Some("# Server\r\nredis_version:8.2.1\r\n")] {
            assert!(!of_several_sites(other), "{other:?}");
        }
    }

    #[test]
    fn only_what_throws_away_any_key_is_warned_of() {
        for (limit, policy, is_good) in [
            ("0", "noeviction", true),
            ("100", "noeviction", true),
            ("100", "volatile-lru", true),
            ("100", "allkeys-lru", false),
            ("0", "allkeys-random", false),
            ("", "", false),
        ] {
            let level = eviction(limit, policy).level;
            assert_eq!(level == Level::Good, is_good, "{limit} {policy}");
        }
    }
}
