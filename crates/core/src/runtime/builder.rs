//! The choices of a candidate.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::backend::LockBackend;
use crate::clock::Clock;
use crate::election::{CandidateConfig, Election};
use crate::error::{Error, ErrorKind};
use crate::record::Incarnation;
use crate::timing::TimingSettings;

use super::boot_clock::BootClock;
use super::driver::start;
use super::elector::{Elector, Handle};
use super::identity::{check_name, default_identity};
use super::random::random;

/// Sets up an [`Elector`].
#[must_use = "call build()"]
#[derive(Debug)]
pub struct Builder {
    lock: Arc<dyn LockBackend>,
    identity: Option<String>,
    advertise: Option<String>,
    timing: TimingSettings,
    clock: Option<Arc<dyn Clock>>,
    drain_timeout: Duration,
    loss_grace: Duration,
    heartbeat: Option<Duration>,
    incarnation: Option<Incarnation>,
    #[cfg(feature = "mutants")]
    mutant: Option<crate::election::Mutant>,
}

impl Elector {
    /// A candidate for `lock`.
    pub fn builder(lock: Arc<dyn LockBackend>) -> Builder {
        Builder {
            lock,
            identity: None,
            advertise: None,
            timing: TimingSettings::default(),
            clock: None,
            drain_timeout: Duration::from_secs(30),
            loss_grace: Duration::ZERO,
            heartbeat: None,
            incarnation: None,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

impl Builder {
    /// The name of this candidate. Default: what the store
    /// [expects](LockBackend::default_identity), else host name and process id. Two candidates may
    /// share one; only one of them leads.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Where others reach this candidate when it leads; stored in the record.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// The timing; what is not chosen is derived from the lease duration.
    pub fn timing(mut self, settings: TimingSettings) -> Self {
        self.timing = settings;
        self
    }

    /// The clock. Default: a [`BootClock`] of its own. Many electors in a process should share one.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How long work may drain after a requested stop, while the term is kept. Default 30 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How long work may take to stop once another leader is known, within the stop grace. Default
    /// none.
    pub fn loss_grace(mut self, grace: Duration) -> Self {
        self.loss_grace = grace;
        self
    }

    /// How long work may go without [`Term::heartbeat`](crate::Term::heartbeat) before its term is
    /// taken for lost, counted from the beginning of the term. Without this a term is renewed for
    /// work that hangs. A loss by silence releases nothing, since the work may still run: the lease
    /// runs out.
    pub fn heartbeat_within(mut self, limit: Duration) -> Self {
        self.heartbeat = Some(limit);
        self
    }

    /// The incarnation, for simulations that must repeat themselves. Two electors of one
    /// incarnation take each other's records for their own: never in a product.
    #[doc(hidden)]
    pub fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// A deliberate defect, for tests that must find it.
    #[cfg(feature = "mutants")]
    #[doc(hidden)]
    pub fn mutant(mut self, mutant: crate::election::Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// Starts the candidate. It does not contend before it is asked to.
    ///
    /// # Errors
    /// `Invalid`: the timing breaks a rule or is too short for the store, a name is empty, too long
    /// or holds control characters or a password, or there is no tokio runtime; or this system
    /// lacks what the default clock needs. `Unavailable`: there is no thread or descriptor left for
    /// the default clock.
    pub fn build(self) -> Result<Elector, Error> {
        let invalid = |why: String| Error::new(ErrorKind::Invalid, "build the elector", why);
        let chosen = self.identity.or_else(|| self.lock.default_identity());
        let identity = chosen.unwrap_or_else(default_identity);
        check_name("identity", &identity).map_err(invalid)?;
        if let Some(advertise) = &self.advertise {
            check_name("advertised address", advertise).map_err(invalid)?;
        }
        let timing = self.timing.fit(&self.lock.capabilities()).map_err(invalid)?;
        if self.heartbeat.is_some_and(|limit| limit.is_zero()) {
            return Err(invalid("a heartbeat within no time is impossible".to_owned()));
        }
        let candidate = CandidateConfig {
            identity: identity.clone(),
            advertise: self.advertise,
            incarnation: self.incarnation.unwrap_or_else(|| Incarnation(random())),
            timing,
            hand_over_jitter: Duration::ZERO,
        };
        let clock = match self.clock {
            Some(clock) => clock,
            None => Arc::new(BootClock::started()?),
        };
        let election = Election::new(candidate, &self.lock.capabilities());
        #[cfg(feature = "mutants")]
        let election = election.with_mutant(self.mutant);
        let (commands, status) =
            start(self.lock, clock.clone(), (timing, self.heartbeat), election)?;
        let (drain_timeout, loss_grace) = (self.drain_timeout, self.loss_grace);
        let shut_down = AtomicBool::new(false);
        let handle = Handle {
            identity,
            commands,
            status,
            timing,
            clock,
            drain_timeout,
            loss_grace,
            shut_down,
        };
        Ok(Elector { shared: Arc::new(handle) })
    }
}
