//! The suite's command line, shared by the project's command and the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cases::{CASES, Tier};
use crate::expected::{Expectation, Expected};
use crate::failed::Failed;
use crate::options::Options;
use crate::own::{self, Own, Says};
use crate::report::{Line, Report};
use crate::runner;
use crate::stop::Stop;
use crate::stores::{self, Store, Target};
use crate::timeline;

/// How it is called.
pub const USAGE: &str = "\
Usage: leasehold-conformance [OPTION...] [BACKEND [FILTER]]

  BACKEND            memory, memory-server (whose clock ends leases), memory-poll (without push),
                     memory-forgets (may go back), file, etcd, etcd-least (everybody may use one
                     lock and nothing else), k8s (k8s+lease and k8s+endpoints), valkey, redis,
                     redis-least, redis-replicated, redis-sentinel, redis-cluster, or the URL of a
                     lock next to which locks may be made; without one, those that need no server
  FILTER             cases by name (EX4), group (EX) or words of their title, several by commas

  --list             name the cases, and what would make each fail; runs none
  --slow             the slow and the random tier too
  --built            leave out cases that nobody has built yet
  --seed N           where randomness begins (1)
  --parallel N       how many cases run at a time where time is real (16)
  --json FILE        the report as JSON
  --junit FILE       the report as JUnit XML
  --histories DIR    every history as JSON lines, text and SVG
";

/// What was asked for.
#[derive(Debug, Default)]
struct Request {
    backend: Option<String>,
    options: Options,
    help: bool,
    list: bool,
    json: Option<PathBuf>,
    junit: Option<PathBuf>,
    histories: Option<PathBuf>,
}

