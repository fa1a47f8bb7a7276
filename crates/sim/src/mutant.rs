//! Deliberate defects that the invariants must find.

use serde::{Deserialize, Serialize};

/// A deliberate defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mutant {
    /// Placeholder until the switch in the core exists.
    None,
}
