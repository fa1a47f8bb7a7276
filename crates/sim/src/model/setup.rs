//! What one run of the model checker contains.

use std::time::Duration;

use leasehold_core::{
    CandidateConfig, Capabilities, Election, Incarnation, InvalidTiming, LeaseClock, Mutant,
    Timing, TimingSettings,
};

/// Who judges whether a holder is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The other candidate, by its clock.
    ByObserver,
    /// The store, by its own.
    ByServer,
    /// The other candidate, by its clock; and the store may go back to an older state, under its
    /// old version and in another reign.
    Forgets,
}

/// Any number of times.
pub const ANY: u8 = u8::MAX;

/// How many ticks the clocks of both candidates and of the store advance in one step of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rates {
    /// Of the candidates.
    pub candidates: [u8; 2],
    /// Of the store.
    pub store: u8,
}

/// A run: the timing in ticks, and what may happen beside time, requests and lost messages.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What it is called.
    pub name: &'static str,
    /// Who judges whether a holder is alive.
    pub mode: Mode,
    /// L in ticks.
    pub lease: u8,
    /// D in ticks.
    pub deadline: u8,
    /// The clocks to begin with; every one is explored.
    pub rates: &'static [Rates],
    /// Requests and answers may be on the way while time passes, as they are to a process that
    /// stands still; else the candidate gives its request up before (T is shorter than a tick).
    pub late: bool,
    /// How many writes that their senders gave up may still be on the way at once, of each
    /// candidate one: 0, 1 or 2.
    pub zombies: u8,
    /// A leader's work may be told to stop, and may stop.
    pub resigns: bool,
    /// Somebody may see the deadline pass before the election does.
    pub expires: bool,
    /// A leader's owner may be dropped, whereupon the candidate withdraws; it stands again later.
    pub withdraws: bool,
    /// How often a process may start again, under a new incarnation.
    pub restarts: u8,
    /// How often an administrator may delete the record once both candidates saw its holder, if not
    /// its last renewal.
    pub deletes: u8,
    /// How often an administrator may save the record of a leader and put it back while the term
    /// lasts, once the other candidate saw a newer one. How often a store that forgets may go back
    /// to such a record.
    pub restores: u8,
    /// A candidate may take a record of its own for a copy's, and go on under a new incarnation.
    pub copies: bool,
    /// The deliberate defect of the run, if any.
    pub mutant: Option<Mutant>,
}

impl Setup {
    /// One tick. Where the other candidate waits, it waits a thousandth longer than L: a tick is so
    /// long that the wait is a whole number of ticks, and L a thousandth less. So is D in every
    /// mode, and nothing is rounded that safety rests on: belief ends, and the lock is free,
    /// exactly at a step of time.
    #[must_use]
    pub fn tick(&self) -> Duration {
        match self.mode {
            Mode::ByObserver | Mode::Forgets => Duration::from_millis(1001),
            Mode::ByServer => Duration::from_millis(1000),
        }
    }

    /// The timing. P is one tick, T as long as the rules allow, G zero: then the bound on clock
    /// rates is that of belief alone.
    ///
    /// # Errors
    /// The numbers break a rule.
    pub fn timing(&self) -> Result<Timing, InvalidTiming> {
        let tick = self.tick();
        let deadline = tick * u32::from(self.deadline);
        let timeout = deadline.saturating_sub(tick) / 3;
        TimingSettings {
            lease_duration: Some(Duration::from_secs(u64::from(self.lease))),
            renew_deadline: Some(deadline),
            retry_period: Some(tick),
            request_timeout: Some(timeout),
            stop_grace: Some(Duration::ZERO),
            clock_margin: Some(Duration::from_millis(250)),
        }
        .build()
    }

    /// Whether every pair of clocks is within the bound that the timing gives.
    ///
    /// # Errors
    /// The timing breaks a rule.
    pub fn is_within_bound(&self) -> Result<bool, InvalidTiming> {
        let bounds = self.timing()?.bounds();
        let within = |rates: &Rates| {
            let [a, b] = rates.candidates.map(f64::from);
            match self.mode {
                Mode::ByObserver | Mode::Forgets => a.max(b) / a.min(b) <= bounds.clock_rate_ratio,
                Mode::ByServer => {
                    f64::from(rates.store) / a.min(b) <= bounds.store_clock_rate_ratio
                }
            }
        };
        Ok(self.rates.iter().all(within))
    }

    /// The election of a new process, which does not stand yet.
    ///
    /// # Errors
    /// The timing breaks a rule.
    pub(crate) fn election(&self, number: u64) -> Result<Election, InvalidTiming> {
        let candidate = CandidateConfig {
            identity: String::new(),
            advertise: None,
            incarnation: incarnation(number),
            timing: self.timing()?,
            hand_over_jitter: Duration::ZERO,
        };
        let capabilities = Capabilities {
            lease_clock: match self.mode {
                Mode::ByObserver | Mode::Forgets => LeaseClock::Observers,
                Mode::ByServer => LeaseClock::Store,
            },
            forgets: self.mode == Mode::Forgets,
            lease_duration_step: Duration::from_nanos(1),
            ..Capabilities::default()
        };
        Ok(Election::new(candidate, &capabilities).with_mutant(self.mutant))
    }
}

/// The incarnation with this number. Its low bits are zero, and so is the jitter that is drawn from
/// them.
pub(crate) fn incarnation(number: u64) -> Incarnation {
    Incarnation(u128::from(number) << 10)
}
