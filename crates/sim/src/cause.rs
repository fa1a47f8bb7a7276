//! What makes an overlap expected.

/// Why two may lead at once for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A process was copied: at most D from the copy on; for ever where a renewal stores nothing.
    /// Also what one copy gives back or takes anew while another believes: D.
    Clone,
    /// An administrator deleted the record, and who took had not seen its holder: D.
    Deleted,
    /// An administrator removed the holder, which looks like a release: D.
    Freed,
    /// A foreign client took what an administrator had deleted, as these do at once: D.
    Foreign,
    /// Another store answers, which knows nothing of the term: until its leader asks it, D at most.
    Replaced,
    /// An administrator put an old copy of a record back, and who took had waited its lease out
    /// long before, or waited for the shorter lease of another term that it names: until the
    /// present leader looks, D at most.
    Restored,
}

impl Cause {
    /// All of them, and how they are called.
    pub const ALL: [(Self, &str); 6] = [
        (Self::Clone, "by a clone"),
        (Self::Deleted, "by a deletion"),
        (Self::Freed, "by an edit"),
        (Self::Foreign, "by a foreign client"),
        (Self::Replaced, "by another store"),
        (Self::Restored, "by an old copy"),
    ];
}
