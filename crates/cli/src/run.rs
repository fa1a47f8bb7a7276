//! `leasehold run -- CMD`.
//!
//! - CMD ends by itself: what it left behind is told to stop and, after the stop grace, killed;
//!   then release, and exit with CMD's code (`--restart`: contend again).
//! - Leadership is lost: SIGTERM, and SIGKILL at the end of the grace; at once if the record is
//!   gone or names another leader. Then contend again (`--once`: exit).
//! - SIGTERM and SIGINT: CMD's group gets SIGTERM and drains while this process goes on renewing. A
//!   second request kills. The exit code is CMD's if it left by itself, else 128 and the signal.
//!   While waiting: exit at once.
//! - What cannot be killed ends the lease: renewals stop once a kill took longer than its grace,
//!   the lease runs out without a release, and the exit code is 79. A request to stop then does not
//!   wait for that.
//! - SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH are forwarded. While waiting the first two end
//!   the process, and the others do nothing.
//! - On a terminal CMD is the foreground process group, so that Ctrl-C reaches it and not us.
//!   Ctrl-Z does not suspend it: the guard continues it at once. Suspending the supervisor itself
//!   (SIGSTOP, or Ctrl-Z where standard input is no terminal) gives up leadership: the guard ends
//!   CMD at the deadline.
//! - A standard error that nobody reads blocks the supervisor once the pipe is full: it can no
//!   longer renew, and the guard ends CMD at the deadline.

mod course;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use leasehold::backend::host_name;
use leasehold::status::Leader;
use leasehold::timing::{BootClock, Clock, Deadlines, Time};
use leasehold::{Elector, Error, ErrorKind, Held, Loss, Term};
use nix::sys::signal::{SigSet, Signal};
use tracing::{debug, error, info, warn};

use crate::args::{self, RunArgs};
use crate::exit;
use crate::guard::supervise::{Guarded, News, Spec};
use crate::guard::{Event, Exit, Instants, Outcome, host};
use crate::lock::Lock;
use crate::runtime;
use crate::signals::{self, Request, Signals};
use crate::waiting::{self, Waited};
use course::{Course, outlived};

/// This very program, also after an upgrade replaced its file.
const PROGRAM: &str = "/proc/self/exe";

/// How long a take that was under way when a stop was asked for has to be given back.
const FAREWELL: Duration = Duration::from_millis(60);

/// Runs CMD while this candidate leads. Returns the exit code.
#[must_use]
pub fn main(args: RunArgs) -> u8 {
    // The threads of this process inherit it: the terminal is taken back from the background.
    let mut ttou = SigSet::empty();
    ttou.add(Signal::SIGTTOU);
    let blocked = signals::unblock().and_then(|()| Ok(ttou.thread_block()?));
    // Who could not guard CMD must not take the lock. Before the runtime, which needs some of the
    // same.
    if let Err(unfit) = host::check(&PathBuf::from(PROGRAM), args.cgroup) {
        error!("{unfit}");
        return exit::CONFIG;
    }
    match (runtime::new(), blocked) {
        (Ok(runtime), Ok(())) => {
            let code = runtime.block_on(run(args));
            // A request to a store that hangs must not keep us.
            runtime.shutdown_background();
            code
        }
        (Ok(_), Err(failure)) => internal("block a signal", &failure),
        // It was said why.
        (Err(code), _) => code,
    }
}

async fn run(args: RunArgs) -> u8 {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(failure) => return internal("handle signals", &failure),
    };
    let opened = tokio::select! {
        opened = Candidate::open(args) => opened,
        number = stop_request(&mut signals) => return exit::by_signal(number),
    };
    let candidate = match opened {
        Ok(candidate) => candidate,
        Err(error) => {
            error!("{error}");
            return exit::of_error(&error);
        }
    };
    let code = loop {
        let Candidate { elector, lock, args, clock } = &candidate;
        match waiting::for_leadership(elector, lock, args, clock, &mut signals).await {
            Waited::Leads(held) => {
                if let Some(code) = candidate.lead(held, &mut signals).await {
                    break code;
                }
            }
            Waited::Exit(code) => break code,
        }
    };
    candidate.farewell().await;
    code
}

async fn stop_request(signals: &mut Signals) -> u8 {
    loop {
        if let Request::Stop(number) | Request::Forward(number) = signals.next().await {
            return number;
        }
    }
}

fn internal(what: &str, failure: &io::Error) -> u8 {
    error!("cannot {what}: {failure}");
    exit::INTERNAL
}

struct Candidate {
    args: RunArgs,
    lock: Lock,
    elector: Elector,
    clock: BootClock,
}

/// One request may arrive twice, from a terminal or `timeout` and again from a wrapper that
/// forwards it.
const ECHO: Duration = Duration::from_millis(300);