/// Runs the command; whether everything was as expected.
///
/// # Errors
/// It was called wrongly, the store cannot be used, or a file cannot be written.
pub fn run(
    arguments: &[String],
    stop: &Stop,
    mut say: impl FnMut(Says<'_>) + Send,
) -> Result<bool, Failed> {
    let mut request = parse(arguments).map_err(Failed::Usage)?;
    request.options.stop = stop.clone();
    let mut say_verdict = |text: &str| say(Says::Verdict(text));
    if request.help {
        say_verdict(USAGE.trim_end());
        return Ok(true);
    }
    if request.list {
        list(request.backend.as_deref(), &mut say_verdict).map_err(Failed::Usage)?;
        return Ok(true);
    }
    if let Some(url) = request.backend.as_ref().filter(|backend| backend.contains(':')) {
        let Options { filter, slow, seed, stop, .. } = request.options.clone();
        let own = Own { url: url.clone(), filter, slow, seed, command: None, stop };
        let ran = own::run(&own, say)?;
        keep(&request, &[ran.report]).map_err(Failed::Other)?;
        return Ok(ran.as_expected);
    }
    request.options.check_filter("")?;
    let mut reports = Vec::new();
    for store in named(request.backend.as_deref())? {
        let target = (store.start)().map_err(Failed::Other)?;
        reports.push(one(&target, &request, &mut say_verdict).map_err(Failed::Other)?);
        if let Some(signal) = stop.asked() {
            return Err(Failed::Stopped(signal));
        }
    }
    keep(&request, &reports).map_err(Failed::Other)?;
    Ok(reports.iter().all(|report| report.faults().is_empty()))
}

/// Writes the files that were asked for.
fn keep(request: &Request, reports: &[Report]) -> Result<(), String> {
    if let Some(file) = &request.json {
        let all: Vec<_> = reports.iter().map(Report::to_json).collect();
        write(file, &format!("{:#}\n", serde_json::Value::from(all)))?;
    }
    if let Some(file) = &request.junit {
        write(file, &reports.iter().map(Report::to_junit).collect::<String>())?;
    }
    if let Some(directory) = &request.histories {
        for report in reports {
            histories(&directory.join(&report.backend), report)?;
        }
    }
    Ok(())
}

fn one(
    target: &Arc<dyn Target>,
    request: &Request,
    say: &mut (impl FnMut(&str) + Send),
) -> Result<Report, String> {
    let expected = Expected::of(target.backend())?;
    let told = Mutex::new(say);
    let report = runner::run(target, &expected, &request.options, |line: &Line| {
        told.lock().unwrap_or_else(PoisonError::into_inner)(line.row().trim_end());
    });
    let say = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    if request.options.stop.asked().is_some() {
        return Ok(report);
    }
    let missing = report.missing();
    if !missing.is_empty() {
        say(&format!("{}: {} not built yet: {}", report.backend, missing.len(), missing.join(" ")));
    }
    for fault in report.faults() {
        say(&format!("NOT AS EXPECTED  {fault}"));
    }
    say(&format!(
        "seed {}, {:.1} s, worst oversleep of the host {:?}",
        report.seed,
        report.took.as_secs_f64(),
        report.oversleep
    ));
    say(&report.closing());
    Ok(report)
}

/// Keeps every history, as a machine, a reader and a browser take it.
fn histories(directory: &Path, report: &Report) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot make {}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(failed)?;
    for line in report.lines.iter().filter(|line| !line.events.is_empty()) {
        let id = line.case.id;
        let lines: String =
            line.events.iter().map(|event| format!("{}\n", event.to_json())).collect();
        write(&directory.join(format!("{id}.jsonl")), &lines)?;
        write(&directory.join(format!("{id}.txt")), &timeline::text(&line.events))?;
        let title = format!("{} {id}: {}", report.backend, line.case.title);
        write(&directory.join(format!("{id}.svg")), &timeline::svg(&title, &line.events))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// The stores of that name, or those that need no server.
fn named(backend: Option<&str>) -> Result<Vec<&'static Store>, Failed> {
    let is_named = |store: &&Store| match backend {
        Some(backend) => store.names.contains(&backend),
        None => store.by_default,
    };
    let named: Vec<_> = stores::all().filter(is_named).collect();
    match backend.filter(|_| named.is_empty()) {
        None => Ok(named),
        Some(other) => Err(Failed::Usage(format!(
            "there is no backend {other:?}; a URL names a store of yours"
        ))),
    }
}

fn list(backend: Option<&str>, say: &mut impl FnMut(&str)) -> Result<(), String> {
    let expected = backend.map(Expected::of).transpose()?;
    for case in CASES {
        let tier = if case.tier == Tier::Fast { "" } else { " (slow)" };
        say(&format!("{:5}{tier} {}", case.id, case.title));
        match case.fails_if {
            Some(fails_if) => say(&format!("        fails if {fails_if}")),
            None => say("        not built yet"),
        }
        match expected.as_ref().map(|expected| expected.case(case.id)) {
            Some(Expectation::NotApplicable(why)) => say(&format!("        not applicable: {why}")),
            Some(Expectation::Demonstrated(why)) => say(&format!("        demonstrated: {why}")),
            Some(Expectation::Pass) | None => {}
        }
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut plain = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value =
            || rest.next().cloned().ok_or_else(|| format!("{argument} needs a value after it"));
        match argument.as_str() {
            "--help" | "-h" => request.help = true,
            "--list" => request.list = true,
            "--slow" => request.options.slow = true,
            "--built" => request.options.built_only = true,
            "--seed" => request.options.seed = number(&value()?)?,
            "--parallel" => {
                let count = number(&value()?)?;
                request.options.parallel = usize::try_from(count).unwrap_or(usize::MAX);
            }
            "--json" => request.json = Some(value()?.into()),
            "--junit" => request.junit = Some(value()?.into()),
            "--histories" => request.histories = Some(value()?.into()),
            flag if flag.starts_with('-') => return Err(format!("there is no option {flag}")),
            word => plain.push(word.to_owned()),
        }
    }
    let mut plain = plain.into_iter();
    request.backend = plain.next();
    request.options.filter = plain.next();
    match plain.next() {
        Some(word) => Err(format!("{word:?} is one word too many")),
        None => Ok(request),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_no| format!("{text:?} is not a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn reads_its_command_line() {
        let request = parsed("memory EX,Q1 --seed 7 --slow").unwrap();
        assert_eq!(request.backend.as_deref(), Some("memory"));
        assert_eq!((request.options.seed, request.options.slow), (7, true));
        let chosen: Vec<&str> = request.options.chosen().iter().map(|case| case.id).collect();
        assert_eq!(chosen, ["Q1", "EX1", "EX2", "EX3", "EX4", "EX5", "EX6"]);
        assert!(request.options.is_filtered());
        assert_eq!(parsed("memory").unwrap().options.chosen().len(), 75);
        for (line, says) in [
            ("--frob", "no option"),
            ("--seed", "needs a value"),
            ("--seed x", "whole number"),
            ("memory Q1 x", "one word too many"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let nothing = ["memory".to_owned(), "NOSUCH".to_owned()];
        assert!(
            run(&nothing, &Stop::default(), |_| {}).unwrap_err().to_string().contains("NOSUCH")
        );
        let unknown = run(&["zk".to_owned()], &Stop::default(), |_| {}).unwrap_err();
        assert!(matches!(unknown, Failed::Usage(why) if why.contains("no backend")));
    }
}
