//! The cases, each written once for every backend.

mod basic;

use futures_util::future::LocalBoxFuture;

use crate::verdict::Outcome;
use crate::world::World;

/// A case.
pub type Run = for<'a> fn(&'a World) -> LocalBoxFuture<'a, Outcome>;

/// A case that is built.
#[derive(Clone, Copy)]
pub struct Implementation {
    /// Runs it.
    pub run: Run,
    /// What would make it fail.
    pub fails_if: &'static str,
}

/// The case of that name, if it is built.
#[must_use]
pub fn implementation(id: &str) -> Option<Implementation> {
    let (run, fails_if): (Run, &'static str) = match id {
        "BA1" => (|world| Box::pin(basic::leads_alone(world)), "x"),
        _ => return None,
    };
    Some(Implementation { run, fails_if })
}
