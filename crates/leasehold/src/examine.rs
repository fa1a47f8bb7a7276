//! What there is to know of a lock before a program relies on it.

use leasehold_backend::{Diagnose, Finding, Level};
use leasehold_core::{
    BootClock, Clock as _, Error, ErrorKind, Holder, InvalidTiming, Timing, TimingSettings,
    slower_by_percent,
};

use crate::lock_url::LockUrl;
use crate::opened::Opened;

/// The subject of what a store says of the time without a leader.
const FAIL_OVER: &str = "fail-over";

/// What an examination found: see [`examine`].
#[derive(Clone, Debug)]
pub struct Examination {
    /// The lock, for people; `None` if the URL names none.
    pub name: Option<String>,
    /// What a candidate with these settings would have here; `None` if it would be refused.
    pub timing: Option<Timing>,
    /// Why it would be refused, if a rule is broken on every store.
    pub invalid: Option<InvalidTiming>,
    /// In the order in which they matter.
    pub findings: Vec<Finding>,
}

/// Examines the lock that `url` names, its store, and what timing a candidate with these settings
/// would have.
///
/// Two candidates race for a scratch lock next to it, which proves that the store compares and
/// swaps; it is removed. The lock itself is only read. What fails is a finding, so this has no
/// error.
pub async fn examine(url: &str, settings: TimingSettings) -> Examination {
    let opened = match open(url).await {
        Ok(opened) => opened,
        Err(error) => {
            let findings = vec![Finding::of_error("lock", &error)];
            return Examination { name: None, timing: None, invalid: None, findings };
        }
    };
    let lock = opened.diagnose();
    let capabilities = lock.capabilities();
    let by_server = capabilities.ends_leases();
    let chosen = settings.or(&capabilities.default_timing);
    let invalid = chosen.build().err();
    let (timing, of_timing) = match settings.fit(&capabilities) {
        Ok(timing) => (Some(timing), of_timing(&timing, by_server)),
        Err(why) => {
            let cure = "choose a valid timing, best by the lease duration alone";
            let why = invalid.as_ref().map_or(why, |invalid| invalid.rule().to_owned());
            (None, vec![Finding::problem("timing", ErrorKind::Invalid, why, cure)])
        }
    };
    let mut findings = lock.diagnose(&timing.unwrap_or_default()).await;
    // Of a store that cannot be reached enough is said.
    let unreachable = Level::Problem(ErrorKind::Unavailable);
    if !findings.iter().any(|finding| finding.level == unreachable) {
        let take = of_permission(lock, timing.unwrap_or_default()).await;
        // That nothing keeps a candidate from it would contradict a problem.
        if take.level != Level::Good || !findings.iter().any(Finding::is_problem) {
            findings.push(take);
        }
    }
    if timing.is_none() {
        // It says how long nobody leads, which the timing decides.
        findings.retain(|finding| finding.subject != FAIL_OVER || finding.is_problem());
    }
    findings.extend(of_timing);
    Examination { name: Some(lock.name().to_owned()), timing, invalid, findings }
}

/// Whether this candidate could take the lock itself: what is proved with scratch names says
/// nothing of it.
async fn of_permission(lock: &dyn Diagnose, timing: Timing) -> Finding {
    let clock = BootClock::new();
    let timeout = clock.sleep_until(clock.now() + timing.request_timeout());
    let candidate = Holder::of_this_process();
    let answer = tokio::select! {
        biased;
        answer = lock.may_take(&candidate) => answer,
        () = timeout => {
            let why = "no answer within the request timeout";
            Err(Error::new(ErrorKind::Unavailable, "ask whether it may be taken", why))
        }
    };
    Finding::of_permission(&answer)
}

/// A caveat is not logged: it is among the findings.
async fn open(url: &str) -> Result<Opened, Error> {
    LockUrl::parse(url)?.opened().await
}

/// Each rule with its numbers, and what follows from them.
fn of_timing(timing: &Timing, by_server: bool) -> Vec<Finding> {
    let (lease, deadline) = (timing.lease_duration(), timing.renew_deadline());
    let (period, timeout) = (timing.retry_period(), timing.request_timeout());
    let (grace, margin) = (timing.stop_grace(), timing.clock_margin());
    let bounds = timing.bounds();
    let ratio = if by_server { bounds.store_clock_rate_ratio } else { bounds.clock_rate_ratio };
    let slower = slower_by_percent(ratio);
    [
        timing.to_string(),
        format!(
            "retry period {period:?} + 3 x request timeout {timeout:?} = {:?} <= renew deadline \
             {deadline:?}: one lost reply costs no term",
            period + 3 * timeout
        ),
        format!(
            "renew deadline {deadline:?} + stop grace {grace:?} + clock margin {margin:?} = {:?} \
             <= lease duration {lease:?}: the work is dead inside the lease",
            deadline + grace + margin
        ),
        format!(
            "clock margin {margin:?} >= {:?}, and the holder's clock may run {slower:.1} % \
             slower than the one that waits its lease out",
            Timing::min_clock_margin(lease)
        ),
        format!("a leader rides through an outage of the store of {:?}", bounds.ride_through),
    ]
    .map(|text| Finding::good("timing", text))
    .into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_opened_is_a_finding() {
        for (url, says) in [
            ("file:/no/such/directory/x", "does not exist"),
            ("mem:x?y=1", "unknown parameter"),
            ("zk:x", "unknown scheme"),
            ("file:/proc/x", "proc"),
        ] {
            let found = examine(url, TimingSettings::default()).await;
            assert_eq!(found.findings.len(), 1, "{url}: {found:?}");
            let finding = &found.findings[0];
            assert_eq!(finding.level, Level::Problem(ErrorKind::Invalid), "{url}");
            assert!(finding.text.contains(says), "{url}: {finding:?}");
        }
    }

    #[tokio::test]
    async fn a_lock_in_memory_is_good_for_one_process() {
        let found = examine("mem:x", TimingSettings::default()).await;
        let bad = |finding: &Finding| matches!(finding.level, Level::Problem(_));
        assert!(!found.findings.iter().any(bad), "{found:?}");
        assert_eq!(found.findings[0].level, Level::Warning);
        assert!(found.findings.iter().any(|finding| finding.subject == "compare-and-swap"));
    }

    #[cfg(feature = "file")]
    #[tokio::test]
    async fn nothing_is_said_of_a_fail_over_whose_timing_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().join("jobs").display());
        let told = async |settings| {
            let found = examine(&url, settings).await;
            found.findings.iter().any(|finding| finding.subject == FAIL_OVER)
        };
        assert!(told(TimingSettings::default()).await);
        let margin = Some(Duration::from_millis(10));
        assert!(!told(TimingSettings { clock_margin: margin, ..Default::default() }).await);
    }

    #[test]
    fn each_rule_is_shown_with_its_numbers() {
        let slower = |by_server| of_timing(&Timing::default(), by_server)[3].text.clone();
        assert!(slower(true).contains("6.6 % slower"), "{}", slower(true));
        let findings = of_timing(&Timing::default(), false);
        let text: Vec<&str> = findings.iter().map(|finding| finding.text.as_str()).collect();
        let text = text.join("\n");
        for says in [
            "2s + 3 x request timeout 2s = 8s <= renew deadline 10s",
            "= 15s <= lease",
            "6.7 % slower",
            "of 6s",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }
}
