//! The invariants of the model.

/// What must hold in every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// S1: two candidates believe at once.
    Belief,
    /// S3: tokens grow in the order in which the store applies.
    Token,
    /// S4: only who won a term extends it.
    Extension,
    /// S5: a release changes its own term's record only.
    Release,
    /// S6: what ended stays ended.
    Resurrection,
    /// Nobody stops contending for good.
    Failure,
    /// Nobody takes its own record for a copy's.
    Copy,
}

impl Rule {
    /// All of them, with what they are called.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Belief, "no two leaders"),
        (Self::Token, "tokens grow by commit"),
        (Self::Extension, "only who won a term extends it"),
        (Self::Release, "a release changes its own term only"),
        (Self::Resurrection, "what ended stays ended"),
        (Self::Failure, "nobody stops for good"),
        (Self::Copy, "nobody sees a copy"),
    ];
}
