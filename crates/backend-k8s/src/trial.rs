//! Whether a candidate could take a lock, tried without writing: the API server goes through a dry
//! run as through a write, rights, policies and webhooks included, and stores nothing.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::PostParams;
use leasehold_backend::random_nonce;
use leasehold_core::{Contents, Holder, Observed, Record, Timing, TimingSettings, Wall};
use serde_json::Value;
use tokio::time::Instant;

use crate::failure::{Failure, Reason};
use crate::form::{self, claim};
use crate::object::Object;
use crate::reader::{Reader, TIMING};

/// How often a lock is read again that changed meanwhile.
const TRIES: u32 = 3;

/// See [`leasehold_core::LockBackend::may_take`].
pub(crate) async fn may_take(reader: &Reader, candidate: &Holder) -> Result<(), Failure> {
    reader.trial(candidate).await.map(|_took| ())
}

impl Reader {
    /// The same, with the time that the trial took, if it told anything.
    pub(crate) async fn trial(&self, candidate: &Holder) -> Result<Option<Duration>, Failure> {
        for _ in 0..TRIES {
            let seen = self.read().await?;
            let object = seen.version.cargo::<Object>();
            if let Some(why) = object.and_then(|object| self.form.is_closed(object)) {
                return Err(Failure::denied(why).with_cure(form::CLOSED));
            }
            if matches!(seen.contents, Contents::Unreadable(_)) {
                return Ok(None);
            }
            let began = Instant::now();
            match self.try_on(&seen, object, candidate).await {
                Ok(_) => return Ok(Some(began.elapsed())),
                // Its holder renewed; who may not write is told so in any case.
                Err(failure) if failure.reason == Reason::Conflict => {}
                Err(failure) if failure.text().contains("not support dry run") => return Ok(None),
                Err(failure) if failure.reason == Reason::Refused => {
                    return self.refused(object, failure).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    /// Tries what this candidate would write.
    async fn try_on(
        &self,
        seen: &Observed,
        object: Option<&Object>,
        candidate: &Holder,
    ) -> Result<Value, Failure> {
        let holder = object.map(|_| candidate.clone());
        let now = Wall(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0));
        let timing = TimingSettings::default().or(&TIMING).build();
        let record = Record {
            token: seen.record().filter(|_| holder.is_some()).map_or(0, |record| record.token),
            holder,
            lease_duration: timing
                .map_or(Duration::from_secs(15), |it: Timing| it.lease_duration()),
            nonce: random_nonce()?,
            acquired: now,
            renewed: now,
            extra: serde_json::Map::new(),
        };
        let mut draft = object.map_or_else(|| self.form.draft(&self.place), Object::draft);
        claim::put(self.form, object, &mut draft, &record, object.is_some())
            .map_err(Failure::invalid)?;
        let bytes = draft.into_bytes();
        match object {
            Some(_) => self.put(bytes, &dry()).await,
            None => self.make(bytes, &dry()).await,
        }
    }

    /// A policy may judge by more than a trial can show, such as who leads just now. One that
    /// refuses the object as it is refuses every write.
    async fn refused(
        &self,
        object: Option<&Object>,
        failure: Failure,
    ) -> Result<Option<Duration>, Failure> {
        let Some(object) = object else { return Err(failure) };
        match self.put(object.draft().into_bytes(), &dry()).await {
            Err(unchanged) if unchanged.reason == Reason::Refused => Err(failure),
            _ => Ok(None),
        }
    }
}

fn dry() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}
