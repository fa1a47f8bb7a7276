//! The keys of an election at one revision, and what they mean: the oldest leads.
//!
//! Only the oldest is read, whatever else lies under the prefix, so that no key of somebody else's
//! can make an answer too large.

use std::time::Duration;

use etcd_client::{GetResponse, KeyValue};
use leasehold_core::{
    Contents, Expiry, Holder, Nonce, Observed, Record, Token, Version, Wall, printable,
};
use serde_json::{Map, Value};

use crate::election::{ElectionName, hexadecimal, lease_id};
use crate::failure::Failure;
use crate::shell::quoted;

/// What Go's sessions and `etcdctl elect` take as lease duration unless told otherwise. For people:
/// the store alone ends such a lease.
const FOREIGN_LEASE: Duration = Duration::from_secs(60);

/// The largest record that is written, in bytes. Of what others wrote no more is kept.
pub(crate) const LARGEST: usize = 128 * 1024;

/// The oldest candidate at one revision of the store, and how many more there are. Travels in a
/// version, so that a watch can go on from it and a renewal can name its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// The revision of the store at which this was so.
    pub(crate) revision: i64,
    first: Option<Entry>,
    others: u64,
}

/// One candidate's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    pub(crate) lease: i64,
    /// `None`: larger than an answer may be.
    pub(crate) value: Option<Vec<u8>>,
}

/// A key as an answer or an event shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) created: i64,
    pub(crate) modified: i64,
    /// How often it was written since it was created; 0 says it was deleted.
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

impl<'a> Pair<'a> {
    pub(crate) fn of(pair: &'a KeyValue) -> Self {
        Self {
            key: pair.key(),
            value: pair.value(),
            created: pair.create_revision(),
            modified: pair.mod_revision(),
            version: pair.version(),
            lease: pair.lease(),
        }
    }
}

/// Whether a change leaves it known who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Known,
    /// The oldest is gone and there are others: who is the oldest now must be read.
    Unknown,
}

impl Queue {
    /// What a range of one key says, the oldest of all, as of this revision of the store.
    pub(crate) fn read(
        election: &ElectionName,
        revision: i64,
        response: &GetResponse,
        with_value: bool,
    ) -> Result<Self, Failure> {
        let first = response.kvs().first().map(|pair| {
            let entry = Entry::of(election, &Pair::of(pair), revision)?;
            let value = entry.value.filter(|_| with_value);
            Ok(Entry { value, ..entry })
        });
        let all = u64::try_from(response.count()).unwrap_or(0);
        Ok(Self { revision, first: first.transpose()?, others: all.saturating_sub(1) })
    }

    /// Nobody contends.
    pub(crate) fn empty(revision: i64) -> Self {
        Self { revision, first: None, others: 0 }
    }

    pub(crate) fn led_by(revision: i64, first: Entry, others: u64) -> Self {
        Self { revision, first: Some(first), others }
    }

