//! The task that drives an election: the only one, and the only place where it meets a clock, a
//! store and randomness.

mod pace;
mod requests;
mod standby;
mod start;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, info, warn};

use crate::backend::{BoxStream, Contents, LockBackend, Observed, Outcome};
use crate::clock::{BoxFuture, Clock};
use crate::election::{Election, Halt, Input, Loss};
use crate::error::{Error, ErrorKind};
use crate::record::{Incarnation, Record, Token};
use crate::runtime::command::Command;
use crate::runtime::random::random;
use crate::runtime::status::{Counters, Status};
use crate::runtime::term::{Held, Live};
use crate::time::Time;
use crate::timing::Timing;

use pace::Pace;
use standby::Standby;
pub(crate) use start::start;

pub(crate) struct Driver {
    pub(crate) lock: Arc<dyn LockBackend>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timing: Timing,
    /// How long the work of a term may be silent.
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) election: Election,
    pub(crate) commands: mpsc::UnboundedReceiver<Command<Held>>,
    /// For the terms it hands out; weak, so that the driver ends with its last handle.
    pub(crate) handle: mpsc::WeakUnboundedSender<Command<Held>>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) state: State,
}

/// What the driver keeps beside the election.
#[derive(Default)]
pub(crate) struct State {
    waiting: VecDeque<oneshot::Sender<Result<Held, Error>>>,
    live: Option<Live>,
    /// The last term whose work is not known to have stopped.
    working: Option<Token>,
    release: Option<oneshot::Sender<bool>>,
    request: Option<BoxFuture<'static, Answer>>,
    watch: Option<BoxStream<'static, Result<Observed, Error>>>,
    watch_at: Option<Time>,
    pace: Pace,
    watch_failed: bool,
    stamped: Option<Record>,
    /// Asked not to contend.
    paused: bool,
    /// Asked to end.
    closing: bool,
    /// When to end although a write is still unresolved; counts from the end of the work.
    patience: Option<Time>,
    /// Nobody holds a handle any more.
    disconnected: bool,
    store_error: Option<Error>,
    /// The last write failed. A reading that succeeds says nothing about writing, unless another
    /// leads.
    write_failed: bool,
    counters: Counters,
    standby: Standby,
}

enum Answer {
    Read(Result<Observed, Error>),
    Wrote(Result<Outcome, Error>),
}

/// Nobody looks after what was last told.
impl Drop for Driver {
    fn drop(&mut self) {
        self.status.send_modify(Status::forget);
    }
}

impl Driver {
    /// Drives until shut down, or until nobody holds a handle any more.
    pub(crate) async fn run(mut self) {
        loop {
            self.turn();
            if self.is_done() {
                return;
            }
            let hears = self.state.pace.allows(self.clock.now());
            let wake = self.clock.sleep_until(self.next_wake());
            // Whatever floods this task, others get their turn.
            tokio::task::consume_budget().await;
            let state = &mut self.state;
            tokio::select! {
                // In a fixed order, so that virtual time repeats. What is due is looked at in every
                // turn, whatever comes.
                biased;
                command = self.commands.recv(), if !state.disconnected => match command {
                    Some(command) => self.obey(command),
                    None => {
                        state.disconnected = true;
                        self.obey(Command::Shutdown);
                    }
                },
                answer = answered(&mut state.request) => self.answered(answer),
                item = pushed(&mut state.watch), if hears => self.pushed(item),
                answer = state.standby.answer() => self.permitted(answer),
                () = wake => self.input(Input::Tick),
            }
        }
    }

    /// Brings the outside in line with the election, until nothing more is due.
    fn turn(&mut self) {
        // One moment for all of it. A request of a later one could be the Take of a new term after
        // a lease that ran out in between, whose work nobody has told to stop.
        let now = self.clock.now();
        self.state.waiting.retain(|campaign| !campaign.is_closed());
        self.rebirth(now);
        self.heed(now);
        // First, so that a term that was just won is handed to somebody or given back, not merely
        // dropped.
        self.publish(now);
        self.withdraw(now);
        self.watch(now);
        self.request(now);
        self.ask(now);
        // By now a term may have ended.
        let now = self.clock.now();
        self.publish(now);
        let error = self.state.store_error.clone().or_else(|| unreadable(&self.election));
        let mut status = Status::of(&self.election, now, error, self.state.counters);
        status.standby_error = self.state.standby.denied().cloned();
        if self.state.closing && !self.has_work() {
            let patience = now + 3 * self.timing.request_timeout();
            self.state.patience.get_or_insert(patience);
        }
        self.status.send_if_modified(|last| {
            let news = status.is_news_after(last);
            *last = status;
            news
        });
    }

