//! Sentences about who leads, for logs and for `status`.

use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, future::poll_fn};
use leasehold::status::printable;
use leasehold::status::{Leader, LeaderInfo, Status};
use leasehold::timing::{MAX_LEASE_DURATION, Time, Wall};
use leasehold::{Error, ErrorKind};

/// How a sentence about an error ends while we wait.
pub(crate) const TRYING_AGAIN: &str = "; trying again";

/// Who holds the lock, since when, and why we wait.
#[must_use]
pub fn why_we_wait(status: &Status) -> String {
    match &status.leader {
        Leader::Unknown => match &status.store_error {
            Some(error) => format!("nobody knows who leads: {error}{TRYING_AGAIN}"),
            None => "asking the store who leads".to_owned(),
        },
        Leader::Nobody => match &status.store_error {
            Some(error) => format!("nobody leads, but {error}{TRYING_AGAIN}"),
            None => "nobody leads; contending".to_owned(),
        },
        Leader::Held(leading) => {
            let token =
                leading.token.map(|token| format!(" with token {token}")).unwrap_or_default();
            let store = status.store_error.as_ref().map(|error| format!("; last: {error}"));
            let who = printable(&leading.identity);
            let Some(since) = leading.since else {
                return format!(
                    "{who}, a foreign client, leads{token}; waiting until it releases the lock or \
                     the store ends its lease{}",
                    store.unwrap_or_default(),
                );
            };
            format!(
                "{who} leads{token} since {}; waiting until it releases the lock or shows no sign \
                 of life for {}{}{}",
                moment(since),
                humantime::format_duration(leading.lease_duration),
                absurd(leading.lease_duration),
                store.unwrap_or_default(),
            )
        }
    }
}

/// Nobody is known to lead, since the store may have forgotten who did: whoever that was may
/// believe yet.
pub(crate) const FORGOTTEN: &str =
    "the store may have forgotten who led; the next candidate waits a lease out before it leads";

/// Why a candidate waits that has `remaining` to go before it leads, at a store that may have
/// forgotten who led.
#[must_use]
pub fn waits_for_the_forgotten(remaining: Duration) -> String {
    // Rounded up: it leads by then.
    let tenths = remaining.as_millis().div_ceil(100);
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    format!(
        "the store cannot vouch for the past: leading in {seconds}.{tenth}s at most, unless \
         another is first"
    )
}

/// A warning where the leader's lease is not as long as this candidate's, at a store that may
/// forget the leader: whoever never saw its record waits out no more than its own lease.
#[must_use]
pub fn unlike_leases(leading: &LeaderInfo, own: Duration) -> Option<String> {
    // A foreign client that does not tell has none.
    leading.since.filter(|_| leading.lease_duration != own)?;
    Some(format!(
        "the lease of {} is {}, and this candidate's is {}: this store may forget who leads, and a \
         candidate that never saw the leader waits out its own lease; give all candidates of this \
         lock the same lease duration",
        printable(&leading.identity),
        humantime::format_duration(leading.lease_duration),
        humantime::format_duration(own),
    ))
}

/// A lease is honoured whatever its length, and one that no candidate may ask for needs somebody to
/// look.
fn absurd(lease_duration: Duration) -> &'static str {
    if lease_duration > MAX_LEASE_DURATION {
        ", which is more than the 1h that a candidate may ask for: to seize the lock, make sure \
         that nobody leads and take its record away (of file: move the file)"
    } else {
        ""
    }
}

/// What a leader's record tells besides its name, as far as it does.
#[must_use]
pub(crate) fn told(since: Option<Wall>, renewed: Option<Wall>, lease: Duration) -> String {
    let Some(since) = since else { return "a foreign client that tells no more".to_owned() };
    let renewed = renewed.map(|renewed| format!("renewed {}, ", moment(renewed)));
    let lease = humantime::format_duration(lease);
    format!("since {}, {}lease {lease}", moment(since), renewed.unwrap_or_default())
}

/// The last second that is written with a year of four digits, since the Unix epoch.
const LAST_SECOND: u64 = 253_402_300_799;

