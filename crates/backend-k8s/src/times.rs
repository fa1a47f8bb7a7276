//! Times as Kubernetes writes them.

use jiff::Timestamp;
use leasehold_core::Wall;

/// How exactly a form writes a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// `MicroTime`: six digits, no more and no fewer.
    Micros,
    /// `Time`: whole seconds.
    Seconds,
}

impl Precision {
    /// RFC 3339 in UTC.
    pub(crate) fn format(self, time: Timestamp) -> String {
        let form = match self {
            Self::Micros => "%Y-%m-%dT%H:%M:%S%.6fZ",
            Self::Seconds => "%Y-%m-%dT%H:%M:%SZ",
        };
        time.strftime(form).to_string()
    }

    /// What is left of a time that is written this way.
    pub(crate) fn cut(self, time: Timestamp) -> Timestamp {
        let kept = match self {
            Self::Micros => Timestamp::from_microsecond(time.as_microsecond()),
            Self::Seconds => Timestamp::from_second(time.as_second()),
        };
        kept.expect("less precise than a time that is one")
    }
}

/// A wall time of ours.
pub(crate) fn of_wall(wall: Wall) -> Result<Timestamp, String> {
    let time = i64::try_from(wall.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.ok_or_else(|| format!("the wall clock says {} ms, which is no time", wall.0))
}

/// A wall time for people. What is before 1970 is shown as 1970.
pub(crate) fn to_wall(time: Timestamp) -> Wall {
    Wall(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_times_have_six_digits_always() {
        for (ms, micros, seconds) in [
            (0, "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00Z"),
            (1_767_323_045_007, "2026-01-02T03:04:05.007000Z", "2026-01-02T03:04:05Z"),
        ] {
            let time = of_wall(Wall(ms)).unwrap();
            assert_eq!(Precision::Micros.format(time), micros);
            assert_eq!(Precision::Seconds.format(time), seconds);
            assert_eq!(micros.parse::<Timestamp>().unwrap(), Precision::Micros.cut(time));
            assert_eq!(seconds.parse::<Timestamp>().unwrap(), Precision::Seconds.cut(time));
        }
        assert!(of_wall(Wall(u64::MAX)).is_err());
    }
}
