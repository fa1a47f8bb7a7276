//! The compare-and-swap, as a script that the server runs as one.

/// The script, and its SHA-1, by which a server that has run it knows it.
pub(crate) const CAS: &str = include_str!("cas.lua");
pub(crate) const CAS_SHA1: &str = "b53dedab1b9c3a0ec140d3b41f4694872eaffd6a";

/// What the script answers first.
pub(crate) mod answer {
    /// It was replaced.
    pub(crate) const WRITTEN: i64 = 1;
    /// Something else is there, or another reign.
    pub(crate) const CONFLICT: i64 = 0;
    /// A command was refused: the right it needs, and what the server said follow.
    pub(crate) const REFUSED: i64 = -1;
    /// This is no primary: its role follows.
    pub(crate) const NO_PRIMARY: i64 = -2;
    /// Replicas follow, and none were expected: their number follows.
    pub(crate) const HAS_REPLICAS: i64 = -3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_scripts() {
        assert_eq!(sha1_smol::Sha1::from(CAS).digest().to_string(), CAS_SHA1);
    }
}
