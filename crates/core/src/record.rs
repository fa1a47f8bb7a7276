//! What is stored for a lock, and its JSON form.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::text::printable;
use crate::time::Wall;

/// The fencing token: grows with every term of a lock and never repeats.
///
/// Hand it to the resource with every write and let the resource refuse a smaller one
/// ([`Fence`](crate::Fence)). Tokens are at most 2^63; a larger one in a store is corrupt.
pub type Token = u64;

/// The largest token that a record may carry: 2^63, one more than a signed 64-bit column holds.
/// Leaves room to mint.
pub const MAX_TOKEN: Token = 1 << 63;

/// The longest JSON form that is read, in bytes.
const MAX_RECORD_LENGTH: usize = 1 << 20;

/// The major version of the record's JSON form that this crate writes and understands.
pub const RECORD_VERSION: u64 = 1;

/// What is stored for one lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Who holds the lock; `None` after a release or an adoption.
    pub holder: Option<Holder>,
    /// The token of the term that wrote this record (0 in an adopted record, which is no release).
    /// A foreign client has none: a backend gives for its record, and for its release of the very
    /// same object, one number above every token that the object carried before; then its release
    /// frees the lock at once.
    pub token: Token,
    /// How long after the receipt of a sign of life the lock counts as held.
    pub lease_duration: Duration,
    /// The sign of life: new for every logical write of a holder.
    pub nonce: Nonce,
    /// When the term began, by the holder's wall clock. For people only; 0 if nobody told, see
    /// [`Record::since`].
    pub acquired: Wall,
    /// When the record was written, by the writer's wall clock. For people only.
    pub renewed: Wall,
    /// Fields of a later minor version, carried through every write.
    pub extra: Map<String, Value>,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The chosen name of the candidate. Two candidates may share one; only one of them leads.
    pub identity: String,
    /// Which life of that candidate; `None` for a foreign client that has no such notion.
    pub incarnation: Option<Incarnation>,
    /// Where others reach the holder, if it said so.
    pub advertise: Option<String>,
}

impl Holder {
    /// The holder that an adoption writes where a store may have forgotten the real one.
    #[must_use]
    pub fn unknown() -> Self {
        Self { identity: "unknown".to_owned(), incarnation: Some(Incarnation(0)), advertise: None }
    }

