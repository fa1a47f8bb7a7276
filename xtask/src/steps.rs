//! Named steps, run in order until one fails. Some run beside that row in processes of their own:
//! what only computes, and what mostly waits for other servers than the row does.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::cargo::target_directory;

/// One step. What it returns is a note for the line that says it passed.
pub(crate) struct Step {
    /// As it is printed, and as a person names it to run it alone.
    pub(crate) name: &'static str,
    /// Runs in `cargo xtask test --quick` too.
    pub(crate) quick: bool,
    /// Where it runs.
    pub(crate) lane: Lane,
    pub(crate) run: fn() -> Result<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// In the row: after the one before, and before the next.
    Row,
    /// Beside the steps of the row that follow it, after the ones of this lane before it. It only
    /// computes, so that it may be slow: at low priority.
    Computes,
    /// The same for what mostly waits, at the priority of the row.
    Waits,
}

impl Lane {
    /// The lanes next to the row.
    const BESIDE: [Self; 2] = [Self::Computes, Self::Waits];

    /// As `nice` takes it.
    const fn niceness(self) -> &'static str {
        match self {
            Self::Computes => "19",
            Self::Row | Self::Waits => "0",
        }
    }

    /// Where the output of its steps goes.
    const fn log(self) -> &'static str {
        match self {
            Self::Computes => "computing.log",
            Self::Row | Self::Waits => "waiting.log",
        }
    }
}

/// Runs the steps. The last line printed is `N passed, N failed`, where N counts steps.
///
/// # Errors
/// Names the step that failed; the ones after it were not run.
pub(crate) fn run(steps: &[&Step]) -> Result<(), String> {
    let begin = Instant::now();
    let of = |lane| steps.iter().copied().filter(move |step| step.lane == lane).collect();
    let row: Vec<&Step> = of(Lane::Row);
    let beside = Lane::BESIDE.map(|lane| (lane, of(lane)));
    let beside: Vec<(Lane, Vec<&Step>)> =
        beside.into_iter().filter(|(_, steps)| !steps.is_empty()).collect();
    let outcome = if beside.is_empty() || row.is_empty() && beside.len() == 1 {
        run_row(steps)
    } else {
        let first = steps.iter().position(|step| step.lane != Lane::Row).unwrap_or_default();
        run_with(&row[..first], &beside, &row[first..])
    };
    if let Err(failed) = &outcome {
        println!("\n{} passed, {} failed", failed.passed, failed.names.len());
        return Err(format!("{} failed", failed.names.join(", ")));
    }
    println!("{:.1} s in all\n{} passed, 0 failed", begin.elapsed().as_secs_f64(), steps.len());
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Failed {
    passed: usize,
    names: Vec<String>,
}

/// One after the other, until one fails.
fn run_row(steps: &[&Step]) -> Result<(), Failed> {
    for (passed, step) in steps.iter().enumerate() {
        println!("==> {}", step.name);
        let began = Instant::now();
        let outcome = (step.run)();
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(note) if note.is_empty() => println!("ok  {} ({seconds:.1} s)\n", step.name),
            Ok(note) => println!("ok  {} ({seconds:.1} s): {note}\n", step.name),
            Err(error) => {
                println!("FAILED  {} ({seconds:.1} s): {error}", step.name);
                let left = names(&steps[passed + 1..]);
                if !left.is_empty() {
                    println!("not run: {}", left.join(", "));
                }
                return Err(Failed { passed, names: vec![step.name.to_owned()] });
            }
        }
    }
    Ok(())
}

/// `beside` begins after `before` and runs beside `after`. Its end is awaited even if those fail.
fn run_with(
    before: &[&Step],
    beside: &[(Lane, Vec<&Step>)],
    after: &[&Step],
) -> Result<(), Failed> {
    run_row(before)?;
    let started: Vec<_> =
        beside.iter().map(|(lane, steps)| (steps, Beside::start(*lane, &names(steps)))).collect();
    let row = run_row(after);
    let mut passed =
        before.len() + row.as_ref().map_or_else(|failed| failed.passed, |()| after.len());
    let mut all = row.err().map_or_else(Vec::new, |failed| failed.names);
    for (steps, lane) in started {
        match lane.and_then(Beside::finish) {
            Ok(()) => passed += steps.len(),
            Err(error) => {
                let names = names(steps).join(" or ");
                println!("FAILED  {names}: {error}");
                all.push(names);
            }
        }
    }
    if all.is_empty() { Ok(()) } else { Err(Failed { passed, names: all }) }
}

fn names(steps: &[&Step]) -> Vec<&'static str> {
    steps.iter().map(|step| step.name).collect()
}

/// Steps in a process of their own. What they print goes to a file, and is shown when they end.
struct Beside {
    process: Child,
    output: PathBuf,
}

impl Beside {
    fn start(lane: Lane, names: &[&str]) -> Result<Self, String> {
        let output = target_directory().join(lane.log());
        let told = |error: std::io::Error| format!("cannot write {}: {error}", output.display());
        let file = File::create(&output).map_err(told)?;
        let copy = file.try_clone().map_err(told)?;
        let this =
            std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
        let mut command = Command::new("nice");
        command.args(["-n", lane.niceness()]).arg(this).arg("test").args(names);
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let process = command.spawn().map_err(|error| format!("cannot start nice: {error}"))?;
        println!("==> {} beside what follows; see {}\n", names.join(", "), output.display());
        Ok(Self { process, output })
    }

    fn finish(mut self) -> Result<(), String> {
        let status = self.process.wait().map_err(|error| format!("cannot wait: {error}"))?;
        let told = fs::read_to_string(&self.output)
            .map_err(|error| format!("cannot read {}: {error}", self.output.display()))?;
        println!("{told}");
        if status.success() { Ok(()) } else { Err(format!("the steps beside ended with {status}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &'static str, run: fn() -> Result<String, String>) -> Step {
        Step { name, quick: false, lane: Lane::Row, run }
    }

    #[test]
    fn a_step_that_fails_ends_the_row_and_is_named() {
        let (good, bad) = (step("good", || Ok(String::new())), step("bad", || Err("no".into())));
        assert_eq!(run_row(&[&good, &good]), Ok(()));
        let failed = Failed { passed: 1, names: vec!["bad".into()] };
        assert_eq!(run_row(&[&good, &bad, &good]), Err(failed));
    }
}
