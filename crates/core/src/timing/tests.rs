//! The rules of timing, its bounds, and the nearest valid set.

use super::*;
use crate::backend::Capabilities;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

#[test]
fn the_defaults_are_those_of_client_go_with_a_margin() {
    let timing = Timing::default();
    assert_eq!(timing.lease_duration(), s(15));
    assert_eq!(timing.renew_deadline(), s(10));
    assert_eq!(timing.retry_period(), s(2));
    assert_eq!(timing.request_timeout(), s(2));
    assert_eq!(timing.stop_grace(), s(4));
    assert_eq!(timing.clock_margin(), s(1));
}

#[test]
fn a_violation_names_the_rule_the_numbers_and_the_nearest_valid_set() {
    let settings = TimingSettings { renew_deadline: Some(s(16)), ..Default::default() };
    let error = settings.build().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("renew deadline 16s + stop grace 0ns + clock margin 1s"), "{text}");
    assert!(text.contains("above the lease duration 15s"), "{text}");
    let nearest = "the nearest valid set is: lease duration 15s, renew deadline 11.2s, retry \
        period 2s, request timeout 2s, stop grace 0ns, clock margin 1s";
    assert!(text.ends_with(nearest), "{text}");
    assert_eq!(error.nearest().renew_deadline(), ms(11_200));
}

#[test]
fn the_bounds_follow_from_the_durations() {
    let (timing, sent) = (Timing::default(), Time(7));
    assert_eq!(timing.believe_until(sent), sent + s(10));
    assert_eq!(timing.kill_at(sent), sent + s(14));
    assert_eq!(timing.dead_by(sent), sent + s(15));
    let bounds = timing.bounds();
    assert!((bounds.clock_rate_ratio - 15.015 / 14.0).abs() < 1e-9);
    assert!((bounds.store_clock_rate_ratio - 15.0 / 14.0).abs() < 1e-9);
    assert_eq!(bounds.crash, ms(15_015 + 200));
    assert_eq!(bounds.crash_with_dead_watch, ms(15_015 + 200 + 5_000 + 2_000));
    assert_eq!(bounds.ride_through, s(6));
    assert_eq!(TimingSettings::lease_duration(s(5)).build().unwrap().max_jitter(), ms(100));
}

#[test]
fn the_clock_margin_is_a_quarter_second_and_a_thousandth_of_the_lease_at_least() {
    for (lease, least) in [(s(15), ms(250)), (s(3600), ms(3600))] {
        let with = |margin| TimingSettings {
            clock_margin: Some(margin),
            ..TimingSettings::lease_duration(lease)
        };
        assert!(with(least).build().is_ok());
        let error = with(least - us(1)).build().unwrap_err();
        assert!(error.to_string().contains("clock margin"), "{error}");
        assert_eq!(error.nearest().clock_margin(), least);
    }
}

/// The nearest set if these three are chosen, and a clock margin that is none.
fn nearest(renew_deadline: Duration, retry_period: Duration, timeout: Duration) -> Timing {
    let settings = TimingSettings {
        renew_deadline: Some(renew_deadline),
        retry_period: Some(retry_period),
        request_timeout: Some(timeout),
        clock_margin: Some(Duration::ZERO),
        ..Default::default()
    };
    let nearest = *settings.build().unwrap_err().nearest();
    assert_eq!(nearest.check(), Ok(nearest));
    nearest
}

#[test]
fn attempts_that_do_not_fit_are_shortened_alike() {
    let halved = nearest(s(10), s(8), s(4));
    assert_eq!((halved.retry_period(), halved.request_timeout()), (s(4), s(2)));
    // A millisecond at least is left for everything.
    let period = nearest(ms(10), s(1000), ms(1));
    assert_eq!((period.retry_period(), period.request_timeout()), (ms(7), ms(1)));
    let timeout = nearest(us(9500), ms(1), s(1));
    assert_eq!((timeout.retry_period(), timeout.request_timeout()), (ms(1), ms(2)));
}

