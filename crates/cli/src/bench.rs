//! `leasehold bench`: what a store makes of taking, renewing, releasing and handing over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use leasehold::backend::{
    BoxStream, Capabilities, Change, Holder, LockBackend, Observed, Outcome, Version,
};
use leasehold::doctor::Scratch;
use leasehold::timing::{BootClock, Clock};
use leasehold::{Elector, Error, ErrorKind, Held, TimingSettings};
use serde_json::{Map, Value, json};

use crate::args::{BenchArgs, OutputFormat};
use crate::lock::Lock;
use crate::output::{answer, json as json_line, print_error};
use crate::signals::{Signals, ended};
use crate::{exit, notice, runtime};

/// How long one leads before it hands over: some renewals, and the other's watch is on.
const LEADS: Duration = Duration::from_millis(150);

/// In the order in which they are shown.
const KINDS: [&str; 5] = ["read", "take", "renew", "release", "hand-over"];

/// Measures, and prints. Returns the exit code.
#[must_use]
pub fn main(args: &BenchArgs) -> u8 {
    let runtime = match runtime::new() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let scratch = Scratch::beside(&args.lock.lock, "bench");
    let lock = scratch.lock("lock");
    let (done, left) = runtime.block_on(async {
        let mut signals = Signals::install().ok();
        let done = tokio::select! {
            done = limited(&lock, args) => Ok(done),
            signal = ended(&mut signals) => Err(signal),
        };
        let left = match &done {
            // Who may write nothing, or cannot, has left nothing.
            Ok(Err(error)) if error.kind() != ErrorKind::Unavailable => Ok(()),
            _ => removed(&scratch, &lock).await,
        };
        (done, left)
    });
    runtime.shutdown_background();
    if let Err(error) = left {
        print_error(&format!("the scratch lock is left over: {error}"));
    }
    let done = match done {
        Ok(done) => done,
        Err(signal) => return exit::by_signal(signal),
    };
    match done {
        Ok(times) => match args.output.output {
            OutputFormat::Text => answer(&text(&times), 0),
            OutputFormat::Json => answer(&format!("{}\n", json_line(&to_json(&times))), 0),
        },
        Err(error) => {
            print_error(&error);
            exit::of_error(&error)
        }
    }
}

/// How long removing the scratch lock may take.
const REMOVAL: Duration = Duration::from_secs(5);

async fn removed(scratch: &Scratch, lock: &str) -> Result<(), Error> {
    let clock = BootClock::new();
    tokio::select! {
        removed = scratch.remove(lock) => removed,
        () = clock.sleep_until(clock.now() + REMOVAL) => Err(Error::new(
            ErrorKind::Unavailable,
            "remove the scratch lock",
            format!("no answer within {REMOVAL:?}"),
        )),
    }
}

type Times = BTreeMap<&'static str, Vec<Duration>>;

async fn limited(scratch: &str, args: &BenchArgs) -> Result<Times, Error> {
    let clock = BootClock::new();
    let end = clock.now() + args.timeout;
    tokio::select! {
        done = measured(scratch, args.rounds, &clock) => done,
        () = clock.sleep_until(end) => Err(Error::new(
            ErrorKind::Unavailable,
            "measure the store",
            format!("it did not end within {:?}", args.timeout),
        )),
    }
}

