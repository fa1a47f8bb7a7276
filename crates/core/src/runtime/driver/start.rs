//! The driver as a task.

#![expect(clippy::disallowed_methods, reason = "the driver is started here")]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tracing::error;

use crate::backend::LockBackend;
use crate::clock::Clock;
use crate::election::Election;
use crate::error::{Error, ErrorKind};
use crate::runtime::command::Command;
use crate::runtime::status::{Counters, Status};
use crate::runtime::term::Held;
use crate::text::printable;
use crate::timing::Timing;

use super::{Driver, State};

/// Starts the driver of this election in the runtime of the caller.
///
/// # Errors
/// `Invalid`: there is none.
pub(crate) fn start(
    lock: Arc<dyn LockBackend>,
    clock: Arc<dyn Clock>,
    (timing, heartbeat): (Timing, Option<Duration>),
    election: Election,
) -> Result<(mpsc::UnboundedSender<Command<Held>>, watch::Receiver<Status>), Error> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
        Error::new(ErrorKind::Invalid, "start the driver outside a tokio runtime", error)
    })?;
    let (commands, receiver) = mpsc::unbounded_channel();
    let first = Status::of(&election, clock.now(), None, Counters::default());
    let (status, statuses) = watch::channel(first);
    let driver = Driver {
        lock,
        clock,
        timing,
        heartbeat,
        election,
        commands: receiver,
        handle: commands.downgrade(),
        status,
        state: State::default(),
    };
    runtime.spawn(guarded(driver));
    Ok((commands, statuses))
}

/// Drives until it ends. A panic, of a backend or of ours, is a bug: it ends the term, and is said
/// once more here, since nobody awaits this task.
async fn guarded(driver: Driver) {
    let lock = driver.lock.name().to_owned();
    let Err(panic) = AssertUnwindSafe(driver.run()).catch_unwind().await else { return };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    error!(
        event = "panicked",
        lock,
        "a bug: the task that renews the lock panicked, and its term is over: {}",
        printable(text)
    );
}
