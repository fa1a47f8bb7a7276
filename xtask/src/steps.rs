//! Named steps, run in order until one fails; what only computes runs beside those that mostly
//! wait.

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
    /// Only computes, and does not mind to be slow: runs at low priority beside the steps that
    /// follow it.
    pub(crate) computes: bool,
    pub(crate) run: fn() -> Result<String, String>,
}

/// Runs the steps. The last line printed is `N passed, N failed`, where N counts steps.
///
/// # Errors
/// Names the step that failed; the ones after it were not run.
pub(crate) fn run(steps: &[&Step]) -> Result<(), String> {
    let begin = Instant::now();
    let (beside, row): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| step.computes);
    let outcome = if beside.is_empty() || row.is_empty() {
        run_row(steps)
    } else {
        let first = steps.iter().position(|step| step.computes).unwrap_or_default();
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
fn run_with(before: &[&Step], beside: &[&Step], after: &[&Step]) -> Result<(), Failed> {
    run_row(before)?;
    let failed = |names| Failed { passed: before.len(), names };
    let computing = Beside::start(&names(beside)).map_err(|error| {
        println!("FAILED  {}: {error}", names(beside).join(", "));
        failed(names(beside).into_iter().map(str::to_owned).collect())
    })?;
    let row = run_row(after);
    let computed = computing.finish();
    let mut passed =
        before.len() + row.as_ref().map_or_else(|failed| failed.passed, |()| after.len());
    let mut all = row.err().map_or_else(Vec::new, |failed| failed.names);
    match computed {
        Ok(()) => passed += beside.len(),
        Err(error) => {
            println!("FAILED  {error}");
            all.push(names(beside).join(" or "));
        }
    }
    if all.is_empty() { Ok(()) } else { Err(Failed { passed, names: all }) }
}

fn names(steps: &[&Step]) -> Vec<&'static str> {
    steps.iter().map(|step| step.name).collect()
}

/// Steps in a process of their own at low priority. What they print goes to a file, and is shown
/// when they end.
struct Beside {
    process: Child,
    output: PathBuf,
}

impl Beside {
    fn start(names: &[&str]) -> Result<Self, String> {
        let output = target_directory().join("computing.log");
        let told = |error: std::io::Error| format!("cannot write {}: {error}", output.display());
        let file = File::create(&output).map_err(told)?;
        let copy = file.try_clone().map_err(told)?;
        let this =
            std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
        let mut command = Command::new("nice");
        command.args(["-n", "10"]).arg(this).arg("test").args(names);
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
        Step { name, quick: false, computes: false, run }
    }

    #[test]
    fn a_step_that_fails_ends_the_row_and_is_named() {
        let (good, bad) = (step("good", || Ok(String::new())), step("bad", || Err("no".into())));
        assert_eq!(run_row(&[&good, &good]), Ok(()));
        let failed = Failed { passed: 1, names: vec!["bad".into()] };
        assert_eq!(run_row(&[&good, &bad, &good]), Err(failed));
    }
}
