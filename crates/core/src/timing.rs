//! The timing of an election, valid by construction, and the bounds that follow from it.

use std::fmt;
use std::time::Duration;

use crate::record::Incarnation;
use crate::time::Time;

mod worst;

pub use worst::{Leaderless, RequestRate, StoreTraits};

/// The longest lease duration a candidate may ask for.
pub const MAX_LEASE_DURATION: Duration = Duration::from_secs(3600);

/// The shortest lease duration from which all other durations can be derived.
const MIN_DERIVED: Duration = Duration::from_secs(1);

/// The longest retry period that is derived: a leader is heard of that often, however long its
/// lease.
const MAX_DERIVED_PERIOD: Duration = Duration::from_secs(10);

/// The smallest clock margin: covers timer oversleep and the time a kill takes.
const MIN_MARGIN: Duration = Duration::from_millis(250);

/// How much longer than the record's lease duration a follower waits, as a fraction: two clocks of
/// ±200 ppm stay well inside.
const FOLLOWER_MARGIN_DIVISOR: u32 = 1000;

/// What a caller chose; the rest is derived from the lease duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimingSettings {
    /// How long others wait after the holder's last sign of life (L). Default 15 s, at most 1 h.
    pub lease_duration: Option<Duration>,
    /// How long a holder believes after it sent its last acknowledged write (D). Default 2/3 L.
    pub renew_deadline: Option<Duration>,
    /// How often a holder renews and a follower without push polls (P). Default 2/15 L, at most 10
    /// s.
    pub retry_period: Option<Duration>,
    /// How long one request may take (T). Default 2/15 L, at most 5 s.
    pub request_timeout: Option<Duration>,
    /// How long the work may take to stop after a loss before it is killed (G). Default the rest,
    /// at most 30 s.
    pub stop_grace: Option<Duration>,
    /// What is left for clock rates, late timers and the kill itself (m). Default L/15 (at most 4
    /// s), and at least 250 ms and L/1000.
    pub clock_margin: Option<Duration>,
}

/// A valid timing. Kept by every value of this type:
/// `P + 3T <= D` (one lost reply costs a renewal, a read and a renewal), `D + G + m <= L`,
/// `m >= max(250 ms, L/1000)`, `L <= 1 h`, and nothing but G is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
    request_timeout: Duration,
    stop_grace: Duration,
    clock_margin: Duration,
}

/// What follows from a [`Timing`], for people: see [`Timing::bounds`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Bounds {
    /// How many times as fast as the holder's clock a challenger's may run before two could lead at
    /// once.
    pub clock_rate_ratio: f64,
    /// The same for the store's own clock, where that ends leases.
    pub store_clock_rate_ratio: f64,
    /// The longest time without a leader after a crash, beside two round trips.
    pub crash: Duration,
    /// The same when the follower's watch is silently dead and the crashed leader's last renewals
    /// were missed, beside a round trip.
    pub crash_with_dead_watch: Duration,
    /// The longest store outage a leader rides through.
    pub ride_through: Duration,
}

/// By how many percent of it the holder's clock may run slower, if another may run `ratio` times as
/// fast. Rounded down to a tenth: it is a promise.
#[must_use]
pub fn slower_by_percent(ratio: f64) -> f64 {
    ((1.0 - ratio.recip()) * 1000.0).floor() / 10.0
}

/// Whose clock ends a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// A challenger's: it waits a thousandth longer than the lease.
    Challenger,
    /// The store's own.
    Store,
}

impl Default for Timing {
    fn default() -> Self {
        TimingSettings::default().build().expect("the defaults keep the rules")
    }
}

impl Timing {
    /// L: how long others wait after the holder's last sign of life.
    #[must_use]
    pub fn lease_duration(&self) -> Duration {
        self.lease_duration
    }

    /// D: how long a holder believes after it sent its last acknowledged write.
    #[must_use]
    pub fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// P: how often a holder renews.
    #[must_use]
    pub fn retry_period(&self) -> Duration {
        self.retry_period
    }

