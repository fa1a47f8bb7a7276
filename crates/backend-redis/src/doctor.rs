//! What an examination of a lock and its server finds.

use async_trait::async_trait;
use leasehold_backend::{Diagnose, Finding, doctor};
use leasehold_core::{LockBackend as _, Timing};

use crate::lock::RedisLock;

#[async_trait]
impl Diagnose for RedisLock {
    async fn diagnose(&self, timing: &Timing) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.read().await {
            Ok(observed) => findings.push(Finding::of_lock(&observed)),
            Err(error) => return vec![Finding::of_error("server", &error)],
        }
        findings.push(doctor::reads(self, "a read", timing).await);
        findings
    }
}
