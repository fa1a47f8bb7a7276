//! The keys of an election at one revision, and what they mean: the oldest leads.

use std::time::Duration;

use etcd_client::{GetResponse, KeyValue};
use leasehold_core::{Contents, Expiry, Holder, Nonce, Observed, Record, Token, Version, Wall};
use serde_json::{Map, Value};

use crate::election::{ElectionName, lease_id};

/// What Go's sessions and `etcdctl elect` take as lease duration unless told otherwise. For people: the store alone
/// ends such a lease.
const FOREIGN_LEASE: Duration = Duration::from_secs(60);

/// The candidates at one revision of the store, the oldest first. Travels in a version, so that a watch can go on
/// from it and a renewal can name its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// The revision of the store at which this was so.
    pub(crate) revision: i64,
    entries: Vec<Entry>,
}

/// One candidate's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    pub(crate) lease: i64,
    pub(crate) value: Vec<u8>,
}

impl Queue {
    pub(crate) fn read(revision: i64, response: &GetResponse) -> Self {
        let entries = response.kvs().iter().map(Entry::of).collect();
        Self::new(revision, entries)
    }

    pub(crate) fn new(revision: i64, mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.created);
        Self { revision, entries }
    }

    /// Who leads.
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.entries.first()
    }

    /// The queue after a key changed. A version of 0 says it was deleted.
    pub(crate) fn apply(&mut self, change: &KeyValue) {
        self.entries.retain(|entry| entry.key != change.key());
        if change.version() > 0 {
            self.entries.push(Entry::of(change));
            self.entries.sort_by_key(|entry| entry.created);
        }
    }

    /// What the election is told. `floor` is the operator's.
    pub(crate) fn observed(self, election: &ElectionName, floor: Option<Token>) -> Observed {
        let (version, contents) = match self.first() {
            None => (Version::absent(), Contents::Absent),
            Some(first) => (Version::number(number(first.modified)), first.contents(election)),
        };
        let token_floor = Some(number(self.revision)).max(floor);
        let version = version.with_cargo(self);
        Observed { version, contents, expiry: Expiry::ByServer, token_floor }
    }
}

impl Entry {
    fn of(pair: &KeyValue) -> Self {
        Self {
            key: pair.key().to_vec(),
            created: pair.create_revision(),
            modified: pair.mod_revision(),
            lease: pair.lease(),
            value: pair.value().to_vec(),
        }
    }

    fn contents(&self, election: &ElectionName) -> Contents {
        let key = String::from_utf8_lossy(&self.key);
        if election.is_nested(&self.key) {
            return Contents::Unreadable(format!(
                "the key {key:?} is of an election whose name begins with this one's, and each would wait for the other: rename one of them"
            ));
        }
        if self.lease == 0 {
            return Contents::Unreadable(format!(
                "the key {key:?} (created at revision {}) has no lease, so it blocks this election for ever. If nobody uses it, run: etcdctl del {}{}",
                self.created,
                if key.starts_with('-') { "-- " } else { "" },
                quoted(&key)
            ));
        }
        match Record::from_json(&self.value) {
            Ok(record) if self.is_written_by(&record, election) => {
                Contents::Record(Record { token: number(self.created), ..record })
            }
            Err(why) if looks_like_ours(&self.value) => Contents::Unreadable(why),
            Ok(_) | Err(_) => Contents::Record(self.foreign()),
        }
    }

    /// Whether this is the key that the record's own Take made, and not a copy of its value.
    fn is_written_by(&self, record: &Record, election: &ElectionName) -> bool {
        let lease = lease_id(record.nonce);
        record.holder.is_some()
            && self.lease == lease
            && self.key == election.key(lease).into_bytes()
    }

    /// A candidate of Go's or etcdctl's: its value is its name.
    fn foreign(&self) -> Record {
        let name: String = String::from_utf8_lossy(&self.value)
            .chars()
            .filter(|c| !c.is_control())
            .take(256)
            .collect();
        let identity = if name.is_empty() { format!("lease {:x}", self.lease) } else { name };
        let nonce = u128::from(number(self.created)) << 64 | u128::from(number(self.modified));
        Record {
            holder: Some(Holder { identity, incarnation: None, advertise: None }),
            token: number(self.created),
            lease_duration: FOREIGN_LEASE,
            nonce: Nonce(nonce),
            acquired: Wall(0),
            renewed: Wall(0),
            extra: Map::new(),
        }
    }
}

