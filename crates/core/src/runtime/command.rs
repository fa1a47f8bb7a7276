//! The words of the handles to the driver.

use tokio::sync::oneshot;

use crate::error::Error;
use crate::record::Token;

/// What the handles ask of the driver. `H` is what owns a term: it holds a sender of these itself.
#[derive(Debug)]
pub(crate) enum Command<H> {
    /// Contend, and answer with the term.
    Campaign(oneshot::Sender<Result<H, Error>>),
    /// A campaign was dropped.
    Abandoned,
    /// The work of this term has stopped; answers whether the release was confirmed.
    Drained { token: Token, reply: Option<oneshot::Sender<bool>> },
    /// The owner of this term was dropped.
    Dropped { token: Token },
    /// Tell the work to stop.
    Stop,
    /// Contend no more until told otherwise, or again.
    Pause(bool),
    /// Tell the work to stop, and end once it has.
    Shutdown,
}
