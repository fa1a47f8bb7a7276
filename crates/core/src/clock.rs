//! The clock that everything else is given.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::time::{Time, Wall};

/// A boxed future, as [`Clock::sleep_until`] returns it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where time comes from: a clock that counts suspend, a wall clock for people, and sleep on the
/// former.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Now, on a clock that counts the time a machine was suspended and that nobody can step.
    fn now(&self) -> Time;

    /// Now, by the wall clock. For people only.
    fn wall(&self) -> Wall;

    /// Resolves once `now() >= at`, also across a suspend.
    fn sleep_until(&self, at: Time) -> BoxFuture<'static, ()>;
}
