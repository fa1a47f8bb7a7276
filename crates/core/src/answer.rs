//! The check of a store's answers against its own promises.
//!
//! A backend that breaks them is a defect of its author, and must not become a second leader, a
//! term with the token 0 or a busy loop. Whatever contradicts itself is an error, so that the
//! election goes by the next read.

use crate::backend::{Capabilities, Change, Expiry, Intent, LeaseClock, Observed, Version};
use crate::error::{Error, ErrorKind};
use crate::record::{Holder, Incarnation, Record};

const CURE: &str = "this is a defect of the backend: correct it by the documentation of its trait";

impl Capabilities {
    /// Checks that a state fits what the store promises about its leases.
    ///
    /// # Errors
    /// `Invalid`: the [`Expiry`] is one that these capabilities rule out.
    pub fn check_read(&self, observed: &Observed) -> Result<(), Error> {
        self.fits(observed).map_err(|why| broken("read the lock", why))
    }

    /// Checks that an acknowledged write shows what it wrote.
    ///
    /// The holder is compared by its incarnation only, since a store may keep less of the rest. A
    /// store that ends leases itself may keep an old nonce and version on a renewal, mints the
    /// token of a Take, and has nothing left after a release.
    ///
    /// # Errors
    /// `Invalid`: the state that came with the acknowledgement is not the result of this write.
    pub fn check_written(
        &self,
        expected: &Version,
        change: &Change,
        stored: &Observed,
    ) -> Result<(), Error> {
        self.fits(stored)
            .and_then(|()| self.shows(expected, change, stored))
            .map_err(|why| broken(change.intent.operation(), why))
    }

    fn fits(&self, observed: &Observed) -> Result<(), &'static str> {
        match (observed.expiry, self.lease_clock) {
            (Expiry::ByServer, LeaseClock::Observers) => {
                Err("a state that the store's clock ends, of a store whose candidates count leases")
            }
            (Expiry::ByObserver | Expiry::Passed, LeaseClock::Store) => {
                Err("a state whose lease candidates must count, of a store that ends leases itself")
            }
            (Expiry::Passed, _) if !self.sees_deaths => {
                Err("a holder that is known to be dead, of a store that does not see deaths")
            }
            (Expiry::Suspended, _) if !self.forgets => {
                Err("a state that it cannot vouch for, of a store that does not forget")
            }
            _ => Ok(()),
        }
    }

    fn shows(
        &self,
        expected: &Version,
        change: &Change,
        stored: &Observed,
    ) -> Result<(), &'static str> {
        let mints = self.ends_leases();
        match (change.intent, stored.record()) {
            (Intent::Release | Intent::Revoke, _) if mints => return Ok(()),
            (_, None) => return Err("as written a state without a record"),
            (_, Some(record)) if holder(record) != holder(&change.record) => {
                return Err("as written a record with another holder");
            }
            (_, Some(record)) if !mints && record.token != change.record.token => {
                return Err("as written a record with another token");
            }
            (_, Some(record)) if record.holder.is_some() && record.token == 0 && mints => {
                return Err("as written a record without a token");
            }
            (_, Some(_)) => {}
        }
        if stored.version.is_absent() || (!mints && stored.version == *expected) {
            return Err("as written a state with the version that the write replaced");
        }
        Ok(())
    }
}

fn holder(record: &Record) -> Option<Option<Incarnation>> {
    let incarnation = |holder: &Holder| holder.incarnation;
    record.holder.as_ref().map(incarnation)
}

fn broken(operation: &'static str, shows: &str) -> Error {
    let why = format!("the backend contradicts its own promises: it shows {shows}");
    Error::new(ErrorKind::Invalid, operation, why).with_cure(CURE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Map;

    use super::*;
    use crate::backend::Contents;
    use crate::record::Nonce;
    use crate::time::Wall;

    fn store(lease_clock: LeaseClock) -> Capabilities {
        Capabilities { lease_clock, ..Capabilities::default() }
    }

    fn record(incarnation: Option<u128>, token: u64) -> Record {
        let holder = |incarnation| Holder {
            identity: "a".to_owned(),
            incarnation: Some(Incarnation(incarnation)),
            advertise: None,
        };
        Record {
            holder: incarnation.map(holder),
            token,
            lease_duration: Duration::from_secs(15),
            nonce: Nonce(1),
            acquired: Wall(0),
            renewed: Wall(0),
            extra: Map::new(),
        }
    }

    fn state(expiry: Expiry, version: u64, record: Option<Record>) -> Observed {
        let (version, contents) = match record {
            None => (Version::absent(), Contents::Absent),
            Some(record) => (Version::number(version), Contents::Record(record)),
        };
        Observed { version, contents, expiry, token_floor: None }
    }

    #[test]
    fn a_state_that_the_capabilities_rule_out_is_an_error() {
        let states = [Expiry::ByObserver, Expiry::ByServer, Expiry::Passed, Expiry::Suspended];
        let counted = store(LeaseClock::Observers);
        for (capabilities, fits) in [
            (counted.clone(), [true, false, false, false]),
            (Capabilities { sees_deaths: true, ..counted.clone() }, [true, false, true, false]),
            (Capabilities { forgets: true, ..counted }, [true, false, false, true]),
            (store(LeaseClock::Store), [false, true, false, false]),
        ] {
            let found = states.map(|expiry| capabilities.check_read(&state(expiry, 1, None)));
            assert_eq!(found.map(|found| found.is_ok()), fits, "{capabilities:?}");
        }
    }

    #[test]
    fn an_acknowledgement_shows_what_was_written() {
        let counted = store(LeaseClock::Observers);
        let take = Change { intent: Intent::Take, record: record(Some(7), 3) };
        let expected = Version::number(1);
        let answer = |version, record| {
            let stored = state(Expiry::ByObserver, version, record);
            counted.check_written(&expected, &take, &stored).map_err(|error| error.to_string())
        };
        assert_eq!(answer(2, Some(record(Some(7), 3))), Ok(()));
        for (version, shown, says) in [
            (2, None, "without a record"),
            (1, Some(record(None, 0)), "another holder"),
            (2, Some(record(Some(8), 3)), "another holder"),
            (2, Some(record(Some(7), 2)), "another token"),
            (1, Some(record(Some(7), 3)), "the version that the write replaced"),
        ] {
            let error = answer(version, shown).unwrap_err();
            assert!(error.contains(says) && error.contains("take the lock"), "{error}");
        }
    }

    #[test]
    fn a_store_that_ends_leases_mints_tokens_and_keeps_nothing_of_a_release() {
        let served = store(LeaseClock::Store);
        let version = Version::number(1);
        let answer = |intent, expected: &Version, shown| {
            let change = Change { intent, record: record(Some(7), 0) };
            served.check_written(expected, &change, &state(Expiry::ByServer, 1, shown)).is_ok()
        };
        assert!(answer(Intent::Take, &Version::absent(), Some(record(Some(7), 9))));
        assert!(!answer(Intent::Take, &Version::absent(), Some(record(Some(7), 0))));
        assert!(!answer(Intent::Take, &Version::absent(), None));
        assert!(answer(Intent::Renew, &version, Some(record(Some(7), 9))), "nothing is stored");
        assert!(answer(Intent::Release, &version, None) && answer(Intent::Revoke, &version, None));
    }
}
