//! The version.

use std::sync::OnceLock;

use leasehold::url::schemes;

/// In a line: what `-V` prints behind the name.
pub(crate) const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("LEASEHOLD_COMMIT"), ")");

/// With the schemes of this build: what `--version` prints.
pub(crate) fn long_version() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| format!("{VERSION}\nlocks: {}", schemes().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_commit_and_every_scheme() {
        let text = long_version();
        assert!(text.contains(env!("LEASEHOLD_COMMIT")), "{text}");
        assert!(schemes().all(|scheme| text.contains(scheme)), "{text}");
    }
}
