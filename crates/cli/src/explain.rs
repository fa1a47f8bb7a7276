//! `leasehold explain`: what a timing comes to, in words and as a drawing.

mod drawing;

use std::fmt::Write as _;
use std::time::Duration;

use leasehold::TimingSettings;
use leasehold::status::printable;
use leasehold::timing::{Explanation, NotExplained, RequestRate, Timing, slower_by_percent};
use serde_json::{Value, json};

use crate::args::{Colour, ExplainArgs, OutputFormat};
use crate::output::{Paint, answer, json as json_line, print_error};
use crate::{exit, runtime, timing};

/// Where the words behind a moment begin.
const MOMENT: usize = 12;

/// Prints it. Returns the exit code.
#[must_use]
pub fn main(args: &ExplainArgs, colour: Colour) -> u8 {
    let runtime = match runtime::new() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let settings = TimingSettings::from(&args.timing);
    let explained = runtime.block_on(leasehold::timing::explain(args.lock.as_deref(), settings));
    let (json, paint) = (args.output.output == OutputFormat::Json, Paint::stdout(colour));
    match explained {
        Ok(found) if json => {
            answer(&format!("{}\n", json_line(&to_json(&found, args.candidates))), 0)
        }
        Ok(found) => answer(&text(&found, args.candidates, paint), 0),
        Err(NotExplained::Timing(invalid)) if json => {
            let (rule, nearest) = (invalid.rule(), timing::to_json(invalid.nearest()));
            let object = json!({ "v": 1, "valid": false, "rule": rule, "nearest": nearest });
            answer(&format!("{}\n", json_line(&object)), exit::CONFIG)
        }
        Err(NotExplained::Timing(invalid)) => {
            answer(&timing::refused(&invalid, paint), exit::CONFIG)
        }
        Err(NotExplained::Lock(error)) => {
            print_error(&error);
            exit::of_error(&error)
        }
        Err(other) => {
            print_error(&format!("{other:?}"));
            exit::INTERNAL
        }
    }
}

fn text(found: &Explanation, candidates: u64, paint: Paint) -> String {
    let mut text = String::new();
    let about = match &found.name {
        Some(name) => format!("{}: ", printable(name)),
        None => "Any store (--lock for yours): ".to_owned(),
    };
    let kind = match (found.store.push, found.store.by_server) {
        (true, true) => "it tells of changes, and ends leases by its own clock",
        (true, false) => "it tells of changes; candidates count the lease",
        (false, _) => "candidates ask for changes, and count the lease",
    };
    let _ = writeln!(text, "{}{kind}\n", paint.bold(&about));
    let title = "Counted from when the last renewal that succeeded was sent:";
    let _ = writeln!(text, "{}\n", paint.bold(title));
    text.push_str(&drawing::drawn(found, paint));
    text.push('\n');
    moments(found, &mut text);
    let mut section = |title: &str, rows: Vec<(String, String)>| {
        let _ = writeln!(text, "\n{}", paint.bold(title));
        for (value, what) in rows {
            let _ = writeln!(text, "{value:>MOMENT$}  {what}");
        }
    };
    section("Nobody leads, besides two round trips, for at most:", leaderless(found));
    section("It stands:", tolerance(found));
    let fleet = format!("Requests of {candidates} candidates while nothing goes wrong:");
    section(&fleet, requests(found, candidates));
    text
}

/// What happens when, on the holder's clock.
fn moments(found: &Explanation, text: &mut String) {
    let timing = &found.timing;
    let (until, grace) = (timing.renew_deadline(), timing.stop_grace());
    let mut at = |moment: Duration, what: &str| {
        let _ = writeln!(text, "{:>MOMENT$}  {what}", said(moment));
    };
    at(timing.retry_period(), "the next renewal; each that succeeds begins this line anew");
    at(until, "check() is an error from here on; CMD gets SIGTERM");
    at(until + grace, "what still runs of it is killed");
    let dead = said(timing.lease_duration() - until - grace);
    at(
        timing.lease_duration(),
        &format!("the lease may pass; everything has been dead for {dead}"),
    );
    if !found.store.by_server {
        let follows = Timing::wait(timing.lease_duration());
        let latest = said(follows + timing.max_jitter());
        at(follows, &format!("a follower takes over, by {latest} at the latest"));
    }
}