    fn input(&mut self, input: Input) {
        self.election.handle(self.clock.now(), input);
    }

    /// Nobody waits for a term or may have one yet, and none runs.
    fn withdraw(&mut self, now: Time) {
        let state = &self.state;
        let waits = !state.waiting.is_empty() && state.working.is_none() && !state.paused;
        if !waits && state.live.is_none() && self.election.standing() {
            self.election.handle(now, Input::Withdraw);
        }
    }

    fn next_wake(&self) -> Time {
        let now = self.clock.now();
        let reopen = self.state.watch_at.filter(|_| self.state.watch.is_none());
        let patience = self.state.patience.filter(|at| *at > now);
        let next = self.election.next_deadline(now);
        let hears = self.state.pace.resumes_at(now).filter(|_| self.state.watch.is_some());
        [reopen, patience, hears, self.silent_at(), self.asks_at(now)]
            .into_iter()
            .flatten()
            .fold(next, Time::min)
    }

    /// When the work of the running term has been silent for too long.
    fn silent_at(&self) -> Option<Time> {
        Some(self.state.live.as_ref()?.last_beat() + self.heartbeat?)
    }

    /// Ends a term whose work is wedged. It is not known to have stopped: nothing is released.
    fn heed(&mut self, now: Time) {
        if let (Some(live), Some(at)) = (&self.state.live, self.silent_at())
            && now >= at
        {
            live.end(Loss::Silent);
            self.election.handle(now, Input::Withdraw);
        }
    }

    /// A shutdown waits for the work, its release, and a Take that may have been applied.
    fn is_done(&self) -> bool {
        let state = &self.state;
        let patient = state.patience.is_some_and(|until| self.clock.now() < until);
        state.closing
            && !self.has_work()
            && state.release.is_none()
            && (self.election.is_idle() || !patient)
    }

    fn has_work(&self) -> bool {
        self.state.live.is_some() || self.state.working.is_some()
    }

    fn obey(&mut self, command: Command<Held>) {
        let now = self.clock.now();
        match command {
            Command::Campaign(reply) if self.state.closing => {
                // Whoever no longer listens need not be told.
                let _ = reply.send(Err(shut_down()));
            }
            Command::Campaign(reply) => {
                self.state.waiting.push_back(reply);
                self.stand(now);
            }
            Command::Abandoned => {}
            Command::Drained { token, reply } => self.drained(now, token, reply),
            Command::Dropped { token } => {
                if self.state.live.as_ref().is_some_and(|live| live.token() == token) {
                    self.election.handle(now, Input::Withdraw);
                }
                self.state.working = self.state.working.filter(|working| *working != token);
                self.stand(now);
            }
            Command::Stop => self.election.handle(now, Input::Stop),
            Command::Pause(pause) => {
                self.state.paused = pause;
                if pause {
                    self.election.handle(now, Input::Stop);
                }
                self.stand(now);
            }
            Command::Shutdown => {
                self.state.closing = true;
                for campaign in self.state.waiting.drain(..) {
                    let _ = campaign.send(Err(shut_down()));
                }
                self.election.handle(now, Input::Stop);
            }
        }
    }

    fn drained(&mut self, now: Time, token: Token, reply: Option<oneshot::Sender<bool>>) {
        if self.state.working != Some(token) {
            if let Some(reply) = reply {
                let _ = reply.send(false);
            }
            return;
        }
        self.state.working = None;
        // First, so that a lost term that is still ours is taken anew if somebody waits, and else
        // released.
        self.stand(now);
        let leads = self.election.leadership(now).is_some();
        if self.state.waiting.is_empty() && !leads {
            self.election.handle(now, Input::Withdraw);
        }
        self.election.handle(now, Input::Drained);
        if self.election.releasing() {
            self.state.release = reply;
        } else if let Some(reply) = reply {
            let _ = reply.send(false);
        }
    }

    /// A copy of this process runs: go on as somebody else.
    fn rebirth(&mut self, now: Time) {
        if self.election.copied() {
            let incarnation = Incarnation(random());
            error!(
                event = "copied", lock = self.lock.name(), %incarnation,
                "what is stored names this process and is none of its last writes: a copy of this \
                 process runs, or somebody put an old copy of the record back; going on under a \
                 new incarnation"
            );
            self.election.handle(now, Input::Reborn(incarnation));
        }
    }

