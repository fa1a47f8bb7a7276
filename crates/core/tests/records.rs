//! Records that others wrote: whatever the bytes are, they are a record or a sentence, and what is
//! one comes back whole.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::time::Duration;

use leasehold_core::{Holder, Incarnation, Nonce, Record, Wall, is_hidden};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Inputs that were found, and their kin: `good-…` are records, `bad-…` are none.
#[test]
fn the_corpus_is_read_as_its_names_say() {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/records");
    let mut count = 0;
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let read = Record::from_json(&fs::read(&path).unwrap());
        match &read {
            Ok(record) => assert_eq!(Record::from_json(&record.to_json()).as_ref(), Ok(record)),
            Err(why) => assert!(is_sentence(why), "{name}: {why:?}"),
        }
        assert_eq!(read.is_ok(), name.starts_with("good-") || name == "good", "{name}: {read:?}");
        count += 1;
    }
    assert!(count > 30, "the corpus is there");
}

/// Short, and nothing of the stored bytes in it that moves a cursor or hides.
fn is_sentence(why: &str) -> bool {
    !why.is_empty() && why.chars().count() < 300 && !why.contains(is_hidden)
}

#[test]
fn a_record_has_a_greatest_length() {
    let mut long = b"{\"v\":1,\"x\":\"".to_vec();
    long.resize(10 << 20, b'x');
    let why = Record::from_json(&long).unwrap_err();
    assert!(why.contains("more than 1 MiB"), "{why}");
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::from(0)),
        Just(Value::from(1_u64 << 63)),
        Just(Value::from(u64::MAX)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        any::<String>().prop_map(Value::from),
        Just(Value::from("00000000000000000000000000000007")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Whole numbers and text come back as they were; a fraction may be another one by its last digit.
fn kept(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(values) => values.iter().all(kept),
        Value::Object(values) => values.values().all(kept),
        _ => true,
    }
}

const FIELDS: [&str; 10] = [
    "v",
    "holder",
    "token",
    "lease_duration_ms",
    "nonce",
    "acquired_ms",
    "renewed_ms",
    "identity",
    "incarnation",
    "advertise",
];

prop_compose! {
    fn record()(
        holder in prop::option::of((
            any::<String>(),
            prop::option::of(any::<u128>()),
            prop::option::of(any::<String>()),
        )),
        token in 0..=1_u64 << 63,
        lease in 1..=u64::MAX,
        nonce: u128, acquired: u64, renewed: u64,
        extra in prop::collection::hash_map(
            "[a-z]{1,9}_later",
            value().prop_filter("kept", kept),
            0..4,
        ),
    ) -> Record {
        Record {
            holder: holder.map(|(identity, incarnation, advertise)| Holder {
                identity, incarnation: incarnation.map(Incarnation), advertise,
            }),
            token,
            lease_duration: Duration::from_millis(lease),
            nonce: Nonce(nonce),
            acquired: Wall(acquired),
            renewed: Wall(renewed),
            extra: extra.into_iter().collect::<Map<_, _>>(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(record in record()) {
        prop_assert_eq!(Record::from_json(&record.to_json()), Ok(record));
    }

    #[test]
    fn bytes_are_a_record_or_a_sentence(bytes: Vec<u8>) {
        if let Err(why) = Record::from_json(&bytes) {
            prop_assert!(is_sentence(&why), "{why:?}");
        }
    }

    #[test]
    fn any_text_in_place_of_a_field_is_a_record_or_a_sentence(
        record in record(),
        field in prop::sample::select(&FIELDS[..]),
        value in value(),
        inside: bool,
    ) {
        let mut object: Value = serde_json::from_slice(&record.to_json()).unwrap();
        let inside = inside && object["holder"].is_object();
        let place = if inside { &mut object["holder"] } else { &mut object };
        place[field] = value;
        match Record::from_json(&serde_json::to_vec(&object).unwrap()) {
            Ok(read) => {
                let again = Record::from_json(&read.to_json()).unwrap();
                prop_assert_eq!(
                    (again.holder, again.token, again.nonce),
                    (read.holder, read.token, read.nonce)
                );
            }
            Err(why) => prop_assert!(is_sentence(&why), "{why:?}"),
        }
    }

    #[test]
    fn a_byte_changed_or_cut_is_a_record_or_a_sentence(
        record in record(), at: prop::sample::Index, byte: u8, cut: bool
    ) {
        let mut bytes = record.to_json();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Err(why) = Record::from_json(&bytes) {
            prop_assert!(is_sentence(&why), "{why:?}");
        }
    }
}
