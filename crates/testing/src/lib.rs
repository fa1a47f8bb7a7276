//! Candidates of the product itself over ways that fail, their history, and what every history must
//! keep.
//!
//! A [`Candidate`](candidate::Candidate) is an elector over a [`Link`](link::Link) that loses,
//! delays and holds requests; it can be frozen and killed, and its clock may run at a rate of its
//! own. One clock stamps what happens ([`history`]), and the [`judge`] says what of it must not be.
//! The conformance suite, `leasehold demo` and the tests of programs that use Leasehold have these
//! in common.
//!
//! What it does not show: that something never happens. A history without violation is one history.

pub mod candidate;
pub mod clock;
pub mod history;
pub mod judge;
pub mod link;
pub mod timeline;