type Rows = Vec<(String, String)>;

fn leaderless(found: &Explanation) -> Rows {
    let worst = found.leaderless;
    let (mut rows, store) = (Rows::new(), found.store);
    let stop = "after a clean stop: the work ends, then the lock is released";
    rows.push((said(worst.clean_stop), stop.to_owned()));
    if found.sees_deaths {
        rows.push((
            said(Duration::ZERO),
            "after a crash: this host knows that the process is gone".into(),
        ));
    }
    let crash = match (found.sees_deaths, store.by_server) {
        (true, _) => "after a freeze",
        (false, true) => "after a crash or a freeze, and what the store takes to end a lease",
        (false, false) => "after a crash or a freeze",
    };
    rows.push((said(worst.crash), crash.to_owned()));
    if let Some(most) = worst.crash_with_dead_watch {
        rows.push((said(most), "the same, where the follower's watch was silently dead".into()));
    }
    rows
}

fn tolerance(found: &Explanation) -> Rows {
    let bounds = &found.bounds;
    let ratio =
        if found.store.by_server { bounds.store_clock_rate_ratio } else { bounds.clock_rate_ratio };
    let whose = if found.store.by_server { "the store's" } else { "a follower's" };
    let percent = slower_by_percent(ratio);
    vec![
        (said(bounds.ride_through), "an outage of the store; the leader leads on".to_owned()),
        (
            "1 reply".to_owned(),
            "lost costs no term: renew, read, renew fit before the deadline".to_owned(),
        ),
        (
            format!("{percent:.1}%"),
            format!("the holder's clock may run this much slower than {whose}"),
        ),
    ]
}

fn requests(found: &Explanation, candidates: u64) -> Rows {
    let mut rows = Rows::new();
    for (span, RequestRate { writes, reads, .. }) in
        [("an hour", found.hourly), ("a month", found.monthly)]
    {
        let reads = reads.saturating_mul(candidates - 1);
        rows.push((writes.to_string(), format!("writes {span}, by the leader")));
        rows.push((reads.to_string(), format!("reads {span}, by all followers")));
    }
    if found.store.by_server {
        rows.push((
            String::new(),
            "A renewal stores nothing here: it is a keep-alive, and a read.".into(),
        ));
    }
    rows
}

fn to_json(found: &Explanation, candidates: u64) -> Value {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).ok();
    let timing = &found.timing;
    let follows = (!found.store.by_server).then(|| Timing::wait(timing.lease_duration()));
    let cost = |requests: RequestRate| {
        json!({ "writes": requests.writes,
        "reads": requests.reads.saturating_mul(candidates - 1) })
    };
    json!({
        "v": 1,
        "valid": true,
        "lock": found.name,
        "store": { "push": found.store.push, "ends_leases": found.store.by_server },
        "timing": timing::to_json(timing),
        "told_to_stop_ms": ms(timing.renew_deadline()),
        "killed_ms": ms(timing.renew_deadline() + timing.stop_grace()),
        "may_pass_ms": ms(timing.lease_duration()),
        "follower_takes_ms": follows.and_then(ms),
        "leaderless": {
            "clean_stop_ms": ms(found.leaderless.clean_stop),
            "crash_ms": ms(found.leaderless.crash),
            "crash_with_dead_watch_ms": found.leaderless.crash_with_dead_watch.and_then(ms),
            "sees_deaths": found.sees_deaths,
        },
        "clock_rate_ratio": if found.store.by_server {
            found.bounds.store_clock_rate_ratio
        } else {
            found.bounds.clock_rate_ratio
        },
        "ride_through_ms": ms(found.bounds.ride_through),
        "candidates": candidates,
        "requests_an_hour": cost(found.hourly),
        "requests_a_month": cost(found.monthly),
    })
}

/// A duration, for people.
fn said(duration: Duration) -> String {
    if duration.is_zero() { "0s".to_owned() } else { format!("{duration:?}") }
}
