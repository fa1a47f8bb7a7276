//! What an examination of a lock in memory finds.

use async_trait::async_trait;

use crate::backend::LockBackend;
use crate::diagnose::{Diagnose, Finding};
use crate::race::race;
use crate::runtime::memory::MemoryLock;
use crate::timing::Timing;

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
        findings.push(match race([&scratch, &scratch.clone()], ROUNDS).await {
            Ok(done) => Finding::good(
                "compare-and-swap",
                format!(
                    "two candidates raced for a scratch lock: of {} pairs of writes, one of each was accepted",
                    done.writes
                ),
            ),
            Err(error) => Finding::of_error("compare-and-swap", &error),
        });
        let crash = timing.bounds().crash;
        let text = format!(
            "a release frees the lock at once, a holder that is gone after {crash:?} at most"
        );
        findings.push(Finding::good("fail-over", text));
        findings
    }
}