async fn measured(scratch: &str, rounds: u32, clock: &BootClock) -> Result<Times, Error> {
    let lock = Lock::connect(scratch).await?.backend();
    let timed = Timed { lock, clock: clock.clone(), times: Arc::default() };
    let lease = timed.capabilities().min_lease_duration.max(Duration::from_secs(10));
    let settings = TimingSettings {
        lease_duration: Some(lease),
        // Often, so that there is something to measure.
        retry_period: Some(Duration::from_millis(40)),
        ..TimingSettings::default()
    };
    let candidate = |name: &str| {
        let builder = Elector::builder(Arc::new(timed.clone())).identity(name).timing(settings);
        builder.clock(clock.clone()).build()
    };
    let mut candidates = [candidate("bench-a")?, candidate("bench-b")?];
    let mut held = first(&candidates[0]).await?;
    for _ in 0..rounds {
        let (next, stamps) = (candidates[1].clone(), clock.clone());
        let waiting = tokio::spawn(async move {
            let held = next.campaign().await;
            (stamps.now(), held)
        });
        clock.sleep_until(clock.now() + LEADS).await;
        timed.read().await?;
        let began = clock.now();
        held.resign().await?;
        let failed = |error| Error::new(ErrorKind::Stopped, "wait for the other", error);
        let (led, next) = waiting.await.map_err(failed)?;
        held = next?;
        timed.note("hand-over", led.since(began));
        candidates.swap(0, 1);
    }
    held.resign().await?;
    let times = std::mem::take(&mut *timed.times.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(times)
}

/// The first term. Where writing is denied it never comes.
async fn first(elector: &Elector) -> Result<Held, Error> {
    let mut campaign = pin!(elector.campaign());
    let mut changes = pin!(elector.changes());
    loop {
        tokio::select! {
            biased;
            held = &mut campaign => return held,
            status = notice::next(&mut changes) => {
                if let Some(error) = notice::denied(&status) {
                    return Err(error.clone());
                }
            }
        }
    }
}

/// A lock whose requests are timed.
#[derive(Clone, Debug)]
struct Timed {
    lock: Arc<dyn LockBackend>,
    clock: BootClock,
    times: Arc<Mutex<Times>>,
}

impl Timed {
    fn note(&self, what: &'static str, took: Duration) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.entry(what).or_default().push(took);
    }
}

#[async_trait]
impl LockBackend for Timed {
    fn name(&self) -> &str {
        self.lock.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.lock.capabilities()
    }

    fn default_identity(&self) -> Option<String> {
        self.lock.default_identity()
    }

    async fn read(&self) -> Result<Observed, Error> {
        let began = self.clock.now();
        let answer = self.lock.read().await;
        if answer.is_ok() {
            self.note("read", self.clock.now().since(began));
        }
        answer
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let began = self.clock.now();
        let answer = self.lock.write(expected, change).await;
        if matches!(answer, Ok(Outcome::Written(_))) {
            self.note(change.intent.name(), self.clock.now().since(began));
        }
        answer
    }

    async fn may_take(&self, candidate: &Holder) -> Result<(), Error> {
        self.lock.may_take(candidate).await
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        self.lock.watch(after)
    }
}

/// The value that so many percent do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1));
    sorted.get(at - 1).copied().unwrap_or_default()
}

fn sorted(times: &Times, kind: &str) -> Vec<Duration> {
    let mut sorted = times.get(kind).cloned().unwrap_or_default();
    sorted.sort_unstable();
    sorted
}

fn text(times: &Times) -> String {
    let mut text = format!(
        "{:10}{:>10}{:>10}{:>10}{:>10}{:>8}\n",
        "", "median", "90 %", "99 %", "longest", "count"
    );
    for kind in KINDS {
        let times = sorted(times, kind);
        let shown = |percent| format!("{:.1?}", percentile(&times, percent));
        let _ = writeln!(
            text,
            "{kind:10}{:>10}{:>10}{:>10}{:>10}{:>8}",
            shown(50),
            shown(90),
            shown(99),
            shown(100),
            times.len()
        );
    }
    text.push_str(
        "read is the store's own round trip; hand-over begins when the release is sent\n",
    );
    text
}

fn to_json(times: &Times) -> Value {
    let us = |duration: Duration| u64::try_from(duration.as_micros()).ok();
    let mut object = Map::new();
    object.insert("v".to_owned(), json!(1));
    for kind in KINDS {
        let times = sorted(times, kind);
        let value = json!({
            "count": times.len(),
            "p50_us": us(percentile(&times, 50)),
            "p90_us": us(percentile(&times, 90)),
            "p99_us": us(percentile(&times, 99)),
            "max_us": us(percentile(&times, 100)),
        });
        object.insert(kind.replace('-', "_"), value);
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let times: Vec<Duration> = (1..=10).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(5));
        assert_eq!(percentile(&times, 90), Duration::from_millis(9));
        assert_eq!(percentile(&times, 100), Duration::from_millis(10));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