#[test]
fn what_is_within_the_rules_stays_to_the_last_microsecond() {
    let exact = nearest(us(6000), us(1500), us(1500));
    assert_eq!((exact.retry_period(), exact.request_timeout()), (us(1500), us(1500)));
}

#[test]
fn one_lost_reply_must_fit() {
    let settings = TimingSettings {
        retry_period: Some(s(6)),
        request_timeout: Some(s(2)),
        ..Default::default()
    };
    assert!(settings.build().unwrap_err().to_string().contains("= 12s"));
}

#[test]
fn below_a_second_everything_must_be_chosen() {
    assert!(TimingSettings::lease_duration(s(1)).build().is_ok());
    let short = TimingSettings::lease_duration(ms(600));
    assert!(short.build().unwrap_err().to_string().contains("choose all of them"));
    let chosen = TimingSettings {
        renew_deadline: Some(ms(250)),
        retry_period: Some(ms(50)),
        request_timeout: Some(ms(60)),
        stop_grace: Some(ms(50)),
        clock_margin: Some(ms(250)),
        ..short
    };
    assert!(chosen.build().is_ok());
}

#[test]
fn a_chosen_lease_duration_replaces_the_stores_defaults() {
    let store = TimingSettings {
        lease_duration: Some(s(30)),
        retry_period: Some(s(4)),
        ..Default::default()
    };
    assert_eq!(TimingSettings::default().or(&store), store);
    let own = TimingSettings::lease_duration(s(3));
    assert_eq!(own.or(&TimingSettings::default()), own);
    let own = TimingSettings { retry_period: Some(ms(300)), ..own };
    assert_eq!(own.or(&store), own);
}

#[test]
fn a_chosen_lease_duration_keeps_the_stores_share_of_requests() {
    let store = TimingSettings {
        lease_duration: Some(s(15)),
        retry_period: Some(s(4)),
        ..Default::default()
    };
    for (chosen, period) in [(s(15), s(4)), (s(30), s(8)), (s(60), s(10)), (ms(7500), s(2))] {
        let settings = TimingSettings::lease_duration(chosen).or(&store);
        let timing = settings.build().unwrap();
        assert_eq!(timing.retry_period(), period, "{chosen:?}");
        let plain = TimingSettings::lease_duration(chosen).build().unwrap();
        assert_eq!(timing.renew_deadline(), plain.renew_deadline());
        assert_eq!(timing.request_timeout(), plain.request_timeout());
    }
    // A deadline of one's own leaves less room.
    let own =
        TimingSettings { renew_deadline: Some(s(8)), ..TimingSettings::lease_duration(s(15)) };
    assert_eq!(own.or(&store).build().unwrap().retry_period(), s(2));
}

#[test]
fn a_lease_of_nothing_is_answered_with_a_set_that_somebody_would_use() {
    for lease in [s(0), ms(1), ms(999)] {
        let refused = TimingSettings::lease_duration(lease).build().unwrap_err();
        let shortest = TimingSettings::lease_duration(s(1)).build().unwrap();
        assert_eq!(refused.nearest(), &shortest, "{lease:?}");
    }
}

