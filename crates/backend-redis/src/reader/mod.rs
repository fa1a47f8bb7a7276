//! What a lock shows, and the way to the server that has it.

pub(crate) mod way;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use leasehold_backend::TokenFloor;
use leasehold_core::{Contents, ErrorKind, Expiry, Observed, Token, Version};
use redis::{Cmd, Value, cmd};

use crate::connection::{first_error, first_error_of};
use crate::failure::{Failure, Reason};
use crate::info::{Info, Product};
use crate::name::LockName;
use crate::node::{Node, Request, Target, sections};
use crate::reader::way::Way;
use crate::rules::{Cas, Rules};
use crate::stored::Stored;

/// A lock, and the way to it. A watch has a reader of its own.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) name: LockName,
    pub(crate) way: Arc<Way>,
    pub(crate) rules: Rules,
    pub(crate) token_floor: Option<TokenFloor>,
    /// Which of the shared connections this lock uses.
    pub(crate) lane: usize,
    /// The node of a cluster that had the key last.
    pub(crate) route: Arc<Mutex<Option<Arc<Node>>>>,
    /// Whether a server was seen to have the commands of a write.
    pub(crate) can_write: Arc<AtomicBool>,
}

/// What a version carries: what a write over it must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The number of the version; of an absent one the server's clock in microseconds, so that no
    /// version comes again.
    pub(crate) seq: u64,
    /// Replicas that followed.
    pub(crate) online: u64,
    pub(crate) floor: Token,
}

/// The replies to a read, and what each command needs.
const READ: usize = RIGHTS.len();
const RIGHTS: [&str; 7] =
    ["multi", "get", "info|server", "info|replication", "info|stats", "time", "exec"];

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).field("way", &self.way).finish()
    }
}

impl Reader {
    /// Of one moment: the record, the server's reign and its clock.
    pub(crate) async fn read(&self) -> Result<Observed, Failure> {
        let mut commands = vec![cmd("MULTI"), get(self.name.key())];
        commands.extend(sections());
        commands.extend([cmd("TIME"), cmd("EXEC")]);
        // Without arguments they do nothing, and need no rights.
        let needed = match self.can_write.load(Ordering::Relaxed) {
            true => Vec::new(),
            false => self.rules.commands(),
        };
        commands.extend(needed.iter().map(|needed| cmd(needed.name)));
        let (node, mut replies) = self.way.ask(self, Request::simple(commands)).await?;
        let address = node.told();
        if let Some(info) = of_sentinel(&replies) {
            return Err(info);
        }
        let known = replies.split_off(READ);
        if let Some(failure) = first_error_of(&replies, &RIGHTS, &address) {
            return Err(failure);
        }
        let Some(Value::Array(parts)) = replies.get(READ - 1) else {
            return Err(Failure::unexpected(&address));
        };
        let [value, info @ .., time] = parts.as_slice() else {
            return Err(Failure::unexpected(&address));
        };
        if let Some(failure) = first_error(&parts[1..], &address) {
            return Err(failure);
        }
        let info = Info::of(info).ok_or_else(|| Failure::unexpected(&address))?;
        let reign = match self.accept(&node, &info) {
            Ok(reign) => reign,
            Err(failure) => {
                if failure.reason == Reason::Stale {
                    node.retire();
                }
                return Err(failure);
            }
        };
        for (needed, reply) in needed.iter().zip(&known) {
            if let Some(failure) = needed.missing(reply, &address) {
                return Err(failure);
            }
        }
        self.can_write.store(true, Ordering::Relaxed);
        node.has_served.store(true, Ordering::Relaxed);
        let micros = micros(time).ok_or_else(|| Failure::unexpected(&address))?;
        let floor = (micros / 1000).max(self.token_floor.map_or(0, TokenFloor::token));
        let seen = Seen { seq: micros, online: info.online(), floor };
        Ok(match value {
            Value::BulkString(bytes) => self.observed(bytes, &reign, seen),
            Value::Nil => {
                let version = Version::absent().in_reign(reign.as_bytes()).with_cargo(seen);
                let (contents, expiry) = (Contents::Absent, Expiry::Suspended);
                Observed { version, contents, expiry, token_floor: Some(floor) }
            }
            Value::ServerError(error) => match Failure::of_answer(error, &address) {
                failure if failure.reason == Reason::WrongType => foreign(&reign, floor),
                failure => return Err(failure),
            },
            _ => return Err(Failure::unexpected(&address)),
        })
    }