impl Candidate {
    async fn open(args: RunArgs) -> Result<Self, Error> {
        let lock = Lock::connect(&args.lock.lock).await?;
        let clock = BootClock::new();
        // A pod's host is named as the pod, which is what its owner knows it by, whatever the
        // store.
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let identity = args.identity.clone().or_else(|| in_pod.then(host_name));
        let mut builder = Elector::builder(lock.backend());
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        if let Some(address) = &args.advertise {
            builder = builder.advertise(address);
        }
        let elector = builder
            .timing((&args.timing).into())
            .clock(clock.clone())
            .drain_timeout(args.drain_timeout)
            .loss_grace(args.loss_grace)
            .build()?;
        debug!("{}", elector.timing());
        Ok(Self { args, lock, elector, clock })
    }

    /// One term. The exit code, or `None` to contend again.
    async fn lead(&self, held: Held, signals: &mut Signals) -> Option<u8> {
        let term = held.term();
        let mut course = Course::default();
        let stopped_before = tokio::select! {
            biased;
            number = stop_request(signals) => Some(number),
            () = std::future::ready(()) => None,
        };
        if let Some(number) = stopped_before {
            // Never start a child after a stop request.
            self.resign(held).await;
            return Some(exit::by_signal(number));
        }
        let deadlines = term.deadlines();
        let guarded = match self.start(&term, deadlines).await {
            Ok(guarded) => guarded,
            Err(code) => {
                self.resign(held).await;
                return Some(code);
            }
        };
        let mut held = Some(held);
        let ended =
            self.supervise(&term, deadlines.until, guarded, signals, &mut course, &mut held).await;
        if !course.stuck {
            // After a freeze the end may be heard of before the loss that caused it.
            course.loss = course.loss.or(term.check().err());
        }
        let dead = ended.as_ref().is_some_and(Outcome::may_release);
        match held {
            // Everything is known to be dead: only now may the lock be given back.
            Some(held) if dead => self.resign(held).await,
            held => drop(held),
        }
        self.conclude(&course, ended)
    }

    async fn start(&self, term: &Term, deadlines: Deadlines) -> Result<Guarded, u8> {
        let liveness = self.lock.liveness(self.elector.incarnation()).map_err(|error| {
            error!("{error}");
            exit::of_error(&error)
        })?;
        Guarded::start(&self.spec(term), liveness, instants(deadlines))
            .await
            .map_err(|failure| internal("start the guard", &failure))
    }

    async fn supervise(
        &self,
        term: &Term,
        // What the guard was told when it was started; renewals since then are still to be told.
        mut until: Time,
        mut guarded: Guarded,
        signals: &mut Signals,
        course: &mut Course,
        held: &mut Option<Held>,
    ) -> Option<Outcome> {
        loop {
            let drained_by = course.drained_by.unwrap_or(Time::NEVER);
            let heard_by = course.heard_by.filter(|_| !course.stuck).unwrap_or(Time::NEVER);
            let leads = course.loss.is_none() && !course.stuck;
            tokio::select! {
                biased;
                event = guarded.next() => match event {
                    Some(News::Ended(ended)) => return Some(ended),
                    // Dropped without a release: what cannot be killed must not be renewed for.
                    Some(News::Event(Event::StopRenewing)) => {
                        course.stop_renewing(self.clock.now(), term.deadlines().dead_by);
                        drop(held.take());
                    }
                    Some(News::Event(event)) => {
                        if let Event::Exited { by_itself: true, .. } = event {
                            let grace = self.elector.timing().stop_grace();
                            course.expect_end(self.clock.now() + grace);
                        }
                        course.note(event);
                    }
                    None => return None,
                },
                request = signals.next() => self.obey(request, &guarded, course),
                loss = term.lost(), if leads => self.lose(loss, term, &guarded, course),
                Some(deadlines) = term.extended(until), if leads => {
                    until = deadlines.until;
                    guarded.extend(instants(deadlines));
                }
                () = self.clock.sleep_until(drained_by) => {
                    warn!("CMD did not stop within {:?}: killing it", self.args.drain_timeout);
                    course.drained_by = None;
                    self.kill(&guarded, course);
                }
                // The thread that watches the guard says so itself, before, unless it is stuck,
                // too.
                () = self.clock.sleep_until(heard_by) => {
                    course.stop_renewing(self.clock.now(), term.deadlines().dead_by);
                    drop(held.take());
                }
            }
        }
    }

    fn obey(&self, request: Request, guarded: &Guarded, course: &mut Course) {
        match request {
            Request::Stop(number) if course.stuck => {
                warn!(
                    "signal {number}: not waiting for what cannot be killed; nothing is released"
                );
                course.stop = course.stop.or(Some(number));
                guarded.leave();
            }
            Request::Stop(number) if course.stop.is_none() => {
                info!("signal {number}: stopping CMD, which has {:?}", self.args.drain_timeout);
                course.stop = Some(number);
                course.stopped_at = Some(self.clock.now());
                course.drained_by = Some(self.clock.now() + self.args.drain_timeout);
                guarded.terminate();
            }
            Request::Stop(_)
                if course.stopped_at.is_some_and(|at| self.clock.now() < at + ECHO) =>
            {
                debug!("the same request again");
            }
            Request::Stop(_) => {
                warn!("asked to stop a second time: killing CMD");
                self.kill(guarded, course);
            }
            Request::Forward(number) | Request::Tell(number) => guarded.signal(number),
            Request::Reap => guarded.reap_orphans(),
        }
    }

