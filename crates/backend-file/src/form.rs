//! The form of the files: the record's JSON with one more member, ours, in front.
//!
//! ```json
//! {"leasehold_file":{"layout":1,"lock":"91f…","state":"…","floor":1767225600000},"v":1,"holder":…}
//! ```
//! Everything up to the comma after `lock` never changes while the lock's file exists: the file
//! says by it which lock it is, even while the rest, a copy for people, is being written over.

use leasehold_core::{MAX_TOKEN, Record, Token};
use serde_json::{Map, Value};

use crate::place::{self, State};

/// The name of our member. It goes before the record's own and is not part of [`Record::extra`].
const MEMBER: &str = "leasehold_file";

/// The layout of the files that this crate writes and understands.
const LAYOUT: u64 = 1;

/// What our member says beside the names of lock and state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// The wall clock in ms when the lock's file was created: tokens at or below it may have been
    /// used.
    pub(crate) floor: Token,
    /// Fields of a later minor version, carried through every write.
    pub(crate) extra: Map<String, Value>,
}

/// The bytes by which a file says which lock it is.
pub(crate) fn prefix(lock: u64) -> String {
    format!("{{\"{MEMBER}\":{{\"layout\":{LAYOUT},\"lock\":\"{lock:016x}\",")
}

/// A file's whole contents, ending in a newline.
pub(crate) fn encode(state: State, header: &Header, record: &Record) -> Vec<u8> {
    let mut member = header.extra.clone();
    member.insert("state".to_owned(), Value::String(state.to_string()));
    member.insert("floor".to_owned(), Value::from(header.floor));
    let member = Value::Object(member).to_string();
    let mut record = record.clone();
    record.extra.remove(MEMBER);
    let record = record.to_json();

    let mut bytes = prefix(state.lock).into_bytes();
    bytes.extend_from_slice(&member.as_bytes()[1..]);
    bytes.push(b',');
    bytes.extend_from_slice(&record[1..]);
    bytes
}

/// Which lock the lock's own file is.
///
/// # Errors
/// A sentence that says why this is none that we understand.
pub(crate) fn lock_of(bytes: &[u8]) -> Result<u64, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let shape = prefix(0);
    let at = shape.len() - 18; // the digits, a quote and a comma
    let id = bytes.get(at..at + 16).and_then(|id| std::str::from_utf8(id).ok()).and_then(place::id);
    match id {
        Some(lock) if bytes.starts_with(prefix(lock).as_bytes()) => Ok(lock),
        _ => Err(why_foreign(bytes)),
    }
}

fn why_foreign(bytes: &[u8]) -> String {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return format!("not a lock in JSON: {error}"),
    };
    let layout = value.get(MEMBER).and_then(|member| member.get("layout")).and_then(Value::as_u64);
    match (layout, value.get("v").and_then(Value::as_u64)) {
        (Some(other), _) if other != LAYOUT => {
            format!("layout {other}, and this program understands layout {LAYOUT}: upgrade it")
        }
        (_, Some(other)) if other != leasehold_core::RECORD_VERSION => format!(
            "record version {other}, and this program understands version {}: upgrade it",
            leasehold_core::RECORD_VERSION
        ),
        _ => format!(
            "not a lock: it does not begin with the member \"{MEMBER}\" as this program writes it"
        ),
    }
}

/// The state whose copy the lock's own file shows: only a hint, and `None` while it is being
/// written over.
pub(crate) fn hint(bytes: &[u8]) -> Option<State> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value.get(MEMBER)?.get("state")?.as_str()?.parse().ok()
}

/// Reads a record file.
///
/// # Errors
/// A sentence that says what is wrong. The file is never overwritten.
pub(crate) fn decode(bytes: &[u8], state: State) -> Result<(Header, Record), String> {
    let lock = lock_of(bytes)?;
    let mut record = Record::from_json(bytes)?;
    let Some(Value::Object(mut member)) = record.extra.remove(MEMBER) else {
        return Err(format!("not a lock: the member \"{MEMBER}\" is not an object"));
    };
    let named = member.remove("state");
    if lock != state.lock || named.as_ref().and_then(Value::as_str) != Some(&*state.to_string()) {
        return Err("the contents are those of another state".to_owned());
    }
    let floor = member.remove("floor").and_then(|floor| floor.as_u64());
    let Some(floor) = floor.filter(|floor| *floor <= MAX_TOKEN) else {
        return Err(format!("\"floor\" in \"{MEMBER}\" is not a token"));
    };
    member.remove("layout");
    member.remove("lock");
    Ok((Header { floor, extra: member }, record))
}

