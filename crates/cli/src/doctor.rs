//! `leasehold doctor`: whether a lock can be relied on, and what to do if not.

use std::fmt::Write as _;
use std::pin::pin;
use std::time::Duration;

use leasehold::doctor::{Examination, Finding, Level, examine};
use leasehold::status::{printable, redacted};
use leasehold::timing::{BootClock, Clock};
use leasehold::{ErrorKind, TimingSettings};
use serde_json::{Value, json};

use crate::args::{Colour, DoctorArgs, OutputFormat};
use crate::output::{Paint, answer, json as json_line, print_error};
use crate::signals::{Signals, ended};
use crate::{exit, runtime, timing};

/// The end of an examination, should the store keep it waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an examination may go on after a signal, until its scratch lock is removed.
const REMOVAL: Duration = Duration::from_secs(5);

const LEFT: &str = "a scratch lock may be left over: its name has leasehold-doctor- in it";

/// Where the texts begin: behind the level and the subject.
const COLUMN: usize = 9 + 18;

/// What is printed, and the exit code.
#[derive(Debug)]
pub struct Report {
    /// For people, or as JSON.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

/// Prints what is found. Returns the exit code.
#[must_use]
pub fn main(args: &DoctorArgs, colour: Colour) -> u8 {
    let runtime = match runtime::new() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let report = runtime.block_on(uninterrupted(args, Paint::stdout(colour)));
    runtime.shutdown_background();
    match report {
        Ok(report) => answer(&report.text, report.code),
        Err(signal) => exit::by_signal(signal),
    }
}

/// The report, or the signal that ended the examination. A signal lets it remove its scratch lock
/// first, which it does within a moment; a second one does not.
async fn uninterrupted(args: &DoctorArgs, paint: Paint) -> Result<Report, u8> {
    let mut signals = Signals::install().ok();
    let mut report = pin!(painted(args, paint));
    let signal = tokio::select! {
        biased;
        report = &mut report => return Ok(report),
        signal = ended(&mut signals) => signal,
    };
    let clock = BootClock::new();
    tokio::select! {
        biased;
        _ = report => {}
        _ = ended(&mut signals) => print_error(&LEFT),
        () = clock.sleep_until(clock.now() + REMOVAL) => print_error(&LEFT),
    }
    Err(signal)
}

/// Examines the lock; the report is not coloured.
pub async fn report(args: &DoctorArgs) -> Report {
    painted(args, Paint(false)).await
}

async fn painted(args: &DoctorArgs, paint: Paint) -> Report {
    let clock = BootClock::new();
    let settings = TimingSettings::from(&args.timing);
    let mut found = tokio::select! {
        found = examine(&args.lock.lock, settings) => found,
        () = clock.sleep_until(clock.now() + PATIENCE) => Examination {
            name: None,
            timing: None,
            invalid: None,
            findings: vec![Finding::problem(
                "store",
                ErrorKind::Unavailable,
                format!("the examination did not end within {PATIENCE:?}"),
                "look at the store; a disk or a member of it hangs",
            )],
        },
    };
    if let Some(invalid) = &found.invalid {
        // As flags, to be typed.
        let nearest =
            timing::flags(invalid.nearest()).split_whitespace().collect::<Vec<_>>().join(" ");
        let refused = |finding: &&mut Finding| finding.subject == "timing" && finding.is_problem();
        for finding in found.findings.iter_mut().filter(refused) {
            finding.cure = Some(format!("the nearest valid set: {nearest}"));
        }
    }
    let code = code(&found.findings);
    let text = match args.output {
        OutputFormat::Text => text(&found, paint),
        OutputFormat::Json => format!("{}\n", json_line(&json(&found, code))),
    };
    Report { text, code }
}

/// The first problem decides.
fn code(findings: &[Finding]) -> u8 {
    let problem = findings.iter().find_map(|finding| match finding.level {
        Level::Problem(kind) => Some(exit::of_kind(kind)),
        Level::Good | Level::Warning => None,
    });
    problem.unwrap_or(0)
}

fn text(found: &Examination, paint: Paint) -> String {
    let name = found.name.as_ref().map(|name| format!("{}\n", shown(name)));
    let mut text = name.unwrap_or_default();
    for finding in &found.findings {
        let word = format!("{:9}", word(finding.level));
        let word = match finding.level {
            Level::Good => paint.good(&word),
            Level::Warning => paint.doubtful(&word),
            Level::Problem(_) => paint.bad(&word),
        };
        let _ = writeln!(text, "{word}{:18}{}", finding.subject, shown(&finding.text));
        if let Some(cure) = &finding.cure {
            let _ = writeln!(text, "{:COLUMN$}-> {}", "", shown(cure));
        }
    }
    let count = |level: &str| found.findings.iter().filter(|one| word(one.level) == level).count();
    let (problems, warnings) = (count("problem"), count("warning"));
    let number = |count: usize, what: &str| match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    };
    let _ = writeln!(text, "{}, {}", number(problems, "problem"), number(warnings, "warning"));
    text
}

/// Stores and client libraries have a part in what is found.
fn shown(text: &str) -> String {
    printable(&redacted(text)).at_most(4_000).to_string()
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Good => "ok",
        Level::Warning => "warning",
        Level::Problem(_) => "problem",
    }
}

fn json(found: &Examination, code: u8) -> Value {
    let findings = found.findings.iter().map(|finding| {
        json!({
            "subject": finding.subject,
            "level": word(finding.level),
            "text": redacted(&finding.text),
            "cure": finding.cure.as_deref().map(redacted),
        })
    });
    let findings: Vec<Value> = findings.collect();
    json!({
        "v": 1,
        "lock": found.name,
        "exit_code": code,
        "timing": found.timing.as_ref().map(timing::to_json),
        "findings": findings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(levels: &[Level]) -> Examination {
        let finding = |level: &Level| Finding { level: *level, ..Finding::good("x", "y") };
        let findings = levels.iter().map(finding).collect();
        let name = Some("file:/x".to_owned());
        Examination { name, timing: None, invalid: None, findings }
    }

    #[test]
    fn the_first_problem_is_the_exit_code() {
        use ErrorKind::{Corrupt, Denied, Invalid, Unavailable};
        let problem = Level::Problem;
        for (levels, expected) in [
            (vec![Level::Good, Level::Warning], 0),
            (vec![Level::Warning, problem(Unavailable)], 69),
            (vec![problem(Denied), problem(Unavailable)], 77),
            (vec![problem(Invalid)], 78),
            (vec![problem(Corrupt), problem(Denied)], 78),
        ] {
            assert_eq!(code(&found(&levels).findings), expected, "{levels:?}");
        }
    }

    #[test]
    fn the_last_line_counts() {
        let shown = text(&found(&[Level::Good]), Paint(false));
        assert_eq!(shown, "file:/x\nok       x                 y\nno problems, no warnings\n");
        let shown = text(
            &found(&[Level::Warning, Level::Warning, Level::Problem(ErrorKind::Denied)]),
            Paint(false),
        );
        assert!(shown.ends_with("1 problem, 2 warnings\n"), "{shown}");
    }
}
