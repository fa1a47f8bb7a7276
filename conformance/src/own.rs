//! The suite against a store of your own: one that a URL names, or your own `impl LockBackend`.
//!
//! For the latter write a [`Target`]: a name, and a way to open a lock. Whatever else a target can
//! have (a URL, an administrator, backups, servers) adds cases; those that need what is not there
//! are listed as not tested. One test is enough, in a crate that depends on this one without
//! default features:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use leasehold::stores::file::FileLock;
//! use leasehold::Error;
//! use leasehold::backend::LockBackend;
//! use leasehold::timing::Clock;
//! use leasehold_conformance::options::Options;
//! use leasehold_conformance::own;
//! use leasehold_conformance::stores::Target;
//!
//! #[derive(Debug)]
//! struct Mine {
//!     directory: std::path::PathBuf,
//! }
//!
//! #[async_trait::async_trait]
//! impl Target for Mine {
//!     fn backend(&self) -> &str {
//!         "mine"
//!     }
//!
//!     async fn open(
//!         &self,
//!         lock: &str,
//!         _: &Arc<dyn Clock>,
//!     ) -> Result<Arc<dyn LockBackend>, Error> {
//!         // Your own lock here: the same one for everybody who opens that name, and nobody's yet.
//!         Ok(Arc::new(FileLock::open(self.directory.join(lock))?))
//!     }
//! }
//!
//! // In a `#[test]`:
//! let mine = Mine { directory: "/a/new/directory".into() };
//! let ran = own::run_target(Arc::new(mine), &Options::default(), |_| {}).expect("it ran");
//! assert!(ran.as_expected, "{}", ran.report.table());
//! ```

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use leasehold::timing::{BootClock, Clock};
use leasehold::{Error, ErrorKind};
use tokio::runtime::Runtime;

use crate::cases::{CASES, Case};
use crate::expected::Expected;
use crate::failed::Failed;
use crate::options::Options;
use crate::pulse::Pulse;
use crate::report::{Line, Report};
use crate::runner;
use crate::stop::Stop;
use crate::stores::{Target, UrlTarget};
use crate::verdict::Verdict;

/// A store that does not answer for so long is gone, and what is left to run with it.
const GONE: Duration = Duration::from_secs(15);

/// How often it is said that something still runs.
const REMINDER: Duration = Duration::from_secs(10);

/// A lock that no case uses, to see whether the store answers.
const PROBE: &str = "probe";

/// How often the store's pulse is looked at.
const TURN: Duration = Duration::from_millis(200);

/// A store of a user's own, and what to run there.
#[derive(Clone, Default)]
pub struct Own {
    /// A lock. The cases use locks beside it. May hold a password.
    pub url: String,
    /// As the command's filter.
    pub filter: Option<String>,
    /// The slow and the random tier too.
    pub slow: bool,
    /// Where randomness begins.
    pub seed: u64,
    /// The command `leasehold`, for cases about the processes that it starts, if it is known.
    pub command: Option<PathBuf>,
    /// Ends the run early. What it made is removed then, too.
    pub stop: Stop,
}

/// What a run says while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Says<'a> {
    /// A part of the answer.
    Verdict(&'a str),
    /// That it still runs, for somebody who waits.
    Progress(&'a str),
}

/// What came of it.
#[derive(Debug)]
pub struct Ran {
    /// Every case, also those that could not be tested.
    pub report: Report,
    /// Whether all that ran was as expected.
    pub as_expected: bool,
}

/// Runs every case that needs no hand on the servers, tells each verdict as it comes, and what
/// could not be tested.
///
/// # Errors
/// The URL or the filter is wrong; the store cannot be opened or read, or it went away meanwhile,
/// so that what failed says nothing; or the run was stopped.
pub fn run(own: &Own, mut say: impl FnMut(Says<'_>)) -> Result<Ran, Failed> {
    let (filter, slow, seed) = (own.filter.clone(), own.slow, own.seed);
    let stop = own.stop.clone();
    let options = Options { filter, slow, seed, stop, ..Options::default() };
    check_choice(&options)?;
    let runtime = runtime()?;
    let store = runtime.block_on(UrlTarget::open(&own.url)).map_err(Failed::Store)?;
    let store = Arc::new(store.with_command(own.command.clone()));
    say(Says::Verdict(&format!("locks beside this one, all with {} in their names", store.run())));
    let ran = run_in(&runtime, store.clone(), &options, &mut say);
    if own.stop.asked().is_some() {
        // What was under way when the cases were dropped may land yet.
        thread::sleep(TURN);
    }
    if let Err(error) = runtime.block_on(store.remove()) {
        say(Says::Verdict(&format!("cannot remove what was made beside the lock: {error}")));
    }
    ran
}

/// The same, on a [`Target`] of your own. The names of the locks are the same in every run: let the
/// store be empty, or have the target add to each what no other run has.
///
/// # Errors
/// As [`run`].
pub fn run_target(
    target: Arc<dyn Target>,
    options: &Options,
    mut say: impl FnMut(Says<'_>),
) -> Result<Ran, Failed> {
    check_choice(options)?;
    run_in(&runtime()?, target, options, &mut say)
}

fn runtime() -> Result<Runtime, Failed> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failed::Store(Error::new(ErrorKind::Unavailable, "start a runtime", error))
    })
}

