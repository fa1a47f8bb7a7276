//! What a run found, for people and for machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use leasehold::status::printable;
use leasehold_testing::timeline::escape;

use crate::cases::Case;
use crate::expected::Expectation;
use crate::history::Event;
use crate::verdict::Verdict;

/// The longest line of a report, in characters. Stores, and whoever contends there, have a part in
/// it.
const LONGEST: usize = 4_000;

/// What became of one case.
#[derive(Clone, Debug)]
pub struct Line {
    /// The case.
    pub case: &'static Case,
    /// What was expected.
    pub expectation: Expectation,
    /// What was found.
    pub verdict: Verdict,
    /// How long that took.
    pub took: Duration,
    /// What it said beside its verdict.
    pub notes: Vec<String>,
    /// What happened.
    pub events: Vec<Event>,
    /// It did not end well, and nothing unsafe was seen: with many cases at once that may be the
    /// host's doing.
    pub(crate) crowded: bool,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The backend.
    pub backend: String,
    /// Where randomness began.
    pub seed: u64,
    /// Whether cases were left out by hand.
    pub filtered: bool,
    /// How long the run took.
    pub took: Duration,
    /// By how much the host woke a sleeper too late, at worst.
    pub oversleep: Duration,
    /// The cases, in the order of the catalogue.
    pub lines: Vec<Line>,
}

impl Line {
    /// Whether this is what was expected.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        self.expectation.is_met_by(&self.verdict)
    }

    /// For people: its verdict, and below it what there is to say.
    #[must_use]
    pub fn row(&self) -> String {
        let mark = if self.is_expected() { ' ' } else { '!' };
        let (word, seconds) = (self.verdict.word(), self.took.as_secs_f64());
        let (id, title) = (self.case.id, self.case.title);
        let mut text = format!("{mark} {id:5} {word:16} {seconds:6.1} s  {title}\n");
        let notes = self.notes.iter().map(String::as_str);
        for note in notes.chain([self.verdict.text()]).filter(|note| !note.is_empty()) {
            let _ = writeln!(text, "          {}", printable(note).at_most(LONGEST));
        }
        text
    }
}

impl Report {
    fn count(&self, word: &str) -> usize {
        self.lines.iter().filter(|line| line.verdict.word() == word).count()
    }

    /// The closing line.
    #[must_use]
    pub fn closing(&self) -> String {
        let words =
            ["pass", "fail", "demonstrated", "not demonstrated", "inconclusive", "not applicable"];
        let counts: Vec<String> =
            words.iter().map(|word| format!("{} {word}", self.count(word))).collect();
        format!("{}: {}", self.backend, counts.join(", "))
    }