    /// The state that these bytes are, read in this reign.
    pub(crate) fn observed(&self, bytes: &[u8], reign: &str, seen: Seen) -> Observed {
        let (contents, expiry, seq) = match Stored::of(bytes) {
            Ok(stored) => {
                let expiry = match stored.reign == reign {
                    true => Expiry::ByObserver,
                    false => Expiry::Suspended,
                };
                (Contents::Record(stored.record), expiry, stored.seq)
            }
            Err(why) => (Contents::Unreadable(why), Expiry::ByObserver, 0),
        };
        let version = Version::bytes(bytes).in_reign(reign.as_bytes());
        let version = version.with_cargo(Seen { seq, ..seen });
        Observed { version, contents, expiry, token_floor: Some(seen.floor) }
    }

    /// The reign of a server that may have the lock.
    pub(crate) fn accept(&self, node: &Node, info: &Info) -> Result<String, Failure> {
        let address = node.told();
        let refuse = |text: String, cure: &'static str| {
            Err(Failure::invalid(format!("{address} {text}")).with_cure(cure))
        };
        match (info.mode.as_str(), self.way.is_cluster()) {
            ("cluster", false) => {
                return refuse("is a node of a cluster".into(), "write redis+cluster://");
            }
            ("standalone", true) => {
                return refuse(
                    "is not a node of a cluster".into(),
                    "write redis:// (over TLS rediss://)",
                );
            }
            _ => {}
        }
        if info.product == Product::Garnet {
            return refuse(
                "is Garnet, whose scripts are not atomic".into(),
                "use Redis or Valkey 7.0 or newer",
            );
        }
        if info.role == "active-replica" {
            return refuse(
                "is an active replica: two of them accept writes for one lock".into(),
                "use a server without active-replica",
            );
        }
        if info.role != "master" {
            return Err(self.no_primary(node, info));
        }
        if info.version.is_some_and(|(major, ..)| major < 7) {
            return refuse(
                format!("is {}, which is too old", info.told()),
                "use Redis or Valkey 7.0 or newer",
            );
        }
        if self.rules.cas == Cas::IfEq && !info.has_ifeq() {
            return refuse(
                format!("is {}, which has no SET … IFEQ", info.told()),
                "leave out cas=ifeq, or use Redis 8.4, Valkey 8.1 or newer",
            );
        }
        if info.online() > 0 && !self.rules.expects_replicas() {
            return Err(self.rules.unexpected_replicas(&address, info.online()));
        }
        match info.reign() {
            Some(reign) => Ok(reign),
            None => refuse(
                "does not say in INFO when its data may have gone back (run_id, master_replid, \
                 sync_full, sync_partial_ok)"
                    .into(),
                "use Redis or Valkey 7.0 or newer, without a proxy before it",
            ),
        }
    }

    fn no_primary(&self, node: &Node, info: &Info) -> Failure {
        let address = node.told();
        let of = match &info.primary {
            Some(primary) => {
                let primary = leasehold_core::printable(primary).at_most(100).to_string();
                format!("a replica of {primary}")
            }
            None => "not a primary".to_owned(),
        };
        let failure = Failure::stale(format!("{address} is {of}"));
        if self.way.is_cluster() || matches!(node.target, Target::Sentinels(_)) {
            return failure;
        }
        // Whoever named it must name another one, unless it was a primary: it may be one again, or
        // the name may soon be another server's.
        let is_misnamed = !node.has_served.load(Ordering::Relaxed);
        let failure = if is_misnamed { failure.but(ErrorKind::Invalid) } else { failure };
        failure.with_cure(
            "name the primary, or the Sentinels that know it: redis+sentinel://HOSTS/MASTER/NAME",
        )
    }
}

