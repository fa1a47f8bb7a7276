//! What whoever judges a schedule may look at.

use crate::case::{Case, Nanos};
use crate::node::Node;
use crate::store::Store;

/// A schedule as it stands at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub case: &'a Case,
    pub now: Nanos,
    pub store: &'a Store,
    pub nodes: &'a [Node],
    /// Until when the foreign client believes.
    pub foreign_until: Nanos,
}