    /// T: how long one request may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// G: how long the work may take to stop after a loss.
    #[must_use]
    pub fn stop_grace(&self) -> Duration {
        self.stop_grace
    }

    /// m: what is left for clock rates, late timers and the kill itself.
    #[must_use]
    pub fn clock_margin(&self) -> Duration {
        self.clock_margin
    }

    /// When belief ends, for a write sent at `sent` that was acknowledged.
    #[must_use]
    pub fn believe_until(&self, sent: Time) -> Time {
        sent + self.renew_deadline
    }

    /// When work that has not stopped is killed.
    #[must_use]
    pub fn kill_at(&self, sent: Time) -> Time {
        sent + self.renew_deadline + self.stop_grace
    }

    /// When the lease may pass to another; everything of the term is dead by then.
    #[must_use]
    pub fn dead_by(&self, sent: Time) -> Time {
        sent + self.lease_duration
    }

    /// How long a follower waits after the receipt of a sign of life of a holder with this lease
    /// duration. The holder's duration counts, never the follower's own.
    #[must_use]
    pub fn wait(lease_duration: Duration) -> Duration {
        lease_duration.saturating_add(lease_duration / FOLLOWER_MARGIN_DIVISOR)
    }

    /// The longest jitter a follower adds to its wait.
    #[must_use]
    pub fn max_jitter(&self) -> Duration {
        (self.lease_duration / 50).min(Duration::from_millis(200))
    }

    /// One draw of jitter per candidate, from its incarnation.
    #[must_use]
    pub fn jitter(&self, incarnation: Incarnation) -> Duration {
        let draw = u32::try_from(incarnation.0 % 1024).expect("below 1024");
        self.max_jitter() * draw / 1024
    }

    /// How long after its own release a candidate stays back, unless it sees another holder first.
    #[must_use]
    pub fn cool_down(&self) -> Duration {
        self.retry_period.max(Duration::from_secs(1))
    }

    /// How long at most a store that asks for fewer requests is obeyed, whatever it names: 30 s, or
    /// the lease duration if that is longer. A store that says "in an hour" is asked again before,
    /// or nobody would take over for an hour.
    #[must_use]
    pub fn longest_back_off(&self) -> Duration {
        self.lease_duration.max(Duration::from_secs(30))
    }