/// A wall-clock time for people.
#[must_use]
pub fn moment(wall: Wall) -> String {
    let since = Duration::from_millis(wall.0);
    if since.as_secs() > LAST_SECOND {
        return "a time beyond the year 9999".to_owned();
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// A moment of this machine's wall clock, whatever it is set to, for a log line.
#[must_use]
pub fn timestamp(at: SystemTime) -> String {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) if since.as_secs() <= LAST_SECOND => {
            humantime::format_rfc3339_millis(at).to_string()
        }
        Ok(_) => "after-9999".to_owned(),
        Err(_) => "before-1970".to_owned(),
    }
}

/// Bounds how often something is said that others can cause: a few times at once, then once a
/// second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// When all that was said is forgotten.
    even_at: Option<Time>,
    left_out: u64,
}

impl Pace {
    /// What one line costs.
    const COST: Duration = Duration::from_secs(1);

    /// How many may be said at once.
    const BURST: u32 = 5;

    /// Whether it may be said now: `Ok` with how many were left out since the last time.
    ///
    /// # Errors
    /// It is left out; the moment from which on something may be said again.
    pub fn admit(&mut self, now: Time) -> Result<u64, Time> {
        let even_at = self.even_at.unwrap_or(now).max(now) + Self::COST;
        let next = even_at - Self::COST * Self::BURST;
        if next > now {
            self.left_out = self.left_out.saturating_add(1);
            return Err(next);
        }
        self.even_at = Some(even_at);
        Ok(std::mem::take(&mut self.left_out))
    }
}

/// How many lines were left out, for the one that follows; empty if none was.
#[must_use]
pub fn left_out(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => " (1 change before was not logged)".to_owned(),
        more => format!(" ({more} changes before were not logged)"),
    }
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

/// Nobody leads and we may not write.
pub(crate) fn denied(status: &Status) -> Option<&Error> {
    let denied = |error: &&Error| error.kind() == ErrorKind::Denied;
    let never_led = status.counters.terms == 0 && status.leader == Leader::Nobody;
    status.store_error.as_ref().filter(denied).filter(|_| never_led)
}

/// The next change; for ever pending once the elector has ended.
pub(crate) async fn next<S: Stream<Item = Status>>(changes: &mut Pin<&mut S>) -> Status {
    match poll_fn(|context| changes.as_mut().poll_next(context)).await {
        Some(status) => status,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_can_be_shown() {
        assert_eq!(moment(Wall(1_000)), "1970-01-01T00:00:01Z");
        assert_eq!(moment(Wall(253_402_300_799_999)), "9999-12-31T23:59:59Z");
        for beyond in [253_402_300_800_000, 1 << 62, i64::MAX.cast_unsigned(), u64::MAX] {
            assert_eq!(moment(Wall(beyond)), "a time beyond the year 9999");
            assert!(age(Wall(beyond)).is_err());
        }
        let years = Duration::from_secs(9_000 * 366 * 86_400);
        assert_eq!(timestamp(UNIX_EPOCH + years), "after-9999");
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)), "before-1970");
    }

    #[test]
    fn told_is_one_line_whatever_the_numbers_are() {
        for wall in [Some(Wall(u64::MAX)), Some(Wall(1)), None] {
            for lease in [Duration::MAX, Duration::from_millis(u64::MAX), Duration::ZERO] {
                assert!(!told(wall, wall, lease).contains('\n'));
            }
        }
    }

    #[test]
    fn many_changes_are_few_lines_and_none_is_lost_count_of() {
        let (mut pace, mut said, mut left) = (Pace::default(), 0, 0);
        // 266 a second, for ten seconds.
        for at in 0..2_660_u64 {
            let now = Time(at * 1_000_000_000 / 266);
            match pace.admit(now) {
                Ok(count) => (said, left) = (said + 1, left + count),
                Err(next) => assert!(next > now && next <= now + Pace::COST),
            }
        }
        assert!((5..=16).contains(&said), "{said}");
        assert!(said + left > 2_300, "{left}");
        // Rare ones are all said, at once.
        let mut pace = Pace::default();
        for second in 0..100 {
            assert_eq!(pace.admit(Time(second * 1_000_000_000)), Ok(0));
        }
    }
}
