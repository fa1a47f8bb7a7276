//! What a server says of itself: the sections of INFO.

use std::fmt;

use leasehold_core::printable;
use redis::Value;

/// The sections that are asked for, in this order.
pub(crate) const SECTIONS: [&str; 3] = ["server", "replication", "stats"];

/// What the sections say. What is missing is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// The process of the server, which is another one after a restart.
    pub(crate) run_id: String,
    /// The history that its data is of, which is another one after a promotion.
    pub(crate) replid: String,
    /// How many full resynchronizations it began for replicas.
    pub(crate) sync_full: String,
    /// How many times it let a replica go on after a gap.
    pub(crate) sync_partial: String,
    pub(crate) role: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub(crate) mode: String,
    pub(crate) version: Option<(u64, u64, u64)>,
    pub(crate) product: Product,
    /// Whether it is Redis Software or Redis Cloud.
    pub(crate) is_managed: bool,
    /// Replicas that are attached, also those that do not follow yet.
    pub(crate) replicas: Vec<Replica>,
    /// What a replica follows.
    pub(crate) primary: Option<String>,
}

/// Which server answers, as far as it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Product {
    #[default]
    Redis,
    Valkey,
    KeyDb,
    Dragonfly,
    Garnet,
}

/// A replica, as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) address: String,
    pub(crate) is_online: bool,
}

impl Info {
    /// Of three replies, in the order of [`SECTIONS`]. `None`: what answers has no such sections.
    pub(crate) fn of(replies: &[Value]) -> Option<Self> {
        let mut info = Self::default();
        let mut version = "";
        for reply in replies {
            for line in text(reply)?.lines() {
                let Some((field, value)) = line.trim_end().split_once(':') else { continue };
                match field {
                    "run_id" => info.run_id = hexadecimal(value),
                    "master_replid" => info.replid = hexadecimal(value),
                    "sync_full" => info.sync_full = digits(value),
                    "sync_partial_ok" => info.sync_partial = digits(value),
                    "role" => info.role = value.to_owned(),
                    "redis_mode" | "server_mode" => info.mode = value.to_owned(),
                    "redis_version" if version.is_empty() => version = value,
                    "valkey_version" => {
                        (version, info.product) = (value, Product::Valkey);
                    }
                    "dragonfly_version" => info.product = Product::Dragonfly,
                    "garnet_version" => info.product = Product::Garnet,
                    "rlec_version" => info.is_managed = true,
                    "mvcc_depth" | "storage_provider" => info.product = Product::KeyDb,
                    "master_host" => info.primary = Some(value.to_owned()),
                    "master_port" => {
                        info.primary = info.primary.map(|host| format!("{host}:{value}"));
                    }
                    _ if is_replica(field) => info.replicas.extend(Replica::of(value)),
                    _ => {}
                }
            }
        }
        info.version = parsed(version);
        Some(info)
    }

    /// The stretch of the server's life in which its data never went back. `None`: it does not tell
    /// all that is needed.
    ///
    /// `run_id` alone would not do, for a primary that is demoted and promoted again keeps it; nor
    /// would the history's, for a primary that nobody demoted keeps that, too. But whoever
    /// acknowledged another primary's writes must be resynchronized fully before it can acknowledge
    /// here, and that is counted when it begins. One that restarted from data of before its
    /// acknowledgement needs only what it lacks since, so that is counted, too.
    pub(crate) fn reign(&self) -> Option<String> {
        let parts = [&self.run_id, &self.replid, &self.sync_full, &self.sync_partial];
        let told = parts.iter().all(|part| !part.is_empty());
        told.then(|| parts.map(String::as_str).join(":"))
    }

    /// Replicas that follow, and can be promoted.
    pub(crate) fn online(&self) -> u64 {
        let online = self.replicas.iter().filter(|replica| replica.is_online).count();
        u64::try_from(online).unwrap_or(u64::MAX)
    }