fn run_in(
    runtime: &Runtime,
    target: Arc<dyn Target>,
    options: &Options,
    say: &mut impl FnMut(Says<'_>),
) -> Result<Ran, Failed> {
    let options = Options { built_only: true, ..options.clone() };
    let clock: Arc<dyn Clock> = Arc::new(BootClock::new());
    let probe = runtime.block_on(async {
        let probe = target.open(PROBE, &clock).await?;
        probe.read().await.map(|_present| probe)
    });
    let probe = probe.map_err(Failed::Store)?;
    let known = Expected::of(target.backend());
    let expected = known.unwrap_or_else(|_none| Expected::of_any(&probe.capabilities()));
    let (stop, filtered) = (options.stop.clone(), options.filter.is_some());
    let pulse = Pulse::start(target.clone(), PROBE, clock);
    let ran = watched(target, expected, options, &pulse, say);
    if let Some(signal) = stop.asked() {
        return Err(Failed::Stopped(signal));
    }
    let mut report = ran?;
    if filtered && !report.lines.iter().any(is_tested) {
        return Err(Failed::Usage(nothing_tested(&report.lines)));
    }
    // What an administrator would have to do is not ours to do on a store of theirs.
    let (tested, untested) = report.lines.into_iter().partition(is_tested);
    report.lines = tested;
    let faults = report.faults();
    conclude(&report, &untested, &faults, say);
    report.lines.extend(untested);
    say(Says::Verdict(&format!("\n{}", report.closing())));
    Ok(Ran { report, as_expected: faults.is_empty() })
}

/// Whether the filter names something that can run on a store of the user's own.
fn check_choice(options: &Options) -> Result<(), Failed> {
    let choice = format!(". On a store of your own you can choose of: {}", choosable().join(" "));
    options.check_filter(&choice)?;
    let chosen = options.chosen();
    if chosen.iter().all(|case| case.needs_servers()) {
        let ids: Vec<&str> = chosen.iter().map(|case| case.id).collect();
        return Err(Failed::Usage(format!(
            "{} kills, freezes or replaces servers, and those of your store are left alone{choice}",
            ids.join(", ")
        )));
    }
    Ok(())
}

/// The cases that leave servers alone.
fn choosable() -> Vec<&'static str> {
    let choosable = |case: &&Case| case.is_built() && !case.needs_servers();
    CASES.iter().filter(choosable).map(|case| case.id).collect()
}

/// Why none of the cases that were asked for could be tested, and which could.
fn nothing_tested(lines: &[Line]) -> String {
    let why = lines.iter().map(|line| format!("{}: {}", line.case.id, line.verdict.text()));
    let why: Vec<String> = why.collect();
    let asked = |id: &&str| lines.iter().any(|line| line.case.id == *id);
    let others: Vec<&str> = choosable().into_iter().filter(|id| !asked(id)).collect();
    format!(
        "nothing of that can be tested here: {}. Choose of: {}",
        why.join("; "),
        others.join(" ")
    )
}