    /// How long silence may last before a follower with push reads.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.lease_duration / 3
    }

    /// The shortest clock margin that goes with this lease duration.
    #[must_use]
    pub fn min_clock_margin(lease_duration: Duration) -> Duration {
        MIN_MARGIN.max(lease_duration / 1000)
    }

    /// How long a lease is waited out, and how long the work of its holder may run: each from the
    /// same renewal, on a clock of its own. The one function behind the rule on a timing
    /// ([`TimingSettings::build`]) and behind the bound on clock rates ([`Timing::bounds`]), which
    /// the simulator's schedules and its plot take from there.
    fn race(&self, waits: Waits) -> (Duration, Duration) {
        let waited = match waits {
            Waits::Challenger => Self::wait(self.lease_duration),
            Waits::Store => self.lease_duration,
        };
        (waited, self.renew_deadline.saturating_add(self.stop_grace))
    }

    fn clock_rate_ratio(&self, waits: Waits) -> f64 {
        let (waited, works) = self.race(waits);
        waited.as_secs_f64() / works.as_secs_f64()
    }

    /// The bounds that this timing gives. The one place where they are computed. `leasehold doctor`
    /// prints them.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let wait = Self::wait(self.lease_duration);
        Bounds {
            clock_rate_ratio: self.clock_rate_ratio(Waits::Challenger),
            store_clock_rate_ratio: self.clock_rate_ratio(Waits::Store),
            crash: wait + self.max_jitter(),
            crash_with_dead_watch: wait + self.max_jitter() + self.silence() + self.request_timeout,
            ride_through: self.renew_deadline - self.retry_period - self.request_timeout,
        }
    }

    fn check(self) -> Result<Self, String> {
        let Self { lease_duration, renew_deadline, retry_period, request_timeout, .. } = self;
        let Self { stop_grace, clock_margin, .. } = self;
        for (name, value) in [
            ("lease duration", lease_duration),
            ("renew deadline", renew_deadline),
            ("retry period", retry_period),
            ("request timeout", request_timeout),
        ] {
            if value.is_zero() {
                return Err(format!("the {name} must be longer than zero"));
            }
        }
        if lease_duration > MAX_LEASE_DURATION {
            return Err(format!("lease duration {lease_duration:?} is above the maximum of 1h"));
        }
        let margin = Self::min_clock_margin(lease_duration);
        if clock_margin < margin {
            return Err(format!(
                "clock margin {clock_margin:?} is below {margin:?}, the larger of 250ms and a \
                 thousandth of the lease duration"
            ));
        }
        let attempts = retry_period.saturating_add(request_timeout.saturating_mul(3));
        if attempts > renew_deadline {
            return Err(format!(
                "retry period {retry_period:?} + 3 x request timeout {request_timeout:?} = \
                 {attempts:?} is above the renew deadline {renew_deadline:?}: one lost reply would \
                 end the term"
            ));
        }
        // Beside the store's clock, which waits the shorter.
        let (waited, works) = self.race(Waits::Store);
        let stopped = works.saturating_add(clock_margin);
        if stopped > waited {
            return Err(format!(
                "renew deadline {renew_deadline:?} + stop grace {stop_grace:?} + clock margin \
                 {clock_margin:?} = {stopped:?} is above the lease duration {lease_duration:?}: \
                 the work could outlive the lease"
            ));
        }
        Ok(self)
    }

    /// A valid timing near this one: what is already within the rules stays.
    fn nearest(self) -> Self {
        const MS: Duration = Duration::from_millis(1);
        let lease_duration = self.lease_duration.clamp(2 * MIN_MARGIN, MAX_LEASE_DURATION);
        let least = Self::min_clock_margin(lease_duration);
        let clock_margin = self.clock_margin.clamp(least, lease_duration / 2);
        let room = lease_duration - clock_margin;
        let fits = self.renew_deadline.saturating_add(self.stop_grace) <= room;
        let renew_deadline =
            if fits { self.renew_deadline } else { self.renew_deadline.min(room * 4 / 5) }
                .max(4 * MS);
        let stop_grace = self.stop_grace.min(room.saturating_sub(renew_deadline));
        let (mut retry_period, mut request_timeout) =
            (self.retry_period.max(MS), self.request_timeout.max(MS));
        let attempts = retry_period.saturating_add(request_timeout.saturating_mul(3));
        if attempts > renew_deadline {
            let scale = renew_deadline.as_secs_f64() / attempts.as_secs_f64();
            // Three milliseconds are left for three requests of one each.
            retry_period = floor_ms(retry_period.mul_f64(scale)).clamp(MS, renew_deadline - 3 * MS);
            request_timeout = floor_ms((renew_deadline - retry_period) / 3)
                .min(floor_ms(request_timeout.mul_f64(scale)).max(MS));
        }
        Self {
            lease_duration,
            renew_deadline,
            retry_period,
            request_timeout,
            stop_grace,
            clock_margin,
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lease duration {:?}, renew deadline {:?}, retry period {:?}, request timeout {:?}, \
             stop grace {:?}, clock margin {:?}",
            self.lease_duration,
            self.renew_deadline,
            self.retry_period,
            self.request_timeout,
            self.stop_grace,
            self.clock_margin
        )
    }
}

impl TimingSettings {
    /// Only the lease duration chosen; everything else derived.
    #[must_use]
    pub fn lease_duration(duration: Duration) -> Self {
        Self { lease_duration: Some(duration), ..Self::default() }
    }

