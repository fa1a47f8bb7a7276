//! A timing, as it is typed and as JSON.

use std::time::Duration;

use leasehold::timing::{InvalidTiming, Timing};
use serde_json::{Value, json};

use crate::output::{Paint, flag};

/// The rule, and what to type instead.
pub(crate) fn refused(invalid: &InvalidTiming, paint: Paint) -> String {
    format!(
        "{} {}\n\nThe nearest valid set:\n  {}\n",
        paint.bad("invalid:"),
        invalid.rule(),
        paint.good(&flags(invalid.nearest()))
    )
}

/// As they are typed, in two lines.
pub(crate) fn flags(timing: &Timing) -> String {
    format!(
        "--lease-duration {} --renew-deadline {} --retry-period {}\n  --request-timeout {} \
         --stop-grace {} --clock-margin {}",
        flag(timing.lease_duration()),
        flag(timing.renew_deadline()),
        flag(timing.retry_period()),
        flag(timing.request_timeout()),
        flag(timing.stop_grace()),
        flag(timing.clock_margin())
    )
}

/// In milliseconds, as everywhere in our JSON.
pub(crate) fn to_json(timing: &Timing) -> Value {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).ok();
    let bounds = timing.bounds();
    json!({
        "lease_duration_ms": ms(timing.lease_duration()),
        "renew_deadline_ms": ms(timing.renew_deadline()),
        "retry_period_ms": ms(timing.retry_period()),
        "request_timeout_ms": ms(timing.request_timeout()),
        "stop_grace_ms": ms(timing.stop_grace()),
        "clock_margin_ms": ms(timing.clock_margin()),
        "crash_ms": ms(bounds.crash),
        "ride_through_ms": ms(bounds.ride_through),
    })
}