    /// The cases that nobody has built yet.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = self.lines.iter().filter(|line| line.verdict == Verdict::Missing);
        missing.map(|line| line.case.id).collect()
    }

    /// Why the run failed; empty if it did not.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.lines.is_empty() {
            faults.push("not one case ran".to_owned());
        }
        let inconclusive = self.count("inconclusive");
        if inconclusive * 50 > self.lines.len() {
            faults.push(format!("{inconclusive} of {} are inconclusive", self.lines.len()));
        }
        for line in &self.lines {
            let excused = match line.verdict {
                // Counted above, as a share.
                Verdict::Inconclusive(_) => true,
                Verdict::Missing => self.filtered,
                _ => line.is_expected(),
            };
            if !excused {
                let (id, verdict) = (line.case.id, &line.verdict);
                let expected = line.expectation.word();
                faults.push(format!(
                    "{id}: {}, expected {expected}: {}",
                    verdict.word(),
                    printable(verdict.text()).at_most(LONGEST)
                ));
            }
        }
        faults
    }

    /// The table, for people.
    #[must_use]
    pub fn table(&self) -> String {
        self.lines.iter().map(Line::row).collect()
    }

    /// The report as JSON, without histories.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let cases: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "id": line.case.id, "title": line.case.title,
                    "tier": line.case.tier.to_string(),
                    "verdict": line.verdict.word(), "text": line.verdict.text(),
                    "notes": line.notes,
                    "expected": line.expectation.word(), "seconds": line.took.as_secs_f64(),
                })
            })
            .collect();
        json!({
            "backend": self.backend, "seed": self.seed, "filtered": self.filtered,
            "seconds": self.took.as_secs_f64(), "worst_oversleep_ms": self.oversleep.as_millis(),
            "closing": self.closing(), "missing": self.missing(), "faults": self.faults(),
            "cases": cases,
        })
    }

    /// The report as JUnit XML. What was not tested is "skipped" there, and says why.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let mut cases = String::new();
        let (mut failed, mut skipped) = (0, 0);
        for line in &self.lines {
            let (text, word) = (escape(line.verdict.text()), line.verdict.word());
            let body = match (&line.verdict, line.is_expected()) {
                (Verdict::NotApplicable(_), true) | (Verdict::Missing, _) => {
                    skipped += 1;
                    format!("<skipped message=\"{word}: {text}\"/>")
                }
                (_, true) => String::new(),
                _ => {
                    failed += 1;
                    format!("<failure message=\"{word}: {text}\"/>")
                }
            };
            let _ = writeln!(
                cases,
                "  <testcase classname=\"{}\" name=\"{} {}\" time=\"{:.3}\">{body}</testcase>",
                escape(&self.backend),
                line.case.id,
                escape(line.case.title),
                line.took.as_secs_f64()
            );
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" \
             failures=\"{failed}\" skipped=\"{skipped}\" time=\"{:.3}\">\n{cases}</testsuite>\n",
            escape(&self.backend),
            self.lines.len(),
            self.took.as_secs_f64()
        )
    }
}

impl Expectation {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Demonstrated(_) => "demonstrated",
            Self::NotApplicable(_) => "not applicable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;

    fn report(verdicts: &[Verdict], filtered: bool) -> Report {
        let lines = verdicts
            .iter()
            .zip(CASES)
            .map(|(verdict, case)| Line {
                case,
                expectation: Expectation::Pass,
                verdict: verdict.clone(),
                took: Duration::ZERO,
                notes: Vec::new(),
                events: Vec::new(),
                crowded: false,
            })
            .collect();
        let (took, oversleep) = (Duration::ZERO, Duration::ZERO);
        Report { backend: "etcd".to_owned(), seed: 1, filtered, took, oversleep, lines }
    }

    #[test]
    fn the_closing_line_has_every_count() {
        let verdicts = [
            Verdict::Pass,
            Verdict::Pass,
            Verdict::Fail("<x>".into()),
            Verdict::Demonstrated("y".into()),
            Verdict::Inconclusive("z".into()),
        ];
        let report = report(&verdicts, false);
        assert_eq!(
            report.closing(),
            "etcd: 2 pass, 1 fail, 1 demonstrated, 0 not demonstrated, 1 inconclusive, 0 not \
             applicable"
        );
        assert!(report.to_junit().contains("fail: &lt;x&gt;"));
        assert!(report.to_junit().contains("failures=\"3\""));
    }

    #[test]
    fn nothing_that_was_not_shown_is_green() {
        assert_eq!(report(&[Verdict::Pass], false).faults(), Vec::<String>::new());
        for bad in [
            Verdict::Fail(String::new()),
            Verdict::Demonstrated(String::new()),
            Verdict::NotDemonstrated(String::new()),
            Verdict::NotApplicable(String::new()),
            Verdict::Missing,
        ] {
            assert_eq!(report(&[bad], false).faults().len(), 1);
        }
        assert_eq!(report(&[], false).faults().len(), 1, "no case is red");
        assert!(report(&[Verdict::Missing], true).faults().is_empty(), "somebody chose");
        let mut many = vec![Verdict::Pass; 49];
        many.push(Verdict::Inconclusive(String::new()));
        assert!(report(&many, false).faults().is_empty(), "two percent may be");
        many.pop();
        many.pop();
        many.push(Verdict::Inconclusive(String::new()));
        assert_eq!(report(&many, false).faults().len(), 1);
    }
}
