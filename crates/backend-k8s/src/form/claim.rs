//! What an object claims, in client-go's terms, and whether it is one of our records.
//!
//! Everybody reads the claim; what client-go has no field for stands in an annotation. A client
//! that takes over keeps annotations that it does not know, so ours counts only beside the very
//! claim that it repeats.

use std::time::Duration;

use jiff::Timestamp;
use leasehold_core::{Contents, Holder, MAX_TOKEN, Nonce, Record, Token, Wall};
use serde_json::{Map, Value, json};

use super::Form;
use crate::object::{Draft, Object};
use crate::redact::of_json;
use crate::times::{of_wall, to_wall};

/// Where our own data stands.
pub(crate) const ANNOTATION: &str = "leasehold/record";

/// As long as client-go says that a released lock is held: it wants a number above 0.
const RELEASED: i64 = 1;

/// As long as a claim counts that does not say how long: client-go's default. Those that say it
/// wrongly are few, and who made one of them may still believe in it.
const UNSAID: i64 = 15;

/// A claim on a lock, as client-go's record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Empty: nobody.
    pub(crate) holder: String,
    /// Whole seconds.
    pub(crate) duration: Option<i64>,
    pub(crate) acquired: Option<Timestamp>,
    pub(crate) renewed: Option<Timestamp>,
    /// How often it passed to another.
    pub(crate) transitions: Option<i64>,
    /// The bytes that a renewal changes.
    pub(crate) source: Vec<u8>,
}

/// What the annotation holds.
struct Annotated {
    record: Record,
    transitions: i64,
}

/// What an object says of its lock.
pub(crate) fn contents(form: Form, object: &Object) -> Contents {
    match record(form, object) {
        Ok(record) => Contents::Record(record),
        Err(why) => Contents::Unreadable(why),
    }
}

fn record(form: Form, object: &Object) -> Result<Record, String> {
    let claim = form.claim(object)?;
    let annotated = object.annotation(ANNOTATION).map(Annotated::parse).transpose()?;
    match annotated {
        Some(annotated) if annotated.stands_beside(form, &claim) => {
            Ok(annotated.taken_with(&claim))
        }
        annotated => {
            let record = foreign(&claim, annotated.as_ref());
            Ok(Record { acquired: since(&claim, object), ..record })
        }
    }
}

/// Writes a record over what is there, if anything is. `takes` counts one transition.
///
/// # Errors
/// It cannot be told in this form.
pub(crate) fn put(
    form: Form,
    before: Option<&Object>,
    draft: &mut Draft,
    record: &Record,
    takes: bool,
) -> Result<(), String> {
    let transitions = match before {
        Some(object) => counted(form.claim(object)?.transitions, takes),
        None => 0,
    };
    form.put(draft, &claim_of(form, record, transitions)?);
    let record: Value = serde_json::from_slice(&record.to_json()).map_err(|e| e.to_string())?;
    let text = json!({"record": record, "transitions": transitions}).to_string();
    draft.set_annotation(ANNOTATION, text);
    Ok(())
}

/// The number of transitions to write. Before client-go could not tell the next one, and so not
/// take any more, it begins anew: nothing compares it but [`number`], and that only beside the
/// claim that it was written with.
fn counted(before: Option<i64>, takes: bool) -> i64 {
    let before = before.unwrap_or(0).clamp(0, i32::MAX.into());
    let next = before + i64::from(takes);
    if next >= i32::MAX.into() { 0 } else { next }
}

/// A record of ours as client-go reads it.
fn claim_of(form: Form, record: &Record, transitions: i64) -> Result<Claim, String> {
    let time = |wall| of_wall(wall).map(|time| form.precision().cut(time));
    let (holder, duration) = match &record.holder {
        None => (String::new(), RELEASED),
        Some(holder) => (identity(holder)?, seconds(record.lease_duration)?),
    };
    Ok(Claim {
        holder,
        duration: Some(duration),
        acquired: Some(time(record.acquired)?),
        renewed: Some(time(record.renewed)?),
        transitions: Some(transitions),
        source: Vec::new(),
    })
}

/// Two candidates of one identity must differ for client-go, too.
fn identity(holder: &Holder) -> Result<String, String> {
    match holder.incarnation {
        Some(incarnation) => Ok(format!("{}_{incarnation}", holder.identity)),
        None if holder.identity.is_empty() => Err("a holder without a name is nobody".to_owned()),
        None => Ok(holder.identity.clone()),
    }
}