/// A record of a later version of this program, rather than somebody's name.
fn looks_like_ours(value: &[u8]) -> bool {
    let value: Option<Value> = serde_json::from_slice(value).ok();
    value.is_some_and(|value| value.get("v").is_some() && value.get("nonce").is_some())
}

/// Revisions are positive.
pub(crate) fn number(revision: i64) -> u64 {
    revision.unsigned_abs()
}

/// For a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use leasehold_core::Incarnation;

    use super::*;

    fn name() -> ElectionName {
        ElectionName::parse("jobs").unwrap()
    }

    fn record(nonce: u128) -> Record {
        Record {
            holder: Some(Holder {
                identity: "node-a".into(),
                incarnation: Some(Incarnation(7)),
                advertise: None,
            }),
            token: 0,
            lease_duration: Duration::from_secs(15),
            nonce: Nonce(nonce),
            acquired: Wall(1),
            renewed: Wall(2),
            extra: Map::new(),
        }
    }

    fn ours(nonce: u128, created: i64) -> Entry {
        let lease = lease_id(Nonce(nonce));
        let (key, value) = (name().key(lease).into_bytes(), record(nonce).to_json());
        Entry { key, created, modified: created, lease, value }
    }

    fn unreadable(entry: Entry) -> String {
        match Queue::new(99, vec![entry]).observed(&name(), None).contents {
            Contents::Unreadable(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_oldest_leads_and_its_token_is_its_create_revision() {
        let queue = Queue::new(50, vec![ours(2, 40), ours(1, 12)]);
        let observed = queue.observed(&name(), None);
        let expected = Record { token: 12, ..record(1) };
        assert_eq!(observed.contents, Contents::Record(expected));
        assert_eq!((observed.version, observed.token_floor), (Version::number(12), Some(50)));
        assert_eq!(observed.expiry, Expiry::ByServer);
    }

    #[test]
    fn nobody_is_there() {
        let observed = Queue::new(9, Vec::new()).observed(&name(), Some(100));
        assert_eq!(observed.contents, Contents::Absent);
        assert!(observed.version.is_absent());
        assert_eq!(observed.token_floor, Some(100), "the operator's floor");
        assert_eq!(observed.version.cargo::<Queue>().map(|queue| queue.revision), Some(9));
    }

    #[test]
    fn a_candidate_of_go_is_a_stranger_with_a_token() {
        for (value, identity) in
            [("host-7", "host-7"), ("", "lease 2a"), ("{\"a\":1}", "{\"a\":1}")]
        {
            let entry = Entry { value: value.into(), lease: 42, ..ours(1, 12) };
            let observed = Queue::new(12, vec![entry]).observed(&name(), None);
            let record = observed.record().unwrap();
            let holder = record.holder.as_ref().unwrap();
            assert_eq!(
                (holder.identity.as_str(), holder.incarnation, record.token),
                (identity, None, 12)
            );
        }
    }

    #[test]
    fn a_copy_of_our_value_under_another_key_is_not_ours() {
        let entry = Entry { lease: 42, key: name().key(42).into_bytes(), ..ours(1, 12) };
        let observed = Queue::new(12, vec![entry]).observed(&name(), None);
        assert_eq!(observed.record().unwrap().holder.as_ref().unwrap().incarnation, None);
    }

    #[test]
    fn what_blocks_for_ever_is_named_with_its_cure() {
        let why = unreadable(Entry { lease: 0, key: b"jobs/it's".to_vec(), ..ours(1, 12) });
        assert!(why.ends_with(r"run: etcdctl del 'jobs/it'\''s'"), "{why}");
        let why = unreadable(Entry { key: b"jobs/sub/1".to_vec(), ..ours(1, 12) });
        assert!(why.contains("rename"), "{why}");
        let value = br#"{"v":2,"nonce":"x"}"#.to_vec();
        assert!(unreadable(Entry { value, ..ours(1, 12) }).contains("version 2"));
    }
}