proptest::proptest! {
    #[test]
    fn every_lease_duration_from_a_second_to_an_hour_is_valid_alone(ms in 1000_u64..=3_600_000) {
        let built = TimingSettings::lease_duration(Duration::from_millis(ms)).build();
        proptest::prop_assert!(built.is_ok(), "{built:?}");
    }

    #[test]
    fn every_lease_duration_is_valid_with_every_share_of_a_store(
        ms in 1000_u64..=3_600_000,
        lease in 1_u64..=3_600_000,
        period in 1_u64..=3_600_000,
    ) {
        let store = TimingSettings {
            lease_duration: Some(Duration::from_millis(lease)),
            retry_period: Some(Duration::from_millis(period)),
            ..Default::default()
        };
        let chosen = TimingSettings::lease_duration(Duration::from_millis(ms));
        let built = chosen.or(&store).build();
        proptest::prop_assert!(built.is_ok(), "{built:?}");
    }

    #[test]
    fn the_nearest_set_is_valid(millis: [Option<u32>; 6]) {
        let pick = |i: usize| millis[i].map(|ms| Duration::from_millis(u64::from(ms) % 5_000_000));
        let settings = TimingSettings {
            lease_duration: pick(0),
            renew_deadline: pick(1),
            retry_period: pick(2),
            request_timeout: pick(3),
            stop_grace: pick(4),
            clock_margin: pick(5),
        };
        if let Err(error) = settings.build() {
            proptest::prop_assert_eq!(error.nearest().check(), Ok(*error.nearest()));
        }
    }

    #[test]
    fn no_duration_is_too_long_or_too_short(ends in proptest::array::uniform6(0..9_usize)) {
        let all = [
            None, Some(Duration::ZERO), Some(Duration::from_nanos(1)), Some(ms(250)), Some(s(1)),
            Some(s(3600)), Some(s(u64::MAX / 2)), Some(s(u64::MAX)), Some(Duration::MAX),
        ];
        let settings = TimingSettings {
            lease_duration: all[ends[0]],
            renew_deadline: all[ends[1]],
            retry_period: all[ends[2]],
            request_timeout: all[ends[3]],
            stop_grace: all[ends[4]],
            clock_margin: all[ends[5]],
        };
        match settings.build() {
            Ok(timing) => drop(format!("{timing} {:?}", timing.bounds())),
            Err(error) => {
                proptest::prop_assert_eq!(error.nearest().check(), Ok(*error.nearest()));
                proptest::prop_assert!(!error.to_string().is_empty());
            }
        }
        proptest::prop_assert!(settings.fit(&coarse()).is_err() || settings.build().is_ok());
    }

    #[test]
    fn work_is_dead_before_a_follower_takes(ms in 1000_u64..=3_600_000, sent: u32) {
        let timing = TimingSettings::lease_duration(Duration::from_millis(ms)).build().unwrap();
        let sent = Time(u64::from(sent));
        let killed = timing.kill_at(sent) + timing.clock_margin();
        proptest::prop_assert!(killed <= timing.dead_by(sent));
        proptest::prop_assert!(timing.dead_by(sent) < sent + Timing::wait(timing.lease_duration()));
        let bounds = timing.bounds();
        proptest::prop_assert!(bounds.store_clock_rate_ratio > 1.0);
        proptest::prop_assert!(bounds.clock_rate_ratio > bounds.store_clock_rate_ratio);
    }
}

/// A store with a shortest lease and whole seconds.
fn coarse() -> Capabilities {
    Capabilities { min_lease_duration: s(2), lease_duration_step: s(1), ..Capabilities::default() }
}

#[test]
fn a_store_rounds_the_lease_up_and_leaves_the_rest() {
    let fit = |lease| TimingSettings::lease_duration(lease).fit(&coarse());
    for (asked, kept) in [(s(2), s(2)), (ms(2001), s(3)), (ms(2999), s(3)), (s(3), s(3))] {
        let (fitted, plain) = (fit(asked).unwrap(), TimingSettings::lease_duration(asked));
        assert_eq!(fitted.lease_duration(), kept);
        assert_eq!(fitted.renew_deadline(), plain.build().unwrap().renew_deadline());
    }
    let short = fit(ms(1999)).unwrap_err();
    assert_eq!(short, "lease duration 1.999s is below 2s, the shortest that this store keeps");
}

/// At that rate the work still ends when the wait does; a tenth of a percent slower would be too
/// slow.
#[test]
fn a_holder_may_be_slower_by_as_much_as_the_ratio_leaves() {
    let timing = Timing::default();
    let percent = slower_by_percent(timing.bounds().clock_rate_ratio);
    let (dead, wait) =
        (timing.renew_deadline() + timing.stop_grace(), Timing::wait(timing.lease_duration()));
    let ends = |percent: f64| dead.as_secs_f64() / (1.0 - percent / 100.0);
    assert!(ends(percent) <= wait.as_secs_f64() && ends(percent + 0.1) > wait.as_secs_f64());
    assert!((slower_by_percent(2.0) - 50.0).abs() < 1e-9);
}
