//! Writes that wait for replicas together.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, join_all};
use redis::{Cmd, Value, cmd};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::node::{AFTER_WAIT, Form, Request, sections};

/// A request that shares its WAIT with others.
pub(super) struct Job {
    request: Request,
    reply: oneshot::Sender<Result<Vec<Value>, Failure>>,
}

/// One that nobody has sent yet.
pub(super) struct Queued {
    job: Job,
    sent: Arc<OnceLock<Arc<Connection>>>,
    gone: oneshot::Receiver<()>,
}

/// What whoever asked keeps of it.
pub(super) struct Asked {
    pub(super) replied: oneshot::Receiver<Result<Vec<Value>, Failure>>,
    /// The connection on which it was sent.
    pub(super) sent: Arc<OnceLock<Arc<Connection>>>,
    /// Ends with this.
    _interest: oneshot::Sender<()>,
}

impl Queued {
    pub(super) fn new(request: Request) -> (Self, Asked) {
        let (reply, replied) = oneshot::channel();
        let (interest, gone) = oneshot::channel();
        let sent = Arc::<OnceLock<Arc<Connection>>>::default();
        let queued = Self { job: Job { request, reply }, sent: sent.clone(), gone };
        (queued, Asked { replied, sent, _interest: interest })
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.job.reply.is_closed()
    }

    pub(super) fn fail(self, failure: &Failure) {
        self.job.fail(failure);
    }
}

impl Job {
    fn fail(self, failure: &Failure) {
        // Whoever asked may be gone.
        let _ = self.reply.send(Err(failure.clone()));
    }
}

/// Requests on their way with one WAIT. Whoever sent them may give up before the others do: then
/// they are waited for in a task, until nobody is left.
pub(super) struct Group(Option<BoxFuture<'static, ()>>);

impl Group {
    pub(super) fn of(connection: Arc<Connection>, queued: Vec<Queued>) -> Self {
        let (mut jobs, mut gone) = (Vec::new(), Vec::new());
        for one in queued {
            // It is sent once.
            let _ = one.sent.set(connection.clone());
            jobs.push(one.job);
            gone.push(one.gone);
        }
        let asked = async move {
            let unknown = group(&connection, jobs, Form::Known).await;
            // A WAIT behind a script that did not run proves nothing: both are sent again.
            if !unknown.is_empty() {
                group(&connection, unknown, Form::WithScript).await;
            }
        };
        let all_gone = join_all(gone);
        Self(Some(Box::pin(async move {
            tokio::select! {
                biased;
                () = asked => {}
                _ = all_gone => {}
            }
        })))
    }
}

impl Future for Group {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(asked) = &mut self.0 else { return Poll::Ready(()) };
        let polled = asked.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let (Some(asked), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(asked);
        }
    }
}

/// Sends these with one WAIT. Gives back the jobs whose script the server did not know.
async fn group(connection: &Connection, jobs: Vec<Job>, form: Form) -> Vec<Job> {
    let sent: Vec<Vec<Cmd>> = jobs.iter().map(|job| job.request.sent(form)).collect();
    let lengths: Vec<usize> = sent.iter().map(Vec::len).collect();
    let mut all = sent.concat();
    let waits = jobs.iter().filter_map(|job| job.request.wait);
    let replicas = waits.clone().map(|wait| wait.replicas).max().unwrap_or(0);
    let limit = waits.map(|wait| wait.limit).min().unwrap_or_default();
    // Without a limit it would wait for ever.
    let limit = limit.as_millis().clamp(1, 60_000);
    let mut wait = cmd("WAIT");
    wait.arg(replicas).arg(limit.to_string());
    all.push(wait);
    all.extend(sections());
    let replies = match connection.ask(&all).await {
        Ok(replies) => replies,
        Err(failure) => {
            jobs.into_iter().for_each(|job| job.fail(&failure));
            return Vec::new();
        }
    };
    let (mut own, after) = replies.split_at(replies.len() - AFTER_WAIT);
    let mut unknown = Vec::new();
    for (job, length) in jobs.into_iter().zip(lengths) {
        let (first, rest) = own.split_at(length);
        own = rest;
        if form == Form::Known && job.request.lacks_script(first) {
            unknown.push(job);
            continue;
        }
        let replies = [job.request.replied(first).as_slice(), after].concat();
        let _ = job.reply.send(Ok(replies));
    }
    unknown
}
