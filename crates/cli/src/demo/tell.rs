//! What is told of a history: the events that matter, in words.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use leasehold::Token;
use leasehold::timing::Time;
use leasehold_testing::history::{Event, What};
use leasehold_testing::judge::Violation;

use super::stage::FENCED;
use crate::output::Paint;

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Good news.
    Good,
    /// A fault, or what it led to.
    Bad,
    /// Something is uncertain.
    Doubtful,
    /// By the way.
    Plain,
}

/// One line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, since the beginning.
    pub at: Duration,
    /// Who it is about.
    pub who: String,
    /// What happened.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
}

impl Line {
    /// As text.
    #[must_use]
    pub fn painted(&self, paint: Paint) -> String {
        let text = match self.tone {
            Tone::Good => paint.good(&self.text),
            Tone::Bad => paint.bad(&self.text),
            Tone::Doubtful => paint.doubtful(&self.text),
            Tone::Plain => self.text.clone(),
        };
        let at = format!("{:.3}", self.at.as_secs_f64());
        format!("{at:>8}  {:8}  {text}", self.who).trim_end().to_owned()
    }
}

/// Turns events into lines. Keeps what it must know of the past.
#[derive(Debug)]
pub(super) struct Teller {
    begin: Time,
    /// Up to when somebody believed.
    believed: Option<Time>,
    /// Who led last.
    leader: Option<Arc<str>>,
    terms: HashMap<Token, Term>,
    /// Reported once a fault: what strikes in several ways is one thing.
    cut: HashMap<Arc<str>, usize>,
    pub(super) led: usize,
}

#[derive(Debug)]
struct Term {
    until: Time,
}

impl Teller {
    pub(super) fn new(begin: Time) -> Self {
        Self {
            begin,
            believed: None,
            leader: None,
            terms: HashMap::new(),
            cut: HashMap::new(),
            led: 0,
        }
    }

    pub(super) fn line(&self, at: Time, who: &str, tone: Tone, text: impl Into<String>) -> Line {
        Line { at: at.since(self.begin), who: who.to_owned(), text: text.into(), tone }
    }

    /// What the checker says in the end.
    pub(super) fn verdict(&self, now: Time, events: usize, violations: &[Violation]) -> Vec<Line> {
        let count = format!("{events} events, {} terms", self.led);
        let line = |tone, text| self.line(now, "checker", tone, text);
        match violations {
            [] => vec![line(Tone::Good, format!("{count}: never two leaders, no token twice"))],
            found => {
                let line = |violation: &Violation| line(Tone::Bad, violation.to_string());
                let mut lines: Vec<Line> = found.iter().map(line).collect();
                lines.push(self.line(
                    now,
                    "checker",
                    Tone::Bad,
                    format!("{count}: this must not be"),
                ));
                lines
            }
        }
    }

    /// The line for this event, if it is worth one.
    pub(super) fn tell(&mut self, event: &Event) -> Option<Line> {
        let Event { at, node, what } = event;
        let (tone, text) = match what {
            What::Up { token, until } => {
                let gap = self.believed.map(|before| at.since(before));
                self.terms.insert(*token, Term { until: *until });
                self.believed = self.believed.max(Some(*until));
                self.leader = Some(node.clone());
                self.led += 1;
                let text = match gap {
                    None => format!("leads under token {token}"),
                    Some(gap) => format!("leads under token {token}; nobody did for {gap:.2?}"),
                };
                (Tone::Good, text)
            }
            What::Extended { token, until } => {
                if let Some(term) = self.terms.get_mut(token) {
                    term.until = *until;
                }
                self.believed = self.believed.max(Some(*until));
                return None;
            }
            What::Down { token, why } => {
                let late = self.terms.get(token).map(|term| at.since(term.until));
                if matches!(why.as_str(), "Resigned" | "Dropped") {
                    self.believed = Some(*at);
                    (Tone::Plain, format!("has given back token {token}: its work had stopped"))
                } else if why == "DriverGone" {
                    return None;
                } else {
                    let late = late.filter(|late| *late > Duration::from_millis(500));
                    let late = late.map_or_else(String::new, |late| format!(", {late:.2?} late"));
                    (Tone::Doubtful, format!("knows term {token} is over{late} ({why})"))
                }
            }
            What::Died => {
                // Nobody leads from here on, and not from when it would have had to know.
                if self.leader.as_ref() == Some(node) {
                    self.believed = self.believed.min(Some(*at));
                }
                (Tone::Bad, "is killed".to_owned())
            }
            What::Stopped(true) => (Tone::Bad, "stands still".to_owned()),
            What::Stopped(false) => {
                (Tone::Doubtful, "goes on, as if nothing had happened".to_owned())
            }
            What::Fault { on, .. } => return self.fault(*at, node, *on),
            What::Effect { token, fenced: true, accepted: false } => {
                debug_assert_eq!(&**node, FENCED);
                let text = format!("refuses the late token {token}; unfenced let it in");
                (Tone::Good, text)
            }
            _ => return None,
        };
        Some(self.line(*at, node, tone, text))
    }

    /// A cut is several faults at once.
    fn fault(&mut self, at: Time, node: &Arc<str>, on: bool) -> Option<Line> {
        let count = self.cut.entry(node.clone()).or_default();
        let before = *count;
        *count = if on { before + 1 } else { before.saturating_sub(1) };
        match (before, *count) {
            (0, 1) => Some(self.line(at, node, Tone::Bad, "is cut off from the store")),
            (1, 0) => Some(self.line(at, node, Tone::Plain, "reaches the store again")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Behind the time and the name, in 80 columns.
    const ROOM: usize = 60;

    #[test]
    fn every_line_fits_a_narrow_terminal() {
        let (token, begin) = (1_795_300_402_096, Time(0));
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut teller = Teller::new(begin);
        let mut told = Vec::new();
        for (seconds, node, what) in [
            (1, "node-a", What::Up { token: 1, until: at(2) }),
            (30, "node-b", What::Up { token, until: at(32) }),
            (31, "node-b", What::Stopped(true)),
            (90, "node-b", What::Stopped(false)),
            (90, "node-b", What::Down { token, why: "Superseded".to_owned() }),
            (91, "node-b", What::Down { token, why: "Resigned".to_owned() }),
            (92, FENCED, What::Effect { token, fenced: true, accepted: false }),
        ] {
            let event = Event { at: at(seconds), node: node.into(), what };
            told.extend(teller.tell(&event));
        }
        assert_eq!(told.len(), 7);
        teller.led = 999;
        told.extend(teller.verdict(at(93), 99_999, &[]));
        for line in told {
            assert!(line.text.chars().count() <= ROOM, "{line:?}");
        }
    }

    #[test]
    fn nobody_leads_from_the_moment_of_a_kill() {
        let begin = Time(0);
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut teller = Teller::new(begin);
        let mut told = Vec::new();
        for (seconds, node, what) in [
            (1, "a", What::Up { token: 1, until: at(9) }),
            // One that does not lead.
            (2, "c", What::Died),
            (3, "a", What::Died),
            (11, "b", What::Up { token: 2, until: at(20) }),
        ] {
            let event = Event { at: at(seconds), node: node.into(), what };
            told.extend(teller.tell(&event));
        }
        assert!(told[3].text.contains("nobody did for 8.00s"), "{:?}", told[3]);
    }
}
