//! What an examination of a lock and its servers finds.

mod replicas;
mod rights;
mod sentinels;
mod server;
mod versions;

use std::sync::Arc;

use async_trait::async_trait;
use leasehold_backend::doctor::{COMPARE_AND_SWAP, reads, scratch_name};
use leasehold_backend::{Diagnose, Finding, Race, race};
use leasehold_core::{Error, ErrorKind, LockBackend, Timing};

use crate::failure::{Failure, Reason};
use crate::lock::RedisLock;
use crate::name::LockName;
use crate::reader::Reader;
use crate::reader::way::Way;

const EXAMINE: &str = "examine the store";

/// How often two candidates race.
const ROUNDS: u64 = 5;

#[async_trait]
impl Diagnose for RedisLock {
    async fn diagnose(&self, timing: &Timing) -> Vec<Finding> {
        let observed = match self.read().await {
            Ok(observed) => observed,
            Err(error) => return vec![Finding::of_error("server", &error)],
        };
        let reader = self.reader();
        let mut findings = match reader.server().await {
            Ok(findings) => findings,
            Err(failure) => return vec![Finding::of_error("server", &failure.during(EXAMINE))],
        };
        findings.extend(reader.replication(timing).await);
        findings.push(Finding::of_lock(&observed));
        findings.push(reads(self, "a read", timing).await);
        findings.extend(Box::pin(self.raced(timing)).await);
        findings
    }
}

impl RedisLock {
    /// Two candidates race for a scratch lock beside this one, each over connections of its own. A
    /// candidate need not be allowed to.
    async fn raced(&self, timing: &Timing) -> Vec<Finding> {
        let (one, other) = match self.scratch() {
            Ok(scratch) => scratch,
            Err(error) => return vec![Finding::of_error(COMPARE_AND_SWAP, &error)],
        };
        match one.remove().await {
            Ok(()) => {}
            Err(failure) if failure.reason == Reason::NotPermitted => {
                let key = leasehold_core::printable(self.reader().name.key()).to_string();
                let cure = format!(
                    "run this once as a user who may: ACL SETUSER NAME '~{key}.leasehold-doctor-*' \
                     +del, next to the rights of a candidate"
                );
                return vec![Race::not_permitted("write beside the lock", cure)];
            }
            Err(failure) => {
                return vec![Finding::of_error(COMPARE_AND_SWAP, &failure.during(EXAMINE))];
            }
        }
        let raced = race(&[&one, &other], ROUNDS).await;
        let removed = one.remove().await;
        let mut findings = told(&raced, timing);
        if let Err(failure) = removed {
            let text = failure.during("remove the scratch lock").to_string();
            let cure = format!("delete the key {}", one.reader().name.key());
            findings.push(Finding::warning(COMPARE_AND_SWAP, text, cure));
        }
        findings
    }

    /// One lock that nobody else has, over two ways.
    fn scratch(&self) -> Result<(Self, Self), Error> {
        let reader = self.reader();
        let name = scratch_name("leasehold-doctor").map_err(|failure| failure.during(EXAMINE))?;
        let name = LockName::parse(&format!("{}.{name}", reader.name));
        let name = name.map_err(|(why, _)| Error::new(ErrorKind::Invalid, EXAMINE, why))?;
        let lock = |way: Arc<Way>| {
            let reader =
                Reader { name: name.clone(), way, route: Arc::default(), ..reader.clone() };
            Self::new("scratch".to_owned(), reader)
        };
        Ok((lock(reader.way.clone()), lock(Arc::new(reader.way.apart()))))
    }
}

fn told(raced: &Result<Race, Error>, timing: &Timing) -> Vec<Finding> {
    let done = match raced {
        Ok(done) => done,
        Err(error) => return vec![Finding::of_error(COMPARE_AND_SWAP, error)],
    };
    let crash = timing.bounds().crash;
    vec![
        done.finding("a scratch lock beside this one"),
        Finding::of_latency("a write", &done.releases, timing),
        done.fail_over(&format!(
            "a crash frees the lock {crash:?} after the last renewal at most, and later if the \
             server, too, restarts or fails over meanwhile"
        )),
    ]
}

/// A step of the examination that this user may not do.
fn not_seen(subject: &'static str, what: &str, failure: Failure, right: &str) -> Finding {
    match failure.reason {
        Reason::NotPermitted => {
            let text = format!("not looked at: this user may not ask for {what}");
            Finding::warning(subject, text, format!("run this once as a user with {right}"))
        }
        _ => Finding::of_error(subject, &failure.during(EXAMINE)),
    }
}
