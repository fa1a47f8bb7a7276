//! How long something took, often.

use std::fmt;
use std::time::Duration;

/// Times, by length.
#[derive(Clone, Debug)]
pub struct Distribution(Vec<Duration>);

impl Distribution {
    /// Of these, in any order.
    ///
    /// # Panics
    /// There is none: nothing was measured.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort();
        Self(times)
    }

    /// So many hundredths of them took no longer.
    #[must_use]
    pub fn at(&self, hundredth: usize) -> Duration {
        self.0[(self.0.len() * hundredth / 100).min(self.0.len() - 1)]
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hundredth in [10, 50, 90, 99, 100] {
            write!(f, "p{hundredth} {:.1?}, ", self.at(hundredth))?;
        }
        write!(f, "of {}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_by_length() {
        let all = Distribution::of((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(all.at(50), Duration::from_millis(51));
        assert_eq!(all.at(100), Duration::from_millis(100));
        assert!(all.to_string().starts_with("p10 11.0ms, p50 51.0ms, p90 91.0ms"), "{all}");
    }
}
