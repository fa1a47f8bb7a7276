//! The names of a candidate.

use crate::record::{Holder, Incarnation};
use crate::text::redacted;

use super::random::random;

/// The longest identity or advertised address, in bytes.
const MAX_NAME: usize = 253;

/// # Errors
/// Says what is wrong with it.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), String> {
    if redacted(name) != name {
        return Err(format!(
            "the {what} holds a password or what looks like one, and whoever may read the lock \
             would see it: leave it out"
        ));
    }
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(format!(
            "the {what} {name:?} must have 1 to {MAX_NAME} bytes and no control characters"
        ));
    }
    Ok(())
}

impl Holder {
    /// A candidate of this process that nobody named: host name and process id, and an incarnation
    /// of its own.
    #[must_use]
    pub fn of_this_process() -> Self {
        let incarnation = Some(Incarnation(random()));
        Self { identity: default_identity(), incarnation, advertise: None }
    }
}

/// Processes share a host.
pub(super) fn default_identity() -> String {
    format!("{}-{}", host_name(), std::process::id())
}

/// The name of this host, or of the container that this process runs in, fit for an identity.
#[must_use]
pub fn host_name() -> String {
    let host: String = system_name().chars().filter(|c| !c.is_control()).take(200).collect();
    if host.is_empty() { "localhost".to_owned() } else { host }
}

#[cfg(unix)]
fn system_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn system_name() -> String {
    // Windows gives it to every process.
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_password_is_refused_and_not_repeated() {
        for name in ["http://me:s3cret@10.0.0.7:8080", "host?password=s3cret", "Bearer s3cret"] {
            let error = check_name("advertised address", name).unwrap_err();
            assert!(error.contains("password") && !error.contains("s3cret"), "{error}");
        }
        for name in ["http://10.0.0.7:8080/?a=b", "node-a", "pod_7f:x", "me@host"] {
            assert_eq!(check_name("identity", name), Ok(()), "{name}");
        }
    }
}
