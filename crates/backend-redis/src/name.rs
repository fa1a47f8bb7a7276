//! The name of a lock, and where it is kept.

use std::fmt;
use std::sync::Arc;

use leasehold_core::printable;

/// What every key of this project begins with.
pub(crate) const PREFIX: &str = "leasehold:";

/// The longest name, in bytes.
const LONGEST: usize = 1024;

/// The name of a lock. Its key is also the channel on which changes are announced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LockName {
    key: Arc<str>,
}

impl LockName {
    /// The name, or why it is not one, and what to do about it.
    pub(crate) fn parse(name: &str) -> Result<Self, (String, &'static str)> {
        const USE: &str = "write a name such as jobs/nightly";
        if name.is_empty() {
            return Err(("it names no lock".to_owned(), USE));
        }
        if name.len() > LONGEST {
            return Err((format!("the name is longer than {LONGEST} bytes"), USE));
        }
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err((
                format!("the name {name} is a number, as a database of Redis has one"),
                "locks are in database 0: write redis://host:6379/jobs/nightly, without a number",
            ));
        }
        if let Some(bad) = name.chars().find(|c| c.is_control() || "{}*?[]\\".contains(*c)) {
            return Err((
                format!("the name has {} in it", printable(&bad.to_string())),
                "use no control characters and none of {}*?[]\\, which mean something in cluster \
                 keys and in rules of access",
            ));
        }
        Ok(Self { key: format!("{PREFIX}{name}").into() })
    }

    /// The key, and the channel.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The rule that grants a user what a candidate needs.
    pub(crate) fn grant(&self) -> String {
        format!(
            "grant on every node, for ACLs are not replicated: {} (who only looks on needs neither \
             set, eval, evalsha, publish nor wait)",
            self.rule()
        )
    }

    /// The same on one node, as it is typed.
    pub(crate) fn rule(&self) -> String {
        let key = printable(&self.key);
        format!("ACL SETUSER NAME resetchannels '~{key}' '&{key}' -@all {CANDIDATE}")
    }
}

/// The rights of a candidate. With `cas=ifeq` it needs neither eval nor evalsha.
const CANDIDATE: &str = "+get +set +eval +evalsha +publish +subscribe +wait +time +multi +exec \
     +info|replication +info|stats +info|server";

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key.strip_prefix(PREFIX).unwrap_or(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_into_a_key_and_into_rules() {
        for good in ["jobs", "jobs/nightly", "a b", "0x", "ä", "a:b", "-1"] {
            let name = LockName::parse(good).unwrap();
            assert_eq!(
                (name.key(), name.to_string().as_str()),
                (&*format!("leasehold:{good}"), good)
            );
        }
        for (bad, says) in [
            ("", "names no lock"),
            ("0", "is a number"),
            ("15", "is a number"),
            ("{a}", "has { in it"),
            ("a*", "has * in it"),
            ("a?b", "has ? in it"),
            ("a[", "has [ in it"),
            ("a]", "has ] in it"),
            ("a\\", "has \\ in it"),
            ("a\nb", r"has \n in it"),
            ("a\u{85}b", "in it"),
        ] {
            let (why, cure) = LockName::parse(bad).unwrap_err();
            assert!(why.contains(says) && !cure.is_empty(), "{bad:?}: {why}");
        }
        assert!(LockName::parse(&"x".repeat(1025)).is_err());
    }

    #[test]
    fn the_rule_names_the_key_and_the_channel() {
        let rule = LockName::parse("jobs").unwrap().grant();
        assert!(rule.contains("'~leasehold:jobs' '&leasehold:jobs' -@all +get +set"), "{rule}");
    }
}
