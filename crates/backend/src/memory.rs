//! What an examination of a lock in memory finds.

use async_trait::async_trait;

use leasehold_core::{LockBackend, MemoryLock, Timing};

use crate::doctor::{COMPARE_AND_SWAP, FAIL_OVER};
use crate::finding::{Diagnose, Finding};
use crate::race::race;

/// How often two candidates race.
const ROUNDS: u64 = 10;

#[async_trait]
impl Diagnose for MemoryLock {
    async fn diagnose(&self, timing: &Timing) -> Vec<Finding> {
        let mut findings = vec![Finding::warning(
            "store",
            "it is the memory of one process: no other process sees it, and it ends with this one",
            "use it in tests; between processes of a host file:PATH is as easy",
        )];
        findings.push(match self.read().await {
            Ok(observed) => Finding::of_lock(&observed),
            Err(error) => Finding::of_error("lock", &error),
        });
        let scratch = Self::new("scratch");
        findings.push(match race(&[&scratch, &scratch.clone()], ROUNDS).await {
            Ok(done) => done.finding("a scratch lock"),
            Err(error) => Finding::of_error(COMPARE_AND_SWAP, &error),
        });
        let crash = timing.bounds().crash;
        let text = format!(
            "a release frees the lock at once, a holder that is gone after {crash:?} at most"
        );
        findings.push(Finding::good(FAIL_OVER, text));
        findings
    }
}
