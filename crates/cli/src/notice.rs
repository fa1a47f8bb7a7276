//! Sentences about who leads, for logs and for `status`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leasehold::{Leader, MAX_LEASE_DURATION, Status, Wall};

/// Who holds the lock, since when, and why we wait.
#[must_use]
pub fn why_we_wait(status: &Status) -> String {
    match &status.leader {
        Leader::Unknown => match &status.store_error {
            Some(error) => format!("nobody knows who leads: {error}; trying again"),
            None => "asking the store who leads".to_owned(),
        },
        Leader::Nobody => match &status.store_error {
            Some(error) => format!("nobody leads, but {error}; trying again"),
            None => "nobody leads; contending".to_owned(),
        },
        Leader::Held(leading) => {
            let token =
                leading.token.map(|token| format!(" with token {token}")).unwrap_or_default();
            let store = status.store_error.as_ref().map(|error| format!("; last: {error}"));
            if leading.since == Wall(0) {
                return format!(
                    "{}, a foreign client, leads{token}; waiting until it releases the lock or the store ends its lease{}",
                    leading.identity,
                    store.unwrap_or_default(),
                );
            }
            format!(
                "{} leads{token} since {}; waiting until it releases the lock or shows no sign of life for {}{}{}",
                leading.identity,
                moment(leading.since),
                humantime::format_duration(leading.lease_duration),
                absurd(leading.lease_duration),
                store.unwrap_or_default(),
            )
        }
    }
}

/// A lease is honoured whatever its length, and one that no candidate may ask for needs somebody to look.
fn absurd(lease_duration: Duration) -> &'static str {
    if lease_duration > MAX_LEASE_DURATION {
        ", which is more than the 1h that a candidate may ask for: to seize the lock, make sure that nobody leads and take its record away (of file: move the file)"
    } else {
        ""
    }
}

/// A wall-clock time for people.
#[must_use]
pub fn moment(wall: Wall) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(wall.0));
    at.map_or_else(
        || "a time out of range".to_owned(),
        |at| humantime::format_rfc3339_seconds(at).to_string(),
    )
}

/// How long ago that was by this machine's wall clock, or how far ahead.
///
/// # Errors
/// It lies in the future.
pub fn age(wall: Wall) -> Result<Duration, Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = Duration::from_millis(wall.0);
    now.checked_sub(then).ok_or_else(|| then.saturating_sub(now))
}
