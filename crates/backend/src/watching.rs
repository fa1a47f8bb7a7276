//! The skeleton of a watch: its states one after the other, none twice, until its first error.

use std::time::Duration;

use futures_util::stream::try_unfold;
use leasehold_core::{BoxStream, Error, ErrorKind, Expiry, Observed, Version};
use tokio::time::timeout;

use crate::failure::Failure;

const OPERATION: &str = "watch the lock";

/// How long a server may take to begin.
const BEGIN: Duration = Duration::from_secs(5);

/// A watch, from before it began.
pub trait Watching: Send + Sized + 'static {
    /// The next state that is news; `None` if the server ended the watch without an error, as some
    /// do now and then.
    fn next(self) -> impl Future<Output = Result<Option<(Observed, Self)>, Error>> + Send;
}

/// The states of a watch, for [`LockBackend::watch`](leasehold_core::LockBackend::watch): ends
/// after the first error.
pub fn states(watch: impl Watching) -> BoxStream<'static, Result<Observed, Error>> {
    Box::pin(try_unfold(watch, Watching::next))
}

/// The answer of a server that is asked to begin, within 5 seconds.
///
/// # Errors
/// `Unavailable`: it did not begin in time.
pub async fn begun<T>(begin: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(BEGIN, begin)
        .await
        .map_err(|_elapsed| Failure::unavailable(format!("no watch began within {BEGIN:?}")))
}

/// The state that was yielded last, so that none is yielded twice.
#[derive(Clone, Debug, Default)]
pub struct Told(Option<(Version, Expiry)>);

impl Told {
    /// Somebody knows this state.
    #[must_use]
    pub fn of(observed: &Observed) -> Self {
        Self(Some((observed.version.clone(), observed.expiry)))
    }

    /// This state, if it is another than the last one. From here on it is the last one.
    pub fn news(&mut self, seen: Observed) -> Option<Observed> {
        let now = Self::of(&seen);
        if self.0 == now.0 {
            return None;
        }
        *self = now;
        Some(seen)
    }

    /// The version that was yielded last.
    #[must_use]
    pub fn version(&self) -> Option<&Version> {
        self.0.as_ref().map(|(version, _)| version)
    }
}

/// What a store says that pushes hints only ([`Push::Hint`](leasehold_core::Push::Hint)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A read may find something new.
    Changed,
    /// The connection works; nothing else follows.
    Alive,
}

/// A subscription to hints, and the read that follows each.
pub trait Hints: Send + 'static {
    /// The next hint.
    fn hint(&mut self) -> impl Future<Output = Result<Hint, Error>> + Send;

    /// The present state.
    fn read(&mut self) -> impl Future<Output = Result<Observed, Error>> + Send;
}

/// The states that hints lead to: what a read finds once the subscription has begun, and then what
/// is new after each hint. `silence` is how long nothing may be heard before the watch ends; `None`
/// where a subscription cannot die unseen.
pub fn hinted<H: Hints>(
    begin: impl Future<Output = Result<H, Error>> + Send + 'static,
    silence: Option<Duration>,
) -> BoxStream<'static, Result<Observed, Error>> {
    states(Hinted { stage: Stage::New(Box::pin(begin)), silence })
}

struct Hinted<H> {
    stage: Stage<H>,
    silence: Option<Duration>,
}

enum Stage<H> {
    New(std::pin::Pin<Box<dyn Future<Output = Result<H, Error>> + Send>>),
    Running(H, Told),
}

impl<H: Hints> Watching for Hinted<H> {
    async fn next(self) -> Result<Option<(Observed, Self)>, Error> {
        let silence = self.silence;
        let (mut hints, mut told) = match self.stage {
            Stage::Running(hints, told) => (hints, told),
            Stage::New(begin) => {
                let mut hints = begin.await?;
                let seen = hints.read().await?;
                let told = Told::of(&seen);
                return Ok(Some((seen, Self { stage: Stage::Running(hints, told), silence })));
            }
        };
        loop {
            let hint = match silence {
                Some(limit) => timeout(limit, hints.hint()).await.unwrap_or_else(|_elapsed| {
                    let why = format!("nothing was heard for {limit:?}");
                    Err(Error::new(ErrorKind::Unavailable, OPERATION, why))
                }),
                None => hints.hint().await,
            };
            if hint? == Hint::Alive {
                continue;
            }
            if let Some(news) = told.news(hints.read().await?) {
                let stage = Stage::Running(hints, told);
                return Ok(Some((news, Self { stage, silence })));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::{pending, ready};

    use futures_util::StreamExt;
    use leasehold_core::Contents;

    use super::*;

    fn state(number: u64) -> Observed {
        Observed {
            version: Version::number(number),
            contents: Contents::Absent,
            expiry: Expiry::ByObserver,
            token_floor: None,
        }
    }

    /// What is read, one after the other; a hint before each.
    struct Scripted(VecDeque<u64>, Hint);

    impl Hints for Scripted {
        async fn hint(&mut self) -> Result<Hint, Error> {
            if self.0.is_empty() { pending().await } else { Ok(self.1) }
        }

        async fn read(&mut self) -> Result<Observed, Error> {
            let next = self.0.pop_front();
            next.map(state).ok_or_else(|| Error::new(ErrorKind::Unavailable, "read", "gone"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hints_yield_what_is_new_and_end_with_silence() {
        let hints = Scripted([1, 1, 2, 2, 2, 3].into(), Hint::Changed);
        let stream = hinted(ready(Ok(hints)), Some(Duration::from_secs(9)));
        let seen: Vec<_> = stream.collect().await;
        let versions = seen[..3].iter().map(|seen| seen.as_ref().unwrap().version.as_number());
        assert_eq!(versions.collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        let error = seen[3].as_ref().unwrap_err().to_string();
        assert!(error.contains("nothing was heard for 9s"), "{error}");
        assert_eq!(seen.len(), 4, "it ends after its first error");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_does_not_begin_fails() {
        assert_eq!(begun(ready(7)).await, Ok(7));
        let failure = begun(pending::<()>()).await.unwrap_err();
        assert!(failure.text.contains("no watch began within 5s"), "{failure}");
        let never = hinted(
            ready(Err::<Scripted, _>(Error::new(ErrorKind::Denied, "subscribe", "no"))),
            None,
        );
        assert_eq!(never.collect::<Vec<_>>().await.len(), 1);
    }

    #[test]
    fn the_same_state_is_told_once() {
        let mut told = Told::of(&state(1));
        assert!(told.news(state(1)).is_none());
        let gone = Observed { expiry: Expiry::Passed, ..state(1) };
        assert!(told.news(gone.clone()).is_some() && told.news(gone).is_none());
        assert!(told.news(state(2)).is_some());
        assert_eq!(told.version(), Some(&Version::number(2)));
        assert!(Told::default().news(state(1)).is_some());
    }
}
