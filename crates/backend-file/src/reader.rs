//! What a lock shows: its record, and whether the process of its holder is gone.

use std::sync::Arc;

use leasehold_backend::{Failure, TokenFloor};
use leasehold_core::{
    Clock, Contents, Error, Expiry, Incarnation, Observed, Record, Token, Version,
};

use crate::alive;
use crate::disk::Directory;
use crate::failure;
use crate::place::{Place, State};
use crate::store::{Seen, Store};
use crate::workers::Gate;

/// A lock, and the way to it. A watch has a reader of its own, which keeps nothing of its backend
/// alive.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) place: Place,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) token_floor: Option<TokenFloor>,
    pub(crate) gate: Gate,
}

impl Reader {
    pub(crate) async fn read(&self, operation: &'static str) -> Result<Observed, Error> {
        let (place, least) = (self.place.clone(), self.least_floor());
        self.gate.blocking(operation, move || observe(&place, least)).await
    }

    pub(crate) fn least_floor(&self) -> Option<Token> {
        self.token_floor.map(TokenFloor::token)
    }
}

/// Reads the lock; `least` is a floor to report at least.
pub(crate) fn observe(place: &Place, least: Option<Token>) -> Result<Observed, Failure> {
    let directory = open(place)?;
    let seen = Store { place, disk: &directory }.read()?;
    let (version, contents, expiry, floor) = match seen {
        Seen::Absent => (Version::absent(), Contents::Absent, Expiry::ByObserver, None),
        Seen::Present(state, header, record) => {
            let gone = incarnation_of(&record)
                .is_some_and(|incarnation| alive::is_free(&directory, &place.alive(incarnation)));
            let expiry = if gone { Expiry::Passed } else { Expiry::ByObserver };
            (version(state), Contents::Record(record), expiry, Some(header.floor))
        }
        Seen::Unreadable(why, bytes) => {
            (unreadable(&bytes), Contents::Unreadable(why), Expiry::ByObserver, None)
        }
    };
    Ok(Observed { version, contents, expiry, token_floor: floor.max(least) })
}

pub(crate) fn open(place: &Place) -> Result<Directory, Failure> {
    Directory::open(&place.directory).map_err(|errno| failure::io("open", &place.directory, errno))
}

/// The process behind a record, if it is one that has a liveness file.
pub(crate) fn incarnation_of(record: &Record) -> Option<Incarnation> {
    let holder = record.holder.as_ref().filter(|holder| !holder.is_unknown())?;
    holder.incarnation
}

pub(crate) fn version(state: State) -> Version {
    Version::bytes(state.to_string().as_bytes())
}

/// Names what cannot be read by what is there. Not a state's name, since it does not parse as one.
pub(crate) fn unreadable(bytes: &[u8]) -> Version {
    let head = &bytes[..bytes.len().min(4096)];
    Version::bytes(&[b"unreadable ".as_slice(), head].concat())
}