    /// Whether it knows `SET … IFEQ`.
    pub(crate) fn has_ifeq(&self) -> bool {
        let since = match self.product {
            Product::Redis => (8, 4, 0),
            Product::Valkey => (8, 1, 0),
            Product::KeyDb | Product::Dragonfly | Product::Garnet => return false,
        };
        self.version.is_some_and(|version| version >= since)
    }

    /// The name and version, for people.
    pub(crate) fn told(&self) -> String {
        let name = match self.product {
            Product::Redis => "Redis",
            Product::Valkey => "Valkey",
            Product::KeyDb => "KeyDB",
            Product::Dragonfly => "Dragonfly",
            Product::Garnet => "Garnet",
        };
        match self.version {
            Some((major, minor, patch)) => format!("{name} {major}.{minor}.{patch}"),
            None => format!("{name} of an unknown version"),
        }
    }
}

impl Replica {
    /// `ip=10.0.0.2,port=6379,state=online,offset=1,lag=0`. Who only copies the data for a backup
    /// has no port.
    fn of(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = text.split(',').filter_map(|field| field.split_once('='));
            fields.find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        let (host, port, state) = (field("ip")?, field("port")?, field("state")?);
        let address = printable(&format!("{host}:{port}")).at_most(100).to_string();
        Some(Self { address, is_online: state == "online" && port != "0" })
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// The text of a reply that is one.
pub(crate) fn text(reply: &Value) -> Option<&str> {
    match reply {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

fn is_replica(field: &str) -> bool {
    let number = field.strip_prefix("slave");
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}

/// An id, or nothing: it goes into a record.
fn hexadecimal(value: &str) -> String {
    let is_id = value.len() <= 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { value.to_owned() } else { String::new() }
}

fn digits(value: &str) -> String {
    let is_number = value.len() <= 20 && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { value.to_owned() } else { String::new() }
}

/// What follows a `-` does not count: a release candidate is taken for its release.
fn parsed(version: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = version.split('-').next()?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn section(text: &str) -> Value {
        Value::BulkString(text.replace('\n', "\r\n").into_bytes())
    }

    #[test]
    fn a_primary_tells_its_reign_and_its_replicas() {
        let server = "# Server\nredis_version:7.2.4\nserver_name:valkey\nvalkey_version:9.1.2\n\
             server_mode:standalone\nrun_id:ab01\n";
        let replication = "# Replication\nrole:master\nconnected_slaves:3\n\
             slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\n\
             slave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0\n\
             slave2:ip=10.0.0.4,port=0,state=online,offset=0,lag=0\n\
             master_replid:cd02\nmaster_replid2:0000\n";
        let stats = "# Stats\nsync_full:3\nsync_partial_ok:0\n";
        let info = Info::of(&[server, replication, stats].map(section)).unwrap();
        assert_eq!(info.reign().as_deref(), Some("ab01:cd02:3:0"));
        assert_eq!((info.online(), info.replicas.len()), (1, 3));
        assert_eq!((info.told().as_str(), info.role.as_str()), ("Valkey 9.1.2", "master"));
    }

    #[test]
    fn what_is_not_told_is_no_reign() {
        let info = |text: &str| Info::of(&[section(text)]).unwrap();
        assert_eq!(info("run_id:ab\nmaster_replid:cd").reign(), None);
        assert_eq!(info("run_id:ab\nmaster_replid:cd\nsync_full:1").reign(), None);
        assert_eq!(
            info("run_id:a\"b\nmaster_replid:c\nsync_full:1\nsync_partial_ok:0").reign(),
            None
        );
        assert_eq!(Info::of(&[Value::Okay]), None);
        assert_eq!(info("redis_version:8.10").told(), "Redis 8.10.0");
        assert_eq!(info("").told(), "Redis of an unknown version");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken(text: String) {
            let info = Info::of(&[section(&text)]).unwrap();
            let _ = (info.reign(), info.told(), info.online());
        }
    }
}
