//! The names of locks that tools make for themselves.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The tools that make such locks.
#[cfg(feature = "file")]
const TOOLS: [&str; 3] = ["bench", "conformance", "leasehold-doctor"];

/// A name that no other run of a tool has: `bench-0123456789abcdef`.
pub(crate) fn scratch_name(tool: &str) -> String {
    // The standard library's only source of randomness.
    let number = RandomState::new().build_hasher().finish();
    format!("{tool}-{number:016x}")
}

/// Whether the name of a lock has such a name in it.
#[cfg(feature = "file")]
pub(crate) fn is_scratch(name: &str) -> bool {
    name.split('.').any(|part| {
        part.rsplit_once('-').is_some_and(|(tool, number)| {
            TOOLS.contains(&tool)
                && number.len() == 16
                && number.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    })
}
