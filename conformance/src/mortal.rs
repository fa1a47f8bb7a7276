//! A candidate that can be killed and stopped, wherever it runs.

use crate::candidate::Candidate;
use crate::process::Process;

/// A candidate that can be killed and stopped.
#[derive(Debug)]
pub enum Mortal {
    /// In a process of its own.
    Process(Process),
    /// In this one.
    Here(Candidate),
}

impl Mortal {
    /// Ends it, without a farewell.
    pub fn kill(&mut self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Here(candidate) => candidate.kill(),
        }
    }

    /// Stops it.
    pub fn freeze(&self) {
        match self {
            Self::Process(process) => process.freeze(),
            Self::Here(candidate) => candidate.freeze(),
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        match self {
            Self::Process(process) => process.thaw(),
            Self::Here(candidate) => candidate.thaw(),
        }
    }
}