/// Rounded up, so that client-go waits no less than asked.
fn seconds(duration: Duration) -> Result<i64, String> {
    let seconds = duration.as_nanos().div_ceil(1_000_000_000);
    i32::try_from(seconds)
        .map(i64::from)
        .map_err(|_too_many| format!("a lease of {seconds} s is longer than Kubernetes can say"))
}

impl Annotated {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: String| format!("the annotation {ANNOTATION} is not ours: {why}");
        let value: Value = serde_json::from_str(text).map_err(|error| wrong(of_json(&error)))?;
        let record = value.get("record").ok_or_else(|| wrong("it has no record".to_owned()))?;
        let record = Record::from_json(record.to_string().as_bytes()).map_err(wrong)?;
        let transitions = value.get("transitions").and_then(Value::as_i64);
        let transitions = transitions.ok_or_else(|| wrong("it has no transitions".to_owned()))?;
        Ok(Self { record, transitions })
    }

    /// Whether nobody wrote another claim since.
    fn stands_beside(&self, form: Form, claim: &Claim) -> bool {
        // What cannot be a claim was written beside none.
        let Ok(ours) = claim_of(form, &self.record, self.transitions) else { return false };
        (&ours.holder, ours.acquired, ours.renewed, ours.transitions)
            == (&claim.holder, claim.acquired, claim.renewed, claim.transitions)
    }

    /// Somebody may have made the lease longer by hand; nobody makes it shorter.
    fn taken_with(self, claim: &Claim) -> Record {
        let claimed = claim.duration.and_then(|seconds| u64::try_from(seconds).ok());
        let claimed = Duration::from_secs(claimed.unwrap_or(0));
        let lease_duration = self.record.lease_duration.max(claimed);
        Record { lease_duration, ..self.record }
    }
}

/// Since when, for people. Nodes and API servers do not say it, and hold their Leases as long as
/// those are there.
fn since(claim: &Claim, object: &Object) -> Wall {
    let made = object.value()["metadata"]["creationTimestamp"].as_str();
    let since = claim.acquired.or_else(|| made?.parse().ok().filter(|_| claim.renewed.is_some()));
    to_wall(since.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Another client's record.
fn foreign(claim: &Claim, annotated: Option<&Annotated>) -> Record {
    let holder = (!claim.holder.is_empty()).then(|| Holder {
        identity: claim.holder.clone(),
        incarnation: None,
        advertise: None,
    });
    let seconds = match (&holder, claim.duration) {
        (None, duration) => duration.unwrap_or(RELEASED).max(RELEASED),
        (Some(_), Some(seconds @ 1..)) => seconds,
        (Some(_), _) => UNSAID,
    };
    let wall = |time: Option<Timestamp>| to_wall(time.unwrap_or(Timestamp::UNIX_EPOCH));
    Record {
        token: number(claim, annotated),
        holder,
        lease_duration: Duration::from_secs(seconds.unsigned_abs()),
        nonce: Nonce(hash(&claim.source)),
        acquired: wall(claim.acquired),
        renewed: wall(claim.renewed),
        extra: Map::new(),
    }
}

/// The number of a foreign client's record: above every token that the object carried, the same for
/// a claim and its release, and 0 for what is no release.
///
/// Every other client counts a transition when it takes, and none when it releases. So an object
/// without holder that still has the transitions of our own annotation was not released: our claim
/// was erased.
fn number(claim: &Claim, annotated: Option<&Annotated>) -> Token {
    let transitions = claim.transitions.unwrap_or(0).max(0);
    let (before, taken) = match annotated {
        Some(ours) => {
            (ours.record.token, transitions.saturating_sub(ours.transitions.max(0)).max(0))
        }
        None if claim.holder.is_empty() && claim.renewed.is_none() => (0, 0),
        None => (0, transitions.saturating_add(1)),
    };
    let taken = taken.unsigned_abs();
    match (claim.holder.is_empty(), taken) {
        (true, 0) => 0,
        (_, taken) => before.saturating_add(taken.max(1)).min(MAX_TOKEN),
    }
}

/// FNV-1a of 128 bits: tells states of a claim apart, guards nothing.
fn hash(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
