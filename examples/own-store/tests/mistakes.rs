//! Ten mistakes of authors, and the case of the suite that catches each. In memory and in virtual
//! time, so that it takes seconds.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex};

use leasehold::Error;
use leasehold::backend::{
    Capabilities, Change, Contents, Expiry, Intent, LockBackend, Observed, Outcome, Record,
    Version, async_trait,
};
use leasehold::timing::Clock;
use leasehold_conformance::options::Options;
use leasehold_conformance::own;
use leasehold_conformance::stores::Target;
use leasehold_conformance::stores::parts::{Administrator, Bytes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    TwoSteps,
    VersionOfContent,
    VersionsBeginAnew,
    StaleRead,
    BlindRenewal,
    OwnBytesAreWritten,
    NamesFoldedToOne,
    UnreadableIsAbsent,
    FieldsDropped,
    ReleaseDeletes,
}

/// The page `docs/OWN-STORE.md` has the same list.
const CAUGHT_BY: [(Mistake, &str); 10] = [
    (Mistake::TwoSteps, "Q1"),
    (Mistake::BlindRenewal, "Q2"),
    (Mistake::VersionOfContent, "Q3"),
    (Mistake::StaleRead, "Q4"),
    (Mistake::VersionsBeginAnew, "Q5"),
    (Mistake::NamesFoldedToOne, "BA5"),
    (Mistake::ReleaseDeletes, "FE1"),
    (Mistake::UnreadableIsAbsent, "IN1"),
    (Mistake::OwnBytesAreWritten, "LA3"),
    (Mistake::FieldsDropped, "UP1"),
];

/// What is stored for one lock.
#[derive(Debug, Default)]
struct Row {
    json: Option<Vec<u8>>,
    /// Counts the changes, also over deletions.
    changes: u64,
    before: Option<Observed>,
}

#[derive(Debug)]
struct Lock {
    row: Arc<Mutex<Row>>,
    mistake: Mistake,
}

impl Lock {
    fn observed(&self, row: &Row) -> Observed {
        let contents = match &row.json {
            None => Contents::Absent,
            Some(json) => match Record::from_json(json) {
                Ok(record) => Contents::Record(record),
                Err(_) if self.mistake == Mistake::UnreadableIsAbsent => Contents::Absent,
                Err(why) => Contents::Unreadable(why),
            },
        };
        let version = match &row.json {
            None => Version::absent(),
            Some(json) if self.mistake == Mistake::VersionOfContent => {
                Version::number(BuildHasherDefault::<DefaultHasher>::default().hash_one(json))
            }
            Some(_) => Version::number(row.changes),
        };
        Observed { version, contents, expiry: Expiry::ByObserver, token_floor: None }
    }

    fn may(&self, row: &Row, expected: &Version, change: &Change) -> bool {
        let is_blind = self.mistake == Mistake::BlindRenewal && change.intent == Intent::Renew;
        is_blind || self.observed(row).version == *expected
    }

    fn store(&self, row: &mut Row, change: &Change) {
        row.before = Some(self.observed(row));
        let mut record = change.record.clone();
        if self.mistake == Mistake::FieldsDropped {
            record.extra.clear();
        }
        let deletes = change.intent == Intent::Release && self.mistake == Mistake::ReleaseDeletes;
        row.json = (!deletes).then(|| record.to_json());
        row.changes += 1;
    }
}

#[async_trait]
impl LockBackend for Lock {
    fn name(&self) -> &str {
        "row"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn read(&self) -> Result<Observed, Error> {
        let row = self.row.lock().unwrap();
        match &row.before {
            Some(before) if self.mistake == Mistake::StaleRead => Ok(before.clone()),
            _ => Ok(self.observed(&row)),
        }
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let held = self.may(&self.row.lock().unwrap(), expected, change);
        if self.mistake == Mistake::TwoSteps {
            tokio::task::yield_now().await;
        }
        let mut row = self.row.lock().unwrap();
        let is_stored = row.json.as_ref() == Some(&change.record.to_json());
        if self.mistake == Mistake::OwnBytesAreWritten && is_stored {
            return Ok(Outcome::Written(self.observed(&row)));
        }
        // Looked at again under the same guard as the write, unless that is the mistake.
        let holds = match self.mistake {
            Mistake::TwoSteps => held,
            _ => self.may(&row, expected, change),
        };
        if !holds {
            return Ok(Outcome::Conflict);
        }
        self.store(&mut row, change);
        Ok(Outcome::Written(self.observed(&row)))
    }
}

#[derive(Debug)]
struct Rows {
    rows: Mutex<HashMap<String, Arc<Mutex<Row>>>>,
    mistake: Mistake,
}

impl Rows {
    fn row(&self, lock: &str) -> Arc<Mutex<Row>> {
        let name = match self.mistake {
            Mistake::NamesFoldedToOne => lock.replace("%20", " "),
            _ => lock.to_owned(),
        };
        self.rows.lock().unwrap().entry(name).or_default().clone()
    }
}

#[async_trait]
impl Target for Rows {
    fn backend(&self) -> &str {
        "rows"
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        Ok(Arc::new(Lock { row: self.row(lock), mistake: self.mistake }))
    }

    fn virtual_time(&self) -> bool {
        true
    }

    fn admin(&self) -> Option<&dyn Administrator> {
        Some(self)
    }

    fn bytes(&self) -> Option<&dyn Bytes> {
        Some(self)
    }
}

#[async_trait]
impl Administrator for Rows {
    async fn delete(&self, lock: &str) -> Result<(), String> {
        let row = self.row(lock);
        let mut row = row.lock().unwrap();
        row.json = None;
        if self.mistake == Mistake::VersionsBeginAnew {
            row.changes = 0;
        }
        Ok(())
    }
}

#[async_trait]
impl Bytes for Rows {
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        let row = self.row(lock);
        let mut row = row.lock().unwrap();
        row.json = Some(bytes.to_vec());
        row.changes += 1;
        Ok(())
    }

    async fn show(&self, lock: &str) -> Result<String, String> {
        let row = self.row(lock);
        let json = row.lock().unwrap().json.clone().ok_or("nothing is stored")?;
        Ok(String::from_utf8_lossy(&json).into_owned())
    }
}

fn faults(mistake: Mistake, case: &str) -> Vec<String> {
    let options = Options { filter: Some(case.to_owned()), ..Options::default() };
    let target = Rows { rows: Mutex::default(), mistake };
    own::run_target(Arc::new(target), &options, |_| {}).expect("it ran").report.faults()
}

#[test]
fn each_is_caught() {
    for (mistake, case) in CAUGHT_BY {
        assert_eq!(faults(Mistake::None, case), Vec::<String>::new(), "{case} holds without it");
        let faults = faults(mistake, case);
        println!("{mistake:?}: {faults:?}");
        assert!(faults.len() == 1 && faults[0].starts_with(case), "{mistake:?} survives {case}");
    }
}