    /// Tells owners and readers what became of their terms and releases.
    fn publish(&mut self, now: Time) {
        let leadership = self.election.leadership(now);
        if let Some(live) = &self.state.live {
            match &leadership {
                Some(leadership) if leadership.token == live.token() => {
                    // Other losses are the owner's doing, and its command is on its way.
                    if live.update(leadership) == Err(Loss::Expired) {
                        self.election.handle(now, Input::Expired);
                        return self.publish(now);
                    }
                }
                _ => self.end_term(now),
            }
        }
        if let (Some(leadership), None) = (&leadership, &self.state.live) {
            let Some(commands) = self.handle.upgrade() else {
                // Nobody is left to be told, so no work of this term ever ran.
                return self.election.handle(now, Input::Drained);
            };
            let (live, held) = Live::begin(leadership, self.clock.clone(), commands);
            let (lock, token) = (self.lock.name(), leadership.token);
            info!(event = "leading", lock, token, "leading");
            self.state.counters.terms += 1;
            self.state.working = Some(leadership.token);
            self.state.live = Some(live);
            self.deliver(held);
        }
        if let Some(confirmed) = self.election.take_released()
            && let Some(reply) = self.state.release.take()
        {
            let _ = reply.send(confirmed);
        }
        if let Some(failure) = self.election.failure() {
            let error = failed(failure, self.state.store_error.as_ref());
            for campaign in self.state.waiting.drain(..) {
                let _ = campaign.send(Err(error.clone()));
            }
        }
    }

    fn end_term(&mut self, now: Time) {
        let Some(live) = self.state.live.take() else { return };
        let loss = self.election.take_ended().map_or(Loss::Expired, |(_, loss)| loss);
        let loss = live.end(loss);
        let (lock, token) = (self.lock.name(), live.token());
        if matches!(loss, Loss::Resigned | Loss::Dropped) {
            debug!(event = "term-over", lock, token, ?loss, "term over");
        } else {
            self.state.counters.losses += 1;
            warn!(event = "term-lost", lock, token, ?loss, "term lost");
        }
        self.stand(now);
    }

    /// Contends for whoever waits, but not while work of a lost term may still run here.
    fn stand(&mut self, now: Time) {
        let state = &self.state;
        let idle = state.live.is_none() && state.working.is_none();
        if !state.waiting.is_empty() && idle && !state.paused {
            self.election.handle(now, Input::Stand);
        }
    }

    /// Hands the term to the first campaign that still waits. If none does, its `Held` gives it
    /// back.
    fn deliver(&mut self, mut held: Held) {
        while let Some(campaign) = self.state.waiting.pop_front() {
            let Err(Ok(undelivered)) = campaign.send(Ok(held)) else { return };
            held = undelivered;
        }
    }
}

/// Who leads cannot be told as long as nobody repairs what is stored.
fn unreadable(election: &Election) -> Option<Error> {
    match &election.observed()?.contents {
        Contents::Unreadable(why) => {
            Some(Error::new(ErrorKind::Corrupt, "read the lock", why.clone()))
        }
        Contents::Absent | Contents::Record(_) => None,
    }
}

async fn answered(request: &mut Option<BoxFuture<'static, Answer>>) -> Answer {
    match request {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}

async fn pushed(
    watch: &mut Option<BoxStream<'static, Result<Observed, Error>>>,
) -> Option<Result<Observed, Error>> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

fn shut_down() -> Error {
    Error::new(ErrorKind::Stopped, "campaign", "the elector was shut down")
}

fn failed(failure: &Halt, store_error: Option<&Error>) -> Error {
    let new = |kind, why: String| Error::new(kind, "contend for the lock", why);
    match failure {
        Halt::Corrupt(why) => {
            new(ErrorKind::Corrupt, format!("what is stored is left as it is: {why}"))
        }
        Halt::Rewound { floor, before } => new(
            ErrorKind::Rewound,
            format!(
                "the store says it is at {}, and was at {before} before: it was restored",
                floor.map_or("its beginning".to_owned(), |floor| floor.to_string())
            ),
        )
        .with_cure(format!(
            "to go on, give the lock the token floor {before} (token_floor={before})"
        )),
        Halt::Replaced | Halt::Denied | Halt::Invalid => match store_error {
            Some(error) => error.clone(),
            None => new(ErrorKind::Invalid, "the store refused the request".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests;
