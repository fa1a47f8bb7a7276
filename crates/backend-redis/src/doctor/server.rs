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
        findings.push(self.memory().await);
        Ok(findings)
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