/// Runs the cases while the store answers.
fn watched(
    target: Arc<dyn Target>,
    expected: Expected,
    options: Options,
    pulse: &Pulse,
    say: &mut impl FnMut(Says<'_>),
) -> Result<Report, Failed> {
    let (began, chosen) = (Instant::now(), options.chosen().len());
    let (sender, lines) = mpsc::channel();
    let running = thread::spawn(move || {
        runner::run(&target, &expected, &options, |line| {
            // Nobody listens once the store is gone.
            let _ = sender.send(line.clone());
        })
    });
    let (mut ended, mut doubtful, mut said) = (0, Vec::new(), Instant::now());
    loop {
        match lines.recv_timeout(TURN) {
            Ok(line) => {
                ended += 1;
                said = Instant::now();
                match is_tested(&line) {
                    // It may be the store's absence that failed it.
                    true if !line.is_expected() => doubtful.push(line),
                    true => say(Says::Verdict(line.row().trim_end())),
                    false => {}
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) if said.elapsed() >= REMINDER => {
                said = Instant::now();
                let seconds = began.elapsed().as_secs();
                say(Says::Progress(&format!("{ended} of {chosen} cases ended in {seconds} s")));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        if pulse.away_for().is_some_and(|away| away >= GONE) {
            let why = pulse.failed().unwrap_or_default();
            let left = chosen - ended + doubtful.len();
            return Err(gone(format!(
                "the store has not answered for {GONE:?}: {why}; of {left} of {chosen} cases \
                 nothing can be said: run them again when it does"
            )));
        }
    }
    let report =
        running.join().map_err(|_panic| Failed::Other("the runner panicked".to_owned()))?;
    if let (Some(why), false) = (pulse.failed(), doubtful.is_empty()) {
        let cases: Vec<&str> = doubtful.iter().map(|line| line.case.id).collect();
        return Err(gone(format!(
            "the store did not answer for a while: {why}; that {} failed says nothing: run them \
             again",
            cases.join(", ")
        )));
    }
    doubtful.iter().for_each(|line| say(Says::Verdict(line.row().trim_end())));
    Ok(report)
}

fn gone(why: String) -> Failed {
    Failed::Store(Error::new(ErrorKind::Unavailable, "test the store", why))
}

fn is_tested(line: &Line) -> bool {
    !matches!(line.verdict, Verdict::NotApplicable(_))
}

fn conclude(report: &Report, untested: &[Line], faults: &[String], say: &mut impl FnMut(Says<'_>)) {
    let mut say = |text: &str| say(Says::Verdict(text));
    say("\nnot tested:");
    for line in untested {
        say(&format!("  {:5} {}: {}", line.case.id, line.case.title, line.verdict.text()));
    }
    let is_missing = |case: &&Case| case.on(false).is_none();
    let missing: Vec<&str> = CASES.iter().filter(is_missing).map(|case| case.id).collect();
    if !missing.is_empty() {
        say(&format!("  not built yet, or for servers of the suite's own: {}", missing.join(" ")));
    }
    for fault in faults {
        say(&format!("NOT AS EXPECTED  {fault}"));
    }
    let (seed, seconds) = (report.seed, report.took.as_secs_f64());
    say(&format!(
        "seed {seed}, {seconds:.1} s, worst oversleep of this host {:?}",
        report.oversleep
    ));
}

/// The URL may hold a password.
impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("filter", &self.filter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use leasehold::backend::LockBackend;
    use leasehold::testing::MemoryLock;

    use super::*;

    /// A name and a way to open a lock, and nothing else.
    #[derive(Debug, Default)]
    struct Mine(std::sync::Mutex<std::collections::HashMap<String, MemoryLock>>);

    #[async_trait]
    impl Target for Mine {
        fn backend(&self) -> &str {
            "mine"
        }

        async fn open(
            &self,
            lock: &str,
            _: &Arc<dyn Clock>,
        ) -> Result<Arc<dyn LockBackend>, Error> {
            let mut locks = self.0.lock().unwrap();
            let lock = locks.entry(lock.to_owned()).or_insert_with(|| MemoryLock::new(lock));
            Ok(Arc::new(lock.clone()))
        }
    }

    #[test]
    fn a_name_and_a_way_to_open_a_lock_are_enough() {
        let filter = Some("Q1,Q2,Q3,BA1,FE1,FE7,SE5".to_owned());
        let options = Options { filter, ..Options::default() };
        let ran = run_target(Arc::new(Mine::default()), &options, |_| {}).unwrap();
        assert!(ran.as_expected, "{}", ran.report.table());
        let untested: Vec<&str> = ran
            .report
            .lines
            .iter()
            .filter(|line| !is_tested(line))
            .map(|line| line.case.id)
            .collect();
        assert_eq!(untested, ["Q2", "FE7"], "no administrator, and no other process reaches it");
        let needs_more = Options { filter: Some("SV1".to_owned()), ..Options::default() };
        let refused = run_target(Arc::new(Mine::default()), &needs_more, |_| {});
        assert!(matches!(refused, Err(Failed::Usage(_))));
    }
}
