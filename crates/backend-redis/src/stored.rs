//! What is stored under a lock's key: the record, the reign in which it was written, and a number
//! that makes two writes of one record two versions.

use leasehold_core::{Record, printable};
use serde_json::Value;

const REIGN: &str = "reign";
const SEQ: &str = "seq";

/// A record as it is stored. Versions are compared byte by byte, so these are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    /// The reign in which it was written.
    pub(crate) reign: String,
    /// One above the version that it replaced.
    pub(crate) seq: u64,
}

impl Stored {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut record = self.record.clone();
        record.extra.insert(REIGN.to_owned(), Value::from(self.reign.as_str()));
        record.extra.insert(SEQ.to_owned(), Value::from(self.seq));
        record.to_json()
    }

    /// What these bytes say, or why they are not a record. One that somebody wrote without a reign
    /// is of none that was.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, String> {
        let mut record = Record::from_json(bytes)?;
        let reign = match record.extra.remove(REIGN) {
            Some(Value::String(reign)) => reign,
            None => String::new(),
            Some(other) => return Err(wrong(REIGN, &other)),
        };
        let seq = match record.extra.remove(SEQ) {
            Some(seq) => seq.as_u64().ok_or_else(|| wrong(SEQ, &seq))?,
            None => 0,
        };
        Ok(Self { record, reign, seq })
    }
}

fn wrong(field: &str, value: &Value) -> String {
    format!("not a record: {field:?} is {}", printable(&value.to_string()).at_most(40))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_core::{Holder, Nonce, Wall};

    use super::*;

    fn stored() -> Stored {
        let record = Record {
            holder: Some(Holder::unknown()),
            token: 7,
            lease_duration: Duration::from_secs(15),
            nonce: Nonce(1),
            acquired: Wall(1),
            renewed: Wall(2),
            extra: serde_json::Map::from_iter([("later".to_owned(), Value::from(1))]),
        };
        Stored { record, reign: "ab:cd:3".to_owned(), seq: 1_700_000_000_000_001 }
    }

    #[test]
    fn it_is_read_as_it_was_stored() {
        let bytes = stored().to_bytes();
        assert_eq!(Stored::of(&bytes), Ok(stored()));
        let again = Stored { seq: stored().seq + 1, ..stored() };
        assert_ne!(again.to_bytes(), bytes, "the same record twice is two versions");
    }

    #[test]
    fn what_is_not_ours_is_unreadable_or_of_no_reign() {
        let plain = Stored::of(&stored().record.to_json()).unwrap();
        assert_eq!((plain.reign.as_str(), plain.seq), ("", 0));
        for (field, value) in [(REIGN, Value::from(1)), (SEQ, Value::from("x"))] {
            let mut record = stored().record;
            record.extra.insert(field.to_owned(), value);
            let why = Stored::of(&record.to_json()).unwrap_err();
            assert!(why.contains(field), "{why}");
        }
        assert!(Stored::of(b"hello").is_err());
    }
}
