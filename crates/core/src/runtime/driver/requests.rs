//! The driver's side of the store: requests, their answers, and the watch.

use tracing::{debug, info, warn};

use crate::backend::{Change, Intent, LockBackend, Observed, Outcome, Push, Version};
use crate::election::{Action, Input};
use crate::error::{Error, ErrorKind};
use crate::record::{Nonce, Record};
use crate::runtime::random::random;
use crate::time::{Time, Wall};

use super::{Answer, Driver};

impl Driver {
    pub(super) fn watch(&mut self, now: Time) {
        let due = self.state.watch_at.is_none_or(|at| now >= at);
        if self.lock.capabilities().push == Push::None || self.state.watch.is_some() || !due {
            return;
        }
        if let Some(observed) = self.election.observed() {
            self.state.watch = Some(self.lock.watch(observed));
            self.state.watch_at = None;
            self.election.handle(now, Input::Push(true));
        }
    }

    pub(super) fn pushed(&mut self, item: Option<Result<Observed, Error>>) {
        self.state.pace.note(self.clock.now());
        let capabilities = self.lock.capabilities();
        let checked = |observed| capabilities.check_read(&observed).map(|()| observed);
        match item.map(|item| item.and_then(checked)) {
            Some(Ok(observed)) => {
                self.state.watch_failed = false;
                self.input(Input::Hint(observed));
            }
            ended => {
                let error = ended.and_then(Result::err);
                // A watch ends no term. What it said of another store, a read settles at once.
                if error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Replaced) {
                    self.input(Input::Look);
                }
                self.note_watch(error);
                self.state.watch = None;
                self.state.watch_at = Some(self.clock.now() + self.timing.retry_period());
                self.input(Input::Push(false));
            }
        }
    }

    /// Without a watch followers poll, which somebody should know; once, until one works again.
    fn note_watch(&mut self, error: Option<Error>) {
        match error {
            Some(error) if !self.state.watch_failed => {
                warn!(lock = self.lock.name(), %error, "no watch: polling, and trying again");
                self.state.watch_failed = true;
            }
            error => debug!(lock = self.lock.name(), ?error, "the watch ended"),
        }
    }

    pub(super) fn request(&mut self, now: Time) {
        if self.state.request.is_some() {
            return;
        }
        let Some(action) = self.election.poll(now, || Nonce(random())) else { return };
        let timeout = self.clock.sleep_until(now + self.timing.request_timeout());
        let lock = self.lock.clone();
        match action {
            Action::Read => {
                self.state.counters.reads += 1;
                self.state.request = Some(Box::pin(async move {
                    tokio::select! {
                        biased;
                        answer = read(&*lock) => Answer::Read(answer),
                        () = timeout => Answer::Read(Err(timed_out("read the lock"))),
                    }
                }));
            }
            Action::Write { expected, change } => {
                self.state.counters.writes += 1;
                let change = self.stamp(change);
                self.state.request = Some(Box::pin(async move {
                    tokio::select! {
                        biased;
                        answer = write(&*lock, &expected, &change) => Answer::Wrote(answer),
                        () = timeout => Answer::Wrote(Err(timed_out("write the lock"))),
                    }
                }));
            }
        }
    }

    /// Wall times are for people, and stamped here. A Take that is sent again keeps its bytes.
    fn stamp(&mut self, mut change: Change) -> Change {
        let same = |stamped: &&Record| stamped.nonce == change.record.nonce;
        if let Some(stamped) = self.state.stamped.as_ref().filter(same) {
            change.record = stamped.clone();
            return change;
        }
        let wall = self.clock.wall();
        change.record.renewed = wall;
        if change.record.acquired == Wall(0) {
            change.record.acquired = wall;
        }
        if change.intent == Intent::Take {
            self.state.stamped = Some(change.record.clone());
        }
        change
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        self.state.request = None;
        let input = match answer {
            Answer::Read(answer) => {
                let missed = self.state.watch.is_some()
                    && answer.as_ref().is_ok_and(|read| {
                        self.election.observed().is_some_and(|seen| seen.version != read.version)
                    });
                self.state.write_failed &= !self.is_led_by_another(&answer);
                if answer.is_err() || !self.state.write_failed {
                    self.note(answer.as_ref().err());
                }
                self.note_vanished(&answer);
                let input = Input::Read(answer.map_err(|error| error.kind()));
                if missed {
                    // A read that shows what the watch missed, or has not told yet: it is opened
                    // anew at once, after what was read.
                    self.state.watch = None;
                }
                input
            }
            Answer::Wrote(answer) => {
                self.state.write_failed = answer.is_err();
                self.note(answer.as_ref().err());
                self.note_write(&answer);
                if matches!(answer, Ok(Outcome::Conflict)) {
                    self.state.counters.conflicts += 1;
                }
                Input::Wrote(answer.map_err(|error| error.kind()))
            }
        };
        self.input(input);
    }

    fn is_led_by_another(&self, answer: &Result<Observed, Error>) -> bool {
        let record = answer.as_ref().ok().and_then(Observed::record);
        let holder = record.and_then(|record| record.holder.as_ref());
        holder.is_some_and(|holder| holder.incarnation != Some(self.election.incarnation()))
    }

    /// An administrator deleted or erased the record of a running term: it is asserted again.
    fn note_vanished(&self, answer: &Result<Observed, Error>) {
        if let (Some(live), Ok(observed)) = (&self.state.live, answer)
            && observed.record().is_none_or(|record| record.holder.is_none())
        {
            let (lock, token) = (self.lock.name(), live.token());
            warn!(lock, token, "the record of this term is gone or erased");
        }
    }

    fn note(&mut self, error: Option<&Error>) {
        if let Some(error) = error {
            self.state.counters.failures += 1;
            if self.state.store_error.is_none() {
                warn!(lock = self.lock.name(), %error, "the store does not answer as it should");
            }
        } else if self.state.store_error.is_some() {
            info!(lock = self.lock.name(), "the store answers again");
        }
        self.state.store_error = error.cloned();
    }
}

/// Reads, and believes only what fits the store's own promises.
async fn read(lock: &dyn LockBackend) -> Result<Observed, Error> {
    let observed = lock.read().await?;
    lock.capabilities().check_read(&observed)?;
    Ok(observed)
}

/// Writes. An acknowledgement that shows something else leaves the outcome unknown.
async fn write(
    lock: &dyn LockBackend,
    expected: &Version,
    change: &Change,
) -> Result<Outcome, Error> {
    let outcome = lock.write(expected, change).await?;
    if let Outcome::Written(stored) = &outcome {
        lock.capabilities().check_written(expected, change, stored)?;
    }
    Ok(outcome)
}

pub(super) fn timed_out(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "no answer within the request timeout")
}
