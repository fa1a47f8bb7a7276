//! What happens in a story, drawn from its seed.

use std::time::Duration;

use leasehold_testing::link::Latency;

use super::stage::Act;

/// Numbers that look random, the same for the same seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to below `least + range`, to the nanosecond, so that no two moments are one.
    pub(super) fn time(&mut self, least: Duration, range: Duration) -> Duration {
        let range = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX).max(1);
        least + Duration::from_nanos(self.next() % range)
    }

    /// A store some milliseconds away.
    pub(super) fn latency(&mut self) -> Latency {
        let millis = |count| Duration::from_millis(count);
        Latency {
            request: self.time(millis(1), millis(4)),
            answer: self.time(millis(1), millis(4)),
            // Later than any answer.
            event: self.time(millis(6), millis(4)),
        }
    }
}

/// What strikes leaders, one after the other: every kind once before any comes again.
#[derive(Debug)]
pub(super) struct Fates {
    left: Vec<Act>,
}

impl Fates {
    pub(super) fn new() -> Self {
        Self { left: Vec::new() }
    }

    pub(super) fn next(&mut self, draws: &mut Draws) -> Act {
        if self.left.is_empty() {
            self.left = vec![Act::Kill, Act::Freeze, Act::Cut, Act::Resign];
        }
        let at = usize::try_from(draws.next() % self.left.len() as u64).unwrap_or_default();
        self.left.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_comes_once_before_any_comes_again() {
        let (mut draws, mut fates) = (Draws::new(7), Fates::new());
        let mut first: Vec<String> =
            (0..4).map(|_| format!("{:?}", fates.next(&mut draws))).collect();
        first.sort();
        assert_eq!(first, ["Cut", "Freeze", "Kill", "Resign"]);
    }

    #[test]
    fn a_seed_draws_the_same_and_another_does_not() {
        let draws = |seed| Draws::new(seed).next();
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }
}