/// What to write over the lock's own file after its prefix, so that nothing of a longer copy stays
/// behind.
pub(crate) fn copy(contents: &[u8], old_length: usize) -> Vec<u8> {
    let mut rest = contents[prefix(0).len()..contents.len() - 1].to_vec();
    rest.resize(rest.len().max(old_length.saturating_sub(prefix(0).len() + 1)), b' ');
    rest.push(b'\n');
    rest
}

#[cfg(test)]
pub(crate) mod tests {
    use leasehold_core::{Holder, Incarnation, Nonce, Wall};
    use std::time::Duration;

    use super::*;

    pub(crate) fn record(token: Token) -> Record {
        Record {
            holder: Some(Holder {
                identity: "node-a".into(),
                incarnation: Some(Incarnation(7)),
                advertise: None,
            }),
            token,
            lease_duration: Duration::from_secs(15),
            nonce: Nonce(u128::from(token)),
            acquired: Wall(1),
            renewed: Wall(2),
            extra: Map::new(),
        }
    }

    const STATE: State = State { lock: 0xabc, generation: 12, id: 5 };

    #[test]
    fn survives_the_round_trip_with_unknown_fields_of_both() {
        let mut record = record(3);
        record.extra.insert("ask".into(), serde_json::json!({"step_down": true}));
        let mut header = Header { floor: 99, extra: Map::new() };
        header.extra.insert("zone".into(), serde_json::json!([1]));
        let bytes = encode(STATE, &header, &record);
        assert_eq!(lock_of(&bytes), Ok(0xabc));
        assert_eq!(hint(&bytes), Some(STATE));
        assert_eq!(decode(&bytes, STATE), Ok((header, record)));
        assert!(bytes.ends_with(b"}\n"));
    }

    #[test]
    fn refuses_what_it_cannot_understand() {
        let good = String::from_utf8(encode(STATE, &Header::default(), &record(1))).unwrap();
        for (bad, says) in [
            (String::new(), "is empty"),
            ("\0\0\0\0".to_owned(), "not a lock in JSON"),
            (good[..30].to_owned(), "not a lock in JSON"),
            (good[..90].to_owned(), "not a record in JSON"),
            (good.replace("\"layout\":1", "\"layout\":2"), "layout 2"),
            (good.replace("\"v\":1", "\"v\":2"), "version 2"),
            ("{\"v\":2}".to_owned(), "version 2"),
            ("{\"v\":1}".to_owned(), "does not begin"),
            (good.replace(".12.", ".13."), "another state"),
            (good.replace("\"floor\":0", "\"floor\":-1"), "not a token"),
        ] {
            let error = decode(bad.as_bytes(), STATE).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn a_shorter_copy_covers_a_longer_one() {
        let long = encode(STATE, &Header::default(), &record(u64::MAX >> 1));
        let short = encode(STATE, &Header::default(), &record(1));
        let mut file = long.clone();
        let copy = copy(&short, file.len());
        file.splice(prefix(0).len().., copy);
        assert_eq!(file.len(), long.len());
        assert_eq!(decode(&file, STATE).unwrap().1, record(1));
    }

    proptest::proptest! {
        /// Whatever is in the files: a sentence, or a record that is written again as it was read.
        #[test]
        fn any_contents_are_refused_or_kept(
            bytes: Vec<u8>,
            cut: u16,
            at: u16,
            byte: u8,
            token in 0..MAX_TOKEN,
        ) {
            let mut good = encode(STATE, &Header::default(), &record(token));
            let place = usize::from(at) % good.len();
            good[place] = byte;
            let long = [&good[..], &bytes].concat();
            for contents in [&bytes[..], &good, &good[..usize::from(cut) % good.len()], &long] {
                let (_, _) = (lock_of(contents), hint(contents));
                match decode(contents, STATE) {
                    Ok((header, record)) => {
                        let again = encode(STATE, &header, &record);
                        proptest::prop_assert_eq!(decode(&again, STATE), Ok((header, record)));
                    }
                    Err(why) => proptest::prop_assert!(!why.is_empty()),
                }
            }
        }

        /// A copy over an older one, of whatever length, never changes which lock it is, and hides
        /// what was there.
        #[test]
        fn a_copy_over_any_length_is_whole(token in 0..MAX_TOKEN, length in 0_usize..4000) {
            let contents = encode(STATE, &Header::default(), &record(token));
            let old = length.max(prefix(0).len());
            let mut file = vec![b'x'; old];
            file[..prefix(0).len()].copy_from_slice(prefix(STATE.lock).as_bytes());
            let copy = copy(&contents, old);
            file.truncate(prefix(0).len());
            file.extend_from_slice(&copy);
            proptest::prop_assert!(file.len() >= old);
            proptest::prop_assert_eq!(decode(&file, STATE).unwrap().1, record(token));
        }
    }
}