    fn kill(&self, guarded: &Guarded, course: &mut Course) {
        course.expect_end(self.clock.now());
        guarded.kill();
    }

    fn lose(&self, loss: Loss, term: &Term, guarded: &Guarded, course: &mut Course) {
        course.loss = Some(loss);
        let Deadlines { kill_at, .. } = term.deadlines();
        match loss {
            // The guard keeps the same instants and acts on them by itself.
            Loss::Expired | Loss::DriverGone => warn!(
                "no renewal was acknowledged in time: leadership is lost, CMD has {:?} to stop",
                kill_at.since(self.clock.now())
            ),
            Loss::Superseded if !self.args.loss_grace.is_zero() => {
                warn!("{}: stopping CMD", whose(&self.elector.status().leader));
                let now = self.clock.now();
                let kill_at = kill_at.min(now + self.args.loss_grace);
                guarded.extend(Instants { stop_at: now, kill_at, ..instants(term.deadlines()) });
            }
            _ => {
                let unreadable = [ErrorKind::Corrupt, ErrorKind::Rewound, ErrorKind::Replaced];
                let status = self.elector.status();
                match status.store_error.filter(|error| unreadable.contains(&error.kind())) {
                    Some(error) => warn!("the lock is not ours any more: {error}; killing CMD"),
                    None => warn!("{}: killing CMD", whose(&self.elector.status().leader)),
                }
                self.kill(guarded, course);
            }
        }
    }

    async fn resign(&self, held: Held) {
        match held.resign().await {
            Ok(true) => info!("released"),
            Ok(false) => info!("the release was not confirmed: the lease runs out by itself"),
            Err(error) => warn!("{error}"),
        }
    }

    /// The exit code, or `None` to contend again.
    fn conclude(&self, course: &Course, ended: Option<Outcome>) -> Option<u8> {
        let Some(ended) = ended else {
            error!(
                "the thread that watches the guard ended before everything was known to be dead: \
                 nothing is released, the lease runs out"
            );
            return Some(exit::INTERNAL);
        };
        if let Some((least, most)) = ended.overrun() {
            outlived(&ended, least, most);
            return Some(exit::OVERRUN);
        }
        if let Some(errno) = ended.failed {
            error!("cannot start CMD: {}", io::Error::from_raw_os_error(errno.cast_signed()));
            return Some(exit::INTERNAL);
        }
        if let Some(number) = course.stop {
            return Some(match ended.exit {
                Some(Exit::Code(code)) => code,
                Some(Exit::Signal(_)) | None => exit::by_signal(number),
            });
        }
        if let Some(exit) = course.ended_by_itself {
            let code = exit::of_child(exit);
            info!("CMD ended with {code}");
            return (!self.args.restart).then_some(code);
        }
        if course.loss.is_some() {
            return self.args.once.then_some(exit::LOST);
        }
        // The guard was lost, or woke too late to start anything.
        self.args.once.then_some(exit::INTERNAL)
    }

    /// Lets the elector give back what it may have taken unseen; briefly, since a signal is to end
    /// us soon.
    async fn farewell(self) {
        self.elector.shutdown();
        let mut changes = std::pin::pin!(self.elector.changes());
        let ended = async { while futures_util::StreamExt::next(&mut changes).await.is_some() {} };
        tokio::select! {
            () = ended => {}
            () = self.clock.sleep_until(self.clock.now() + FAREWELL) => {}
        }
    }

    fn spec(&self, term: &Term) -> Spec {
        let variable = |name: &str, value: String| (OsString::from(name), OsString::from(value));
        Spec {
            program: PathBuf::from(PROGRAM),
            command: self.args.command.clone(),
            env: vec![
                variable("LEASEHOLD_HELD_NAME", self.lock.backend().name().to_owned()),
                variable("LEASEHOLD_HELD_IDENTITY", self.elector.identity().to_owned()),
                variable("LEASEHOLD_FENCING_TOKEN", term.token().to_string()),
            ],
            env_remove: [args::variables(), self.lock.secret().into_iter().collect()].concat(),
            grace: self.elector.timing().stop_grace(),
            cgroup: self.args.cgroup,
        }
    }
}

/// What was read instead of this term's record.
fn whose(leader: &Leader) -> String {
    match leader {
        Leader::Held(leading) if !leading.is_me => {
            format!("another leader was seen ({})", leading.identity)
        }
        Leader::Nobody => "the record of this term is gone from the store".to_owned(),
        Leader::Held(_) | Leader::Unknown => "the record is no longer this term's".to_owned(),
    }
}

fn instants(deadlines: Deadlines) -> Instants {
    Instants { stop_at: deadlines.until, kill_at: deadlines.kill_at, dead_by: deadlines.dead_by }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_accused_where_a_record_is_gone() {
        assert!(whose(&Leader::Nobody).contains("gone from the store"));
        assert!(!whose(&Leader::Unknown).contains("another leader"));
    }
}