    /// Whether this is the placeholder written by an adoption ([`Holder::unknown`]).
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.incarnation == Some(Incarnation(0))
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:032x})", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
                match u128::from_str_radix(text, 16) {
                    Ok(value) if hex => Ok(Self(value)),
                    _ => Err(format!("{text:?} is not 32 hexadecimal digits")),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random_id! {
    /// 128 random bits of one logical write: the sign of life, and how a writer recognises its own
    /// record.
    Nonce
}
random_id! {
    /// 128 random bits, new for every `Elector`: a restarted process is a stranger to its former
    /// self.
    Incarnation
}

/// The JSON form. Durations and wall times are whole milliseconds.
#[derive(Serialize, Deserialize)]
struct Json {
    v: u64,
    holder: Option<JsonHolder>,
    token: Token,
    lease_duration_ms: u64,
    nonce: Nonce,
    acquired_ms: u64,
    renewed_ms: u64,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct JsonHolder {
    identity: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    incarnation: Option<Incarnation>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    advertise: Option<String>,
}

impl Record {
    /// When the term began, by the holder's wall clock. `None`: a foreign client that does not
    /// tell, nor how long its lease is.
    #[must_use]
    pub fn since(&self) -> Option<Wall> {
        Some(self.acquired).filter(|acquired| *acquired != Wall(0))
    }

    /// The JSON form, one line, ending in a newline.
    ///
    /// A lease duration is rounded **up** to whole milliseconds, so that nobody waits less than
    /// asked.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let json = Json {
            v: RECORD_VERSION,
            holder: self.holder.clone().map(|holder| JsonHolder {
                identity: holder.identity,
                incarnation: holder.incarnation,
                advertise: holder.advertise,
            }),
            token: self.token,
            lease_duration_ms: ceil_ms(self.lease_duration),
            nonce: self.nonce,
            acquired_ms: self.acquired.0,
            renewed_ms: self.renewed.0,
            extra: self.extra.clone(),
        };
        let mut bytes = serde_json::to_vec(&json).expect("a record has only string keys");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// A sentence that says what is wrong. The caller reports the contents as unreadable and never
    /// overwrites them: they may be a later version's, or somebody else's file.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_RECORD_LENGTH {
            return Err(format!("not a record: it has {} bytes, more than 1 MiB", bytes.len()));
        }
        // What serde says may quote what is stored.
        let said = |error: serde_json::Error| {
            let error = error.to_string();
            printable(&error).at_most(200).to_string()
        };
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| format!("not a record in JSON: {}", said(error)))?;
        match value.get("v").map(|version| (version, version.as_u64())) {
            Some((_, Some(RECORD_VERSION))) => {}
            Some((_, Some(other))) => {
                return Err(format!(
                    "record version {other}, and this program understands version \
                     {RECORD_VERSION}: upgrade it"
                ));
            }
            Some((other, None)) => {
                let other = other.to_string();
                let other = printable(&other).at_most(40);
                return Err(format!("not a record: the version (\"v\") is {other}"));
            }
            None => return Err("not a record: the field \"v\" (version) is missing".to_owned()),
        }
        // From the bytes once more: of a field that is given twice, the value above has kept the
        // last.
        let json: Json = serde_json::from_slice(bytes)
            .map_err(|error| format!("not a record: {}", said(error)))?;
        if json.token > MAX_TOKEN {
            return Err(format!("token {} is above 2^63", json.token));
        }
        if json.lease_duration_ms == 0 {
            return Err("lease_duration_ms is 0".to_owned());
        }
        Ok(Self {
            holder: json.holder.map(|holder| Holder {
                identity: holder.identity,
                incarnation: holder.incarnation,
                advertise: holder.advertise,
            }),
            token: json.token,
            lease_duration: Duration::from_millis(json.lease_duration_ms),
            nonce: json.nonce,
            acquired: Wall(json.acquired_ms),
            renewed: Wall(json.renewed_ms),
            extra: json.extra,
        })
    }
}

fn ceil_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            holder: Some(Holder {
                identity: "node-a".into(),
                incarnation: Some(Incarnation(7)),
                advertise: None,
            }),
            token: 42,
            lease_duration: Duration::from_secs(15),
            nonce: Nonce(9),
            acquired: Wall(1),
            renewed: Wall(2),
            extra: Map::new(),
        }
    }

    #[test]
    fn survives_the_round_trip_with_unknown_fields() {
        let mut record = record();
        record.extra.insert("ask".into(), serde_json::json!({"step_down": true}));
        assert_eq!(Record::from_json(&record.to_json()), Ok(record));
    }

    #[test]
    fn rounds_the_duration_up() {
        let mut record = record();
        record.lease_duration = Duration::from_micros(1500);
        let read = Record::from_json(&record.to_json()).unwrap();
        assert_eq!(read.lease_duration, Duration::from_millis(2));
    }

    #[test]
    fn refuses_what_it_cannot_understand() {
        let good = String::from_utf8(record().to_json()).unwrap();
        for (bad, says) in [
            (String::new(), "not a record in JSON"),
            (good[..20].to_owned(), "not a record in JSON"),
            ("[1]".to_owned(), "\"v\""),
            (good.replace("\"v\":1", "\"v\":2"), "version 2"),
            (good.replace("\"token\":42", "\"token\":9223372036854775809"), "2^63"),
            (good.replace("\"token\":42", "\"token\":-1"), "not a record"),
            (good.replace("15000", "0"), "lease_duration_ms is 0"),
            (good.replace(&Nonce(9).to_string(), "9"), "32 hexadecimal"),
        ] {
            let error = Record::from_json(bad.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes: Vec<u8>) {
            let _ = Record::from_json(&bytes);
        }
    }
}
