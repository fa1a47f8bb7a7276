//! The names of an election: its prefix, its keys, its leases.

use std::fmt;

use leasehold_core::{Nonce, printable};

use crate::shell::quoted;

/// The longest name, in bytes.
const MAX: usize = 1024;

/// The longest key of an election: its name, a slash, a sign, and a lease.
pub(crate) const LONGEST_KEY: usize = MAX + 18;

/// Where a Kubernetes cluster keeps everything it is.
const KUBERNETES: &str = "registry";

/// What all its keys begin with.
pub(crate) const KUBERNETES_KEYS: &str = "/registry/";

/// The name of an election, as Go's `concurrency.NewElection` and `etcdctl elect` take it: keys lie
/// under `NAME/`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ElectionName {
    /// With the slash at its end.
    prefix: String,
}

impl ElectionName {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, String> {
        if name.trim_matches('/').is_empty() {
            return Err("it names no election; write etcd://host:2379/jobs/nightly".to_owned());
        }
        if name.ends_with('/') {
            let name = printable(name);
            return Err(format!("the name {name} ends with '/', which the keys add themselves"));
        }
        if name.len() > MAX || name.chars().any(char::is_control) {
            return Err(format!("a name has at most {MAX} bytes and no control characters"));
        }
        // Names are shown everywhere.
        if name.to_ascii_lowercase().contains("password=") {
            return Err("it has password= in its name: parameters follow a '?'".to_owned());
        }
        if name.trim_start_matches('/').split('/').next() == Some(KUBERNETES) {
            return Err(format!(
                "{} is where a Kubernetes cluster keeps its objects: use a store of your own, or a \
                 k8s: lock",
                printable(name)
            ));
        }
        Ok(Self { prefix: format!("{name}/") })
    }

    /// What all keys of the election begin with, and nothing else may.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of the candidate with this lease, as Go writes it.
    #[must_use]
    pub fn key(&self, lease: i64) -> String {
        format!("{}{}", self.prefix, hexadecimal(lease))
    }

    /// The command that lets a role contend.
    pub(crate) fn grant(&self) -> String {
        grant("readwrite", &self.prefix)
    }

    /// Whether a key under the prefix is of an election whose name begins with ours.
    pub(crate) fn is_nested(&self, key: &[u8]) -> bool {
        key.get(self.prefix.len()..).is_some_and(|rest| rest.contains(&b'/'))
    }
}

impl fmt::Display for ElectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix.trim_end_matches('/'))
    }
}

impl fmt::Debug for ElectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.prefix, f)
    }
}

/// A lease as Go spells it: with a sign, where a server gives out such ids.
pub(crate) fn hexadecimal(lease: i64) -> String {
    let sign = if lease < 0 { "-" } else { "" };
    format!("{sign}{:x}", lease.unsigned_abs())
}

/// The command that gives a role this permission on every key that begins so. A role has one
/// permission on a range: granting it "read" would take "write" away.
pub(crate) fn grant(permission: &str, prefix: &str) -> String {
    let prefix = quoted(prefix.as_bytes()).unwrap_or_else(|| "PREFIX".to_owned());
    format!("etcdctl role grant-permission ROLE {permission} {prefix} --prefix=true")
}

/// The lease of the term that the Take with this nonce begins: 63 of its bits, since negative ids
/// once put members out of step, and never 0, which asks the server to choose.
#[must_use]
pub fn lease_id(nonce: Nonce) -> i64 {
    let bits = nonce.0 & u128::from(i64::MAX.unsigned_abs());
    i64::try_from(bits).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_go_spells_them() {
        let name = ElectionName::parse("jobs/nightly").unwrap();
        assert_eq!(name.key(0xab_cdef), "jobs/nightly/abcdef");
        assert_eq!(name.key(-1), "jobs/nightly/-1");
        assert_eq!(name.key(i64::MIN), "jobs/nightly/-8000000000000000");
        assert_eq!(name.to_string(), "jobs/nightly");
        assert!(name.is_nested(b"jobs/nightly/sub/1"));
        assert!(!name.is_nested(b"jobs/nightly/1"));
    }

    #[test]
    fn names_that_would_do_harm_are_refused() {
        for (name, says) in [
            ("", "names no election"),
            ("//", "names no election"),
            ("jobs/", "ends with"),
            ("a\nb", "control characters"),
            ("jobs;Password=s3cret", "parameters follow a '?'"),
            ("registry", "Kubernetes"),
            ("/registry/leases", "Kubernetes"),
            ("registry/x", "Kubernetes"),
        ] {
            let error = ElectionName::parse(name).unwrap_err();
            assert!(error.contains(says) && !error.contains("s3cret"), "{name:?}: {error}");
        }
        assert!(ElectionName::parse("registry-jobs").is_ok());
        assert!(ElectionName::parse("/jobs/registry").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn a_lease_is_positive(nonce: u128) {
            assert!(lease_id(Nonce(nonce)) > 0);
        }
    }

    #[test]
    fn different_nonces_have_different_leases() {
        assert_eq!(lease_id(Nonce(7)), 7);
        assert_eq!(lease_id(Nonce(0)), 1);
        assert_eq!(lease_id(Nonce(u128::MAX)), i64::MAX);
    }
}