    /// These settings, with a store's own defaults for what was not chosen.
    ///
    /// Once a lease duration is chosen, the other durations are derived from it and not taken from
    /// the store, except that the retry period keeps its share of the store's lease duration: a
    /// store that is polled less often because requests cost money stays so.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        if let Some(lease_duration) = self.lease_duration {
            let retry_period = self.retry_period.or_else(|| {
                let period = defaults.period_for(lease_duration)?;
                let derived = self.derive(lease_duration);
                let attempts = derived.request_timeout.saturating_mul(3);
                let room = derived.renew_deadline.saturating_sub(attempts);
                // What leaves no room for a lost reply is derived, and judged, as on any store.
                Some(period.min(room)).filter(|period| !period.is_zero())
            });
            return Self { retry_period, ..self };
        }
        Self {
            lease_duration: defaults.lease_duration,
            renew_deadline: self.renew_deadline.or(defaults.renew_deadline),
            retry_period: self.retry_period.or(defaults.retry_period),
            request_timeout: self.request_timeout.or(defaults.request_timeout),
            stop_grace: self.stop_grace.or(defaults.stop_grace),
            clock_margin: self.clock_margin.or(defaults.clock_margin),
        }
    }

    /// Derives what was not chosen and checks the rules.
    ///
    /// # Errors
    /// The rule that is broken, with its numbers, and the nearest valid set.
    pub fn build(self) -> Result<Timing, InvalidTiming> {
        let lease_duration = self.lease_duration.unwrap_or(Duration::from_secs(15));
        let timing = self.derive(lease_duration);
        if lease_duration < MIN_DERIVED && !self.all_chosen() {
            return Err(InvalidTiming {
                rule: format!(
                    "lease duration {lease_duration:?} is below 1s, where the other durations are \
                     not derived: choose all of them"
                ),
                nearest: self.derive(MIN_DERIVED).nearest(),
            });
        }
        timing.check().map_err(|rule| InvalidTiming { rule, nearest: timing.nearest() })
    }

    /// The retry period that has the same share of this lease duration as it has of the chosen one.
    fn period_for(&self, lease_duration: Duration) -> Option<Duration> {
        let (lease, period) = (self.lease_duration?, self.retry_period?);
        let nanos = period.as_nanos().checked_mul(lease_duration.as_nanos())?;
        let scaled = u64::try_from(nanos.checked_div(lease.as_nanos())?).ok()?;
        let longest = period.max(MAX_DERIVED_PERIOD);
        Some(floor_us(Duration::from_nanos(scaled)).min(longest))
    }

    fn derive(&self, lease_duration: Duration) -> Timing {
        let least = Timing::min_clock_margin(lease_duration);
        let margin = (lease_duration / 15).min(Duration::from_secs(4)).max(least);
        let period = floor_us(lease_duration.saturating_mul(2) / 15);
        let clock_margin = self.clock_margin.unwrap_or(margin);
        let renew_deadline =
            self.renew_deadline.unwrap_or(floor_us(lease_duration.saturating_mul(2) / 3));
        let rest = lease_duration.saturating_sub(renew_deadline).saturating_sub(clock_margin);
        Timing {
            lease_duration,
            renew_deadline,
            retry_period: self.retry_period.unwrap_or(period.min(MAX_DERIVED_PERIOD)),
            request_timeout: self.request_timeout.unwrap_or(period.min(Duration::from_secs(5))),
            stop_grace: self.stop_grace.unwrap_or(rest.min(Duration::from_secs(30))),
            clock_margin,
        }
    }

    fn all_chosen(&self) -> bool {
        [
            self.renew_deadline,
            self.retry_period,
            self.request_timeout,
            self.stop_grace,
            self.clock_margin,
        ]
        .iter()
        .all(Option::is_some)
    }
}

/// Settings that break a rule of [`Timing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTiming {
    rule: String,
    nearest: Timing,
}

impl InvalidTiming {
    /// A valid timing near the one that was asked for.
    #[must_use]
    pub fn nearest(&self) -> &Timing {
        &self.nearest
    }

    /// The rule that is broken, with its numbers.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl fmt::Display for InvalidTiming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid timing: {}; the nearest valid set is: {}", self.rule, self.nearest)
    }
}

impl std::error::Error for InvalidTiming {}

fn floor_ms(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn floor_us(duration: Duration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