    /// Who leads.
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.first.as_ref()
    }

    /// The queue after a key changed. A version of 0 says it was deleted.
    pub(crate) fn apply(
        &mut self,
        election: &ElectionName,
        change: &Pair<'_>,
    ) -> Result<Moved, Failure> {
        let is_first = self.first.as_ref().is_some_and(|first| first.key == change.key);
        if change.version <= 0 {
            if !is_first {
                self.others = self.others.saturating_sub(1);
                return Ok(Moved::Known);
            }
            self.first = None;
            return Ok(if self.others == 0 { Moved::Known } else { Moved::Unknown });
        }
        if is_first || (self.first.is_none() && self.others == 0) {
            self.first = Some(Entry::of(election, change, change.modified)?);
        } else if change.version == 1 {
            self.others = self.others.saturating_add(1);
        }
        Ok(Moved::Known)
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
    /// Refuses what no store says: keys of somebody else, and revisions out of order.
    fn of(election: &ElectionName, pair: &Pair<'_>, revision: i64) -> Result<Self, Failure> {
        let Pair { key, value, created, modified, lease, .. } = *pair;
        let is_in_order = 0 < created && created <= modified && modified <= revision;
        if !is_in_order || !key.starts_with(election.prefix().as_bytes()) {
            let text = format!(
                "an answer that no etcd gives: a key created at {created} and changed at \
                 {modified}, at revision {revision}, for the keys under {}",
                printable(election.prefix())
            );
            return Err(Failure::unanswered(text));
        }
        let value = Some(value[..value.len().min(LARGEST + 1)].to_vec());
        Ok(Self { key: key.to_vec(), created, modified, lease, value })
    }

    fn contents(&self, election: &ElectionName) -> Contents {
        let shown = String::from_utf8_lossy(&self.key);
        let shown = printable(&shown).at_most(200);
        if election.is_nested(&self.key) {
            return Contents::Unreadable(format!(
                "the key {shown} is of an election whose name begins with this one's, and each \
                 would wait for the other: rename one of them"
            ));
        }
        if self.lease == 0 {
            return Contents::Unreadable(format!(
                "the key {shown} (created at revision {}) has no lease, so it blocks this election \
                 for ever. If nobody uses it, {}",
                self.created,
                self.cure()
            ));
        }
        let value = self.value.as_deref().filter(|value| value.len() <= LARGEST);
        let Some(value) = value else { return Contents::Record(self.foreign()) };
        match Record::from_json(value) {
            Ok(record) if self.is_written_by(&record, election) => {
                Contents::Record(Record { token: number(self.created), ..record })
            }
            Err(why) if looks_like_ours(value) => Contents::Unreadable(why),
            Ok(_) | Err(_) => Contents::Record(self.foreign()),
        }
    }

    /// How this key is removed.
    fn cure(&self) -> String {
        match quoted(&self.key) {
            Some(key) => {
                let shell = if key.starts_with('$') { " in bash" } else { "" };
                let end = if self.key.starts_with(b"-") { "-- " } else { "" };
                format!("run{shell}: etcdctl del {end}{key}")
            }
            None => format!(
                "delete it by a program: its {} bytes are no argument of a command",
                self.key.len()
            ),
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
        let value = self.value.as_deref().unwrap_or_default();
        let name = String::from_utf8_lossy(&value[..value.len().min(1024)]);
        let name = printable(&name).to_string();
        let is_named = !name.is_empty();
        let identity = if is_named { name } else { format!("lease {}", hexadecimal(self.lease)) };
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

/// Revisions are positive; what is read was checked.
pub(crate) fn number(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
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
        Entry { key, created, modified: created, lease, value: Some(value) }
    }

    fn unreadable(entry: Entry) -> String {
        match Queue::led_by(99, entry, 0).observed(&name(), None).contents {
            Contents::Unreadable(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_oldest_leads_and_its_token_is_its_create_revision() {
        let queue = Queue::led_by(50, ours(1, 12), 1);
        let observed = queue.observed(&name(), None);
        let expected = Record { token: 12, ..record(1) };
        assert_eq!(observed.contents, Contents::Record(expected));
        assert_eq!((observed.version, observed.token_floor), (Version::number(12), Some(50)));
        assert_eq!(observed.expiry, Expiry::ByServer);
    }

    #[test]
    fn nobody_is_there() {
        let observed = Queue::empty(9).observed(&name(), Some(100));
        assert_eq!(observed.contents, Contents::Absent);
        assert!(observed.version.is_absent());
        assert_eq!(observed.token_floor, Some(100), "the operator's floor");
        assert_eq!(observed.version.cargo::<Queue>().map(|queue| queue.revision), Some(9));
    }

    #[test]
    fn a_candidate_of_go_is_a_stranger_with_a_token() {
        for (value, identity) in [
            ("host-7", "host-7"),
            ("", "lease 2a"),
            ("{\"a\":1}", "{\"a\":1}"),
            ("a\u{1b}b", r"a\u{1b}b"),
        ] {
            let entry = Entry { value: Some(value.into()), lease: 42, ..ours(1, 12) };
            let observed = Queue::led_by(12, entry, 0).observed(&name(), None);
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
        let observed = Queue::led_by(12, entry, 0).observed(&name(), None);
        assert_eq!(observed.record().unwrap().holder.as_ref().unwrap().incarnation, None);
    }

    #[test]
    fn what_blocks_for_ever_is_named_with_its_cure() {
        let why = unreadable(Entry { lease: 0, key: b"jobs/it's".to_vec(), ..ours(1, 12) });
        assert!(why.ends_with(r"run: etcdctl del 'jobs/it'\''s'"), "{why}");
        for no_argument in [&b"jobs/\0"[..], &[b'x'; 2000], &[0xff; 400]] {
            let why = unreadable(Entry { lease: 0, key: no_argument.to_vec(), ..ours(1, 12) });
            assert!(why.contains("delete it by a program"), "{why}");
        }
        let why = unreadable(Entry { key: b"jobs/sub/1".to_vec(), ..ours(1, 12) });
        assert!(why.contains("rename"), "{why}");
        let value = Some(br#"{"v":2,"nonce":"x"}"#.to_vec());
        assert!(unreadable(Entry { value, ..ours(1, 12) }).contains("version 2"));
    }

    fn change(key: &[u8], created: i64, modified: i64, version: i64) -> Pair<'_> {
        Pair { key, value: b"go", created, modified, version, lease: 42 }
    }

    #[test]
    fn only_the_oldest_is_kept_and_the_others_are_counted() {
        let (first, other) = (ours(1, 12), b"jobs/2b");
        let mut queue = Queue::led_by(12, first.clone(), 0);
        let name = name();
        assert_eq!(queue.apply(&name, &change(other, 13, 13, 1)).unwrap(), Moved::Known);
        assert_eq!((queue.first(), queue.others), (Some(&first), 1));
        let deleted = change(&first.key, 0, 14, 0);
        assert_eq!(queue.clone().apply(&name, &deleted).unwrap(), Moved::Unknown);
        assert_eq!(queue.apply(&name, &change(other, 0, 14, 0)).unwrap(), Moved::Known);
        assert_eq!(queue.apply(&name, &deleted).unwrap(), Moved::Known);
        assert_eq!((queue.first(), queue.others), (None, 0));
        assert_eq!(queue.apply(&name, &change(other, 15, 15, 1)).unwrap(), Moved::Known);
        assert_eq!(queue.first().map(|first| first.created), Some(15));
        let overwritten = change(other, 15, 16, 2);
        queue.apply(&name, &overwritten).unwrap();
        assert_eq!(queue.first().map(|first| first.modified), Some(16));
    }

    #[test]
    fn what_no_store_says_is_no_answer() {
        for (key, created, modified, revision) in [
            (&b"jobs/1"[..], -1, 5, 9),
            (b"jobs/1", 0, 5, 9),
            (b"jobs/1", 6, 5, 9),
            (b"jobs/1", 5, 10, 9),
            (b"jobs/1", i64::MIN, i64::MAX, i64::MAX),
            (b"other/1", 5, 6, 9),
            (b"", 5, 6, 9),
        ] {
            let entry = Entry::of(&name(), &change(key, created, modified, 1), revision);
            assert_eq!(
                entry.unwrap_err().kind(),
                leasehold_core::ErrorKind::Unavailable,
                "{created} {modified}"
            );
        }
    }

    /// A candidate of somebody else's that is too large to be read is waited for like any other.
    #[test]
    fn a_large_value_is_a_candidate_and_no_end() {
        for value in [None, Some(vec![b'x'; LARGEST + 1])] {
            let entry = Entry { value, lease: 42, ..ours(1, 12) };
            let observed = Queue::led_by(12, entry, 2).observed(&name(), None);
            let record = observed.record().unwrap();
            let identity = &record.holder.as_ref().unwrap().identity;
            assert!(identity == "lease 2a" || identity.starts_with("xxx"), "{identity}");
            assert!(identity.len() < 300);
        }
    }

    proptest::proptest! {
        /// Whatever is stored there: no panic, and nothing that moves a cursor in any text that is
        /// made of it.
        #[test]
        fn any_key_and_value_can_be_told(
            tail in proptest::collection::vec(proptest::num::u8::ANY, 0..60),
            value in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            lease: i64,
            created in 1_i64..i64::MAX,
        ) {
            let key = [b"jobs/", tail.as_slice()].concat();
            let pair = Pair { key: &key, value: &value, created, modified: created, version: 1,
                lease };
            let entry = Entry::of(&name(), &pair, created).unwrap();
            let observed = Queue::led_by(created, entry, 0).observed(&name(), None);
            let text = match observed.contents {
                Contents::Unreadable(why) => why,
                Contents::Record(record) => record.holder.unwrap().identity,
                Contents::Absent => panic!("a key is there"),
            };
            let shown = printable(&text).at_most(usize::MAX).to_string();
            proptest::prop_assert_eq!(shown, text);
        }

        /// A record of ours is itself only under the key and the lease that its own Take made.
        #[test]
        fn a_record_is_ours_under_its_own_lease_only(nonce: u128, other: u128) {
            let entry = ours(nonce, 12);
            let theirs = ours(other, 12);
            let is_ours = |entry: Entry| {
                let observed = Queue::led_by(12, entry, 0).observed(&name(), None);
                observed.record().unwrap().holder.as_ref().unwrap().incarnation.is_some()
            };
            proptest::prop_assert!(is_ours(entry.clone()));
            if theirs.lease != entry.lease {
                let swapped = Entry { key: theirs.key, lease: theirs.lease, ..entry };
                proptest::prop_assert!(!is_ours(swapped));
            }
        }
    }
}
