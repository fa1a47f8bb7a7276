//! The steps of an examination that every store has.

use leasehold_core::{BootClock, Clock, LockBackend, Timing};

use crate::failure::Failure;
use crate::finding::Finding;
use crate::race::Race;
use crate::random::random;

/// How many reads are timed.
const READS: usize = 10;

/// The subject of what a store says of the time without a leader.
pub const FAIL_OVER: &str = "fail-over";

/// The subject of a race.
pub const COMPARE_AND_SWAP: &str = "compare-and-swap";

/// How long reads take; `what` says which, such as `"a read that a majority confirms"`.
pub async fn reads(lock: &dyn LockBackend, what: &str, timing: &Timing) -> Finding {
    let clock = BootClock::new();
    let mut times = Vec::new();
    for _ in 0..READS {
        let began = clock.now();
        if let Err(error) = lock.read().await {
            return Finding::of_error("latency", &error);
        }
        times.push(clock.now().since(began));
    }
    Finding::of_latency(what, &times, timing)
}

/// A name that nobody else has, for a lock that is only there to be examined: `doctor-` and 16
/// hexadecimal digits, for `"doctor"`.
///
/// # Errors
/// `Unavailable`: the kernel gives no random bytes.
pub fn scratch_name(tool: &str) -> Result<String, Failure> {
    Ok(format!("{tool}-{:016x}", random()?))
}

/// The tools whose scratch locks may be removed.
const TOOLS: [&str; 3] = ["bench", "conformance", "leasehold-doctor"];

/// Whether a lock of this name was made by a tool for itself: a part of the name, between dots, is
/// a [`scratch_name`] of a tool of this project. No other lock is ever removed by this project.
#[must_use]
pub fn is_scratch_name(name: &str) -> bool {
    name.split('.').any(|part| {
        part.rsplit_once('-').is_some_and(|(tool, number)| {
            TOOLS.contains(&tool)
                && number.len() == 16
                && number.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    })
}

impl Race {
    /// That the store withstood it; `lock` says what was raced for, such as
    /// `"a scratch lock beside this one"`.
    #[must_use]
    pub fn finding(&self, lock: &str) -> Finding {
        let (who, writes) = match self.candidates {
            2 => ("two candidates".to_owned(), "pairs"),
            more => (format!("{more} candidates"), "rounds"),
        };
        Finding::good(
            COMPARE_AND_SWAP,
            format!(
                "{who} raced for {lock}: of {} {writes} of writes, one of each was accepted",
                self.writes
            ),
        )
    }

    /// How fast a release hands over, by this race, and `crash`: a clause that says when a crash
    /// frees the lock.
    #[must_use]
    pub fn fail_over(&self, crash: &str) -> Finding {
        let (release, take) = self.medians();
        Finding::good(
            FAIL_OVER,
            format!(
                "a release hands over at once (a release took {release:.1?} and a take {take:.1?} \
                 here); {crash}"
            ),
        )
    }

    /// That there was no race, since this user may not do this next to the lock: `"write beside the
    /// lock"`.
    pub fn not_permitted(what: &str, cure: impl Into<String>) -> Finding {
        let text = format!("not tested: this user may not {what}, which is right for a candidate");
        Finding::warning(COMPARE_AND_SWAP, text, cure)
    }
}

/// The versions of a store that its project still maintains, as of a day: such a fact ages, so the
/// day is always told with it.
#[derive(Clone, Copy, Debug)]
pub struct Maintained {
    /// Major and minor number of the oldest one.
    pub oldest: (u64, u64),
    /// The day of which this is true, such as `"2026-11-30"`.
    pub as_of: &'static str,
}

impl Maintained {
    /// That the project had given this version up by then, if so.
    #[must_use]
    pub fn given_up(&self, version: (u64, u64)) -> Option<String> {
        let (oldest, as_of) = (self.oldest, self.as_of);
        (version < oldest).then(|| {
            format!(
                "the project maintains it no more (as of {as_of}, {}.{} is the oldest)",
                oldest.0, oldest.1
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_core::MemoryLock;

    use super::*;
    use crate::{Level, race};

    #[tokio::test]
    async fn a_race_is_told_by_what_it_was() {
        let lock = MemoryLock::new("m");
        let two = race(&[&lock, &lock], 1).await.unwrap();
        let text = two.finding("a scratch lock").text;
        assert!(text.starts_with("two candidates raced for a scratch lock: of 2 pairs"), "{text}");
        let three = race(&[&lock, &lock, &lock], 1).await.unwrap();
        let text = three.finding("a scratch lock").text;
        assert!(text.starts_with("3 candidates raced for a scratch lock: of 1 rounds"), "{text}");
        assert!(three.fail_over("a crash, later").text.ends_with("here); a crash, later"));
        let finding = reads(&lock, "a read", &Timing::default()).await;
        assert_eq!((finding.level, finding.subject), (Level::Good, "latency"));
        assert!(finding.text.contains("median of 10"), "{}", finding.text);
        assert!(two.medians().0 < Duration::from_secs(1));
    }

    #[test]
    fn a_scratch_name_is_told_from_the_name_of_a_lock() {
        let name = scratch_name("bench").unwrap();
        for scratch in [&name, &format!("jobs.{name}.x"), &format!(".{name}")] {
            assert!(is_scratch_name(scratch), "{scratch}");
        }
        for lock in
            ["", "jobs", "jobs.x", "bench-1", "jobs.bench-0123456789abcdeg", "x-0123456789abcdef"]
        {
            assert!(!is_scratch_name(lock), "{lock}");
        }
    }

    #[test]
    fn no_scratch_name_is_given_twice() {
        let (one, other) = (scratch_name("doctor").unwrap(), scratch_name("doctor").unwrap());
        assert!(one != other && one.starts_with("doctor-") && one.len() == 23, "{one}");
    }

    #[test]
    fn what_a_project_maintains_is_told_with_its_day() {
        let maintained = Maintained { oldest: (3, 6), as_of: "2026-11-30" };
        let text = maintained.given_up((3, 5)).unwrap();
        assert!(text.contains("as of 2026-11-30, 3.6"), "{text}");
        assert_eq!(maintained.given_up((3, 6)), None);
    }
}
