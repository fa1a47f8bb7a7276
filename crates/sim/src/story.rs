//! A schedule told to people.

use leasehold_core::{Action, Contents, Input, Observed, Outcome, Record, printable};

/// How a node is called in a story.
#[must_use]
pub(crate) fn name(node: usize) -> String {
    match u8::try_from(node) {
        Ok(letter) if letter < 26 => char::from(b'A' + letter).to_string(),
        _ => format!("node {node}"),
    }
}

/// An observation in a line.
#[must_use]
pub(crate) fn observed(observed: &Observed) -> String {
    let contents = match &observed.contents {
        Contents::Absent => "nothing".to_owned(),
        Contents::Record(stored) => record(stored),
        Contents::Unreadable(why) => format!("unreadable ({})", printable(why)),
    };
    format!("{contents} at {:?}, {:?}", observed.version, observed.expiry)
}

/// A request in a line.
#[must_use]
pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::Read => "Read".to_owned(),
        Action::Write { expected, change } => {
            format!("{:?} of {} over {expected:?}", change.intent, record(&change.record))
        }
    }
}

fn record(record: &Record) -> String {
    let holder = record.holder.as_ref().map_or("nobody", |holder| &holder.identity);
    let nonce = record.nonce.0 >> 64 & 0xffff;
    let holder = printable(holder);
    format!("{holder} token {} nonce {nonce:04x} lease {:?}", record.token, record.lease_duration)
}

/// An answer in a line.
#[must_use]
pub(crate) fn answer(input: &Input) -> String {
    match input {
        Input::Read(Ok(seen)) => format!("{} (floor {:?})", observed(seen), seen.token_floor),
        Input::Wrote(Ok(Outcome::Written(seen))) => format!("Written, {}", observed(seen)),
        other => format!("{other:?}"),
    }
}