/// A key of another type: never overwritten.
fn foreign(reign: &str, floor: Token) -> Observed {
    let why = "not a record: the key holds something else than a string";
    Observed {
        version: Version::bytes(b"\0").in_reign(reign.as_bytes()),
        contents: Contents::Unreadable(why.to_owned()),
        expiry: Expiry::ByObserver,
        token_floor: Some(floor),
    }
}

/// A Sentinel knows neither MULTI nor GET, and says that it is one.
fn of_sentinel(replies: &[Value]) -> Option<Failure> {
    let info = Info::of(replies.get(2..3)?)?;
    (info.mode == "sentinel").then(|| {
        Failure::invalid("what answers is a Sentinel")
            .with_cure("write redis+sentinel://HOSTS/MASTER/NAME")
    })
}

fn get(key: &str) -> Cmd {
    let mut get = cmd("GET");
    get.arg(key);
    get
}

/// Seconds and microseconds, as text.
fn micros(time: &Value) -> Option<u64> {
    let Value::Array(parts) = time else { return None };
    let part = |at: usize| crate::info::text(parts.get(at)?)?.parse::<u64>().ok();
    part(0)?.checked_mul(1_000_000)?.checked_add(part(1)?)
}

#[cfg(test)]
mod tests {
    use leasehold_core::ErrorKind;

    use super::*;
    use crate::connection::How;
    use crate::dial::Address;

    /// What servers say of themselves, by the fields that their sources and manuals name: none of
    /// these can be started here.
    #[test]
    fn servers_that_cannot_hold_a_lock_are_refused() {
        let target = Target::Fixed(Address::Tcp("h:1".into()));
        let reader = Reader {
            name: LockName::parse("jobs").unwrap(),
            way: Arc::new(Way::one(How::default(), target)),
            rules: Rules::default(),
            token_floor: None,
            lane: 0,
            route: Arc::default(),
            can_write: Arc::default(),
        };
        let Way::One(node) = &*reader.way else { panic!("one server was named") };
        let good = "redis_version:7.2.4\nrun_id:ab\nrole:master\nmaster_replid:cd\nsync_full:0\n\
             sync_partial_ok:0\nredis_mode:standalone\n";
        let accepted = |more: &str| {
            let text = Value::BulkString(format!("{good}{more}").into_bytes());
            reader.accept(node, &Info::of(&[text]).unwrap())
        };
        assert_eq!(accepted("").unwrap(), "ab:cd:0:0");
        for (says, problem) in [
            ("role:active-replica\nmaster_host:h2\nmaster_port:1\n", "is an active replica"),
            ("garnet_version:1.0.84\n", "is Garnet, whose scripts are not atomic"),
            ("run_id:\n", "does not say in INFO"),
            ("role:slave\nmaster_host:h2\nmaster_port:1\n", "is a replica of h2:1"),
            ("redis_mode:cluster\n", "is a node of a cluster"),
            ("slave0:ip=h2,port=1,state=online,offset=1,lag=0\n", "1 replica follows"),
        ] {
            let failure = accepted(says).unwrap_err();
            assert!(failure.to_string().contains(problem), "{says}: {failure}");
            let error = failure.during("read");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{says}");
            assert!(error.cure().is_some(), "{says}");
        }
    }

    #[test]
    fn a_command_that_a_write_needs_is_missed_at_the_first_read() {
        let rules = Rules { replicas: Some(2), ..Rules::default() };
        let needed = rules.commands();
        assert_eq!(needed.iter().map(|one| one.name).collect::<Vec<_>>(), ["WAIT", "EVALSHA"]);
        let ifeq = Rules { cas: Cas::IfEq, ..Rules::default() };
        assert!(ifeq.commands().is_empty());
    }
}
