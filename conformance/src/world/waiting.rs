//! What a case waits for, and for how long.

use std::time::Duration;

use leasehold::timing::Time;

use super::World;
use crate::candidate::{Candidate, Lead};
use crate::judge::Span;
use crate::verdict::Problem;

/// How often a case looks whether what it waits for has happened.
pub(super) const LOOK: Duration = Duration::from_millis(10);

impl World {
    /// Waits until this node leads.
    ///
    /// # Errors
    /// It does not within this bound and what the host may add.
    pub async fn until_leads(&self, node: &str, limit: Duration) -> Result<Span, Problem> {
        let what = format!("{node} leads");
        let mut found = None;
        let leads = || {
            found = self.leader().filter(|span| &*span.node == node);
            found.is_some()
        };
        self.until(&what, limit, leads).await?;
        found.ok_or(Problem::Late(what))
    }

    /// Waits until some node leads whose name begins so.
    ///
    /// # Errors
    /// None does within this bound and what the host may add.
    pub async fn until_some_leads(&self, prefix: &str, limit: Duration) -> Result<Span, Problem> {
        let what = format!("one of {prefix}… leads");
        let mut found = None;
        let leads = || {
            found = self.leader().filter(|span| span.node.starts_with(prefix));
            found.is_some()
        };
        self.until(&what, limit, leads).await?;
        found.ok_or(Problem::Late(what))
    }

    /// Lets time pass.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep_until(self.clock.now() + duration).await;
    }

    /// Lets time pass until that moment.
    pub async fn sleep_until(&self, at: Time) {
        self.clock.sleep_until(at).await;
    }

    /// Lets time pass while nothing of this thread runs, as a busy work that never yields does.
    pub fn block(&self, duration: Duration) {
        self.disturb("the runtime's thread is blocked");
        match &self.simulated {
            Some(clock) => clock.suspend(duration),
            None => std::thread::sleep(duration),
        }
    }

    /// What the future gives, if it does within this bound and what the host may add.
    ///
    /// # Errors
    /// It does not.
    pub async fn within<T>(
        &self,
        what: &str,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        tokio::select! {
            biased;
            value = future => Ok(value),
            () = self.sleep(limit + self.slack()) => Err(late(what, limit)),
        }
    }

    /// Waits until the condition holds, within this bound and what the host may add.
    ///
    /// # Errors
    /// It does not.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut holds: impl FnMut() -> bool,
    ) -> Result<(), Problem> {
        let end = self.now() + limit + self.slack();
        while !holds() {
            if self.now() > end {
                return Err(late(what, limit));
            }
            self.sleep(LOOK).await;
        }
        Ok(())
    }

    /// A term of this candidate on a free lock.
    ///
    /// # Errors
    /// It does not get one at once.
    pub async fn led(&self, candidate: &Candidate) -> Result<Lead, Problem> {
        let what = format!("{} leads", candidate.name());
        let limit = Duration::from_secs(1) + self.distrust(&candidate.elector().timing());
        Ok(self.within(&what, limit, candidate.campaign()).await??)
    }
}

fn late(what: &str, limit: Duration) -> Problem {
    Problem::Late(format!("not within {limit:?}: {what}"))
}
