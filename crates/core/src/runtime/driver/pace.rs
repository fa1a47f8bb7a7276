//! How much of a watch is heard: a peer that sends without end must not occupy a core.

use std::time::Duration;

use crate::time::Time;

/// So many items are heard within one period. A store tells of each write to one record, which is
/// far less; what comes beyond waits where it is, and so slows its sender down.
const MOST: u32 = 64;

/// The period, and so the longest that anything waits here.
const PERIOD: Duration = Duration::from_millis(50);

/// What was heard in the present period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    until: Time,
    heard: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { until: Time(0), heard: 0 }
    }
}

impl Pace {
    /// Whether the next item may be heard now. After a silence it always may.
    pub(super) fn allows(&self, now: Time) -> bool {
        self.heard < MOST || now >= self.until
    }

    /// An item was heard.
    pub(super) fn note(&mut self, now: Time) {
        if now >= self.until {
            *self = Self { until: now + PERIOD, heard: 0 };
        }
        self.heard += 1;
    }

    /// When something may be heard again, if nothing may now.
    pub(super) fn resumes_at(&self, now: Time) -> Option<Time> {
        (!self.allows(now)).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Time {
        Time(n * 1_000_000)
    }

    #[test]
    fn a_burst_is_heard_at_once_a_flood_is_paced_and_silence_forgives() {
        let mut pace = Pace::default();
        for _ in 0..MOST {
            assert!(pace.allows(ms(1_000)) && pace.resumes_at(ms(1_000)).is_none());
            pace.note(ms(1_000));
        }
        assert!(!pace.allows(ms(1_049)));
        assert_eq!(pace.resumes_at(ms(1_049)), Some(ms(1_050)));
        assert!(pace.allows(ms(1_050)));
        assert_eq!(pace.resumes_at(ms(1_050)), None);
        pace.note(ms(1_050));
        let heard = (1_050..2_050)
            .filter(|now| {
                let hears = pace.allows(ms(*now));
                (0..100).for_each(|_| {
                    if pace.allows(ms(*now)) {
                        pace.note(ms(*now))
                    }
                });
                hears
            })
            .count();
        assert_eq!(heard, 20);
    }
}
