//! A place in the queue for the next term.

use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, ErrorKind};

use super::command::Command;
use super::term::Held;

/// A place in the queue. Tells the driver when it is given up; the fields are dropped in this
/// order.
pub(super) struct Campaign {
    answer: oneshot::Receiver<Result<Held, Error>>,
    nudge: Nudge,
}

struct Nudge(mpsc::UnboundedSender<Command<Held>>);

impl Campaign {
    /// Takes the last place in the queue.
    pub(super) fn enqueue(commands: &mpsc::UnboundedSender<Command<Held>>) -> Self {
        let (reply, answer) = oneshot::channel();
        // A driver that has ended drops the reply, which says so.
        let _ = commands.send(Command::Campaign(reply));
        Self { answer, nudge: Nudge(commands.clone()) }
    }

    pub(super) async fn claimed(self) -> Result<Held, Error> {
        let Self { answer, nudge } = self;
        let gone = |_closed| {
            let why = "the elector has ended; if nobody shut it down, its runtime did, or it \
                panicked (see the log)";
            Error::new(ErrorKind::Stopped, "campaign", why)
        };
        // Declared after the nudge, so that it is dropped before it.
        let _nudge = nudge;
        let answer = answer;
        answer.await.map_err(gone)?.map(Held::claim)
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        let _ = self.0.send(Command::Abandoned);
    }
}
