//! The timing of a candidate on a certain store.

use std::time::Duration;

use crate::backend::Capabilities;
use crate::timing::{Timing, TimingSettings};

impl TimingSettings {
    /// The timing on this store: with its defaults, its shortest lease duration and its
    /// granularity. A lease duration is rounded up; the other durations stay as they are, which is
    /// the safe side.
    ///
    /// # Errors
    /// What is wrong, in a sentence: a rule is broken, or the lease duration is too short for the
    /// store.
    pub fn fit(self, capabilities: &Capabilities) -> Result<Timing, String> {
        let settings = self.or(&capabilities.default_timing);
        let timing = settings.build().map_err(|error| error.to_string())?;
        let (lease, min) = (timing.lease_duration(), capabilities.min_lease_duration);
        if lease < min {
            return Err(format!(
                "lease duration {lease:?} is below {min:?}, the shortest that this store keeps"
            ));
        }
        let step = capabilities.lease_duration_step.as_nanos().max(1);
        let steps = u64::try_from(lease.as_nanos().div_ceil(step) * step).unwrap_or(u64::MAX);
        let rounded = Self {
            lease_duration: Some(Duration::from_nanos(steps)),
            renew_deadline: Some(timing.renew_deadline()),
            retry_period: Some(timing.retry_period()),
            request_timeout: Some(timing.request_timeout()),
            stop_grace: Some(timing.stop_grace()),
            clock_margin: Some(timing.clock_margin()),
        };
        rounded.build().map_err(|error| error.to_string())
    }
}
