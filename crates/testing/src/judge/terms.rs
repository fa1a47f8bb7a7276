//! Belief and work, as intervals.

use std::collections::HashMap;
use std::sync::Arc;

use leasehold_core::{Time, Token};

use crate::history::{Event, Span, What};

use super::{Findings, Property, Rules};

/// One term as it was noted.
struct Term {
    span: Span,
    /// When belief ends without another renewal.
    until: Time,
    /// check() said no.
    denied: bool,
    over: bool,
}

/// The times of belief in a history, by beginning.
#[must_use]
pub fn spans(events: &[Event]) -> Vec<Span> {
    believed(events, &Rules::exact(), &mut Findings(Vec::new()))
}

pub(super) fn judge(events: &[Event], rules: &Rules, found: &mut Findings) {
    let beliefs = believed(events, rules, found);
    exclude(&beliefs, rules, Property::BeliefExclusion, "believe", found);
    let works = worked(events, rules, found);
    exclude(&works, rules, Property::WorkExclusion, "work", found);
    stability(events, found);
}

fn believed(events: &[Event], rules: &Rules, found: &mut Findings) -> Vec<Span> {
    let last = events.last().map_or(Time(0), |event| event.at);
    let mut terms: HashMap<(Arc<str>, Token), Term> = HashMap::new();
    for event in events {
        let (at, node) = (event.at, &event.node);
        let key = |token: Token| (node.clone(), token);
        match &event.what {
            What::Up { token, until } => {
                let span = Span { node: node.clone(), token: *token, begin: at, end: Time::NEVER };
                let term = Term { span, until: *until, denied: false, over: false };
                if terms.insert(key(*token), term).is_some() {
                    let text = format!("{node} leads under token {token} again");
                    found.add(Property::NoResurrection, text);
                }
            }
            What::Extended { token, until } => {
                let Some(term) = terms.get_mut(&key(*token)) else { continue };
                // What was made in time may be told late, unless stamps are exact.
                let late = term.denied || rules.marginal.is_zero() && at > term.until;
                if term.over || late {
                    let text = format!("{node} extended its term {token}, which was over");
                    found.add(Property::NoResurrection, text);
                }
                term.until = term.until.max(*until);
            }
            What::Checked { token, leads: false } => {
                if let Some(term) = terms.get_mut(&key(*token)) {
                    term.denied = true;
                }
            }
            What::Checked { token, leads: true } => {
                let Some(term) = terms.get_mut(&key(*token)) else { continue };
                if term.over {
                    let text = format!("check() of {node} says yes to term {token}, which is over");
                    found.add(Property::ReleaseEndsBelief, text);
                }
                // Right or not, that is what was believed.
                term.until = term.until.max(at);
            }
            What::Down { token, .. } | What::Resigned { token } => {
                if let Some(term) = terms.get_mut(&key(*token)) {
                    term.end(at);
                }
            }
            What::Died => {
                terms.values_mut().filter(|term| term.span.node == *node).for_each(|t| t.end(at));
            }
            _ => {}
        }
    }
    let mut spans: Vec<Span> = terms
        .into_values()
        .map(|term| Span { end: term.span.end.min(term.until).min(last), ..term.span })
        .collect();
    spans.sort_by_key(|span| (span.begin, span.token));
    spans
}

impl Term {
    fn end(&mut self, at: Time) {
        self.over = true;
        self.span.end = self.span.end.min(at);
    }
}

/// The times of work. A process that is stopped neither works nor can be told to: what it does on
/// waking is another case's question.
fn worked(events: &[Event], rules: &Rules, found: &mut Findings) -> Vec<Span> {
    let last = events.last().map_or(Time(0), |event| event.at);
    let mut open: HashMap<(Arc<str>, Token), Time> = HashMap::new();
    let mut spans = Vec::new();
    for event in events {
        let (at, node) = (event.at, event.node.clone());
        match event.what {
            What::WorkStarted { token } => {
                open.insert((node, token), at);
            }
            What::WorkStopped { token, dead_by } => {
                let Some(begin) = open.remove(&(node.clone(), token)) else { continue };
                if at > dead_by + rules.marginal {
                    let late = at.since(dead_by);
                    let text = format!("the work of {node} under {token} ran {late:?} too long");
                    found.add(Property::WorkWithinTerm, text);
                }
                spans.push(Span { node, token, begin, end: at });
            }
            What::Stopped(true) | What::Died => {
                let ended = open.extract_if(|(of, _), _| *of == node);
                spans.extend(ended.map(|((node, token), begin)| Span {
                    node,
                    token,
                    begin,
                    end: at,
                }));
            }
            _ => {}
        }
    }
    // It still runs.
    let running = open.into_iter();
    spans.extend(running.map(|((node, token), begin)| Span { node, token, begin, end: last }));
    spans.sort_by_key(|span| span.begin);
    spans
}

/// No two spans of different nodes overlap. The spans are sorted by beginning.
fn exclude(spans: &[Span], rules: &Rules, property: Property, verb: &str, found: &mut Findings) {
    let mut latest: Option<&Span> = None;
    for span in spans {
        if let Some(other) = latest.filter(|other| other.node != span.node) {
            let overlap = other.end.min(span.end).since(span.begin);
            if overlap > rules.marginal {
                let text = format!(
                    "{} under {} and {} under {} {verb} at once for {overlap:?}",
                    other.node, other.token, span.node, span.token
                );
                found.add_lasting(property, text, overlap);
            }
        }
        if latest.is_none_or(|other| span.end > other.end) {
            latest = Some(span);
        }
    }
}

fn stability(events: &[Event], found: &mut Findings) {
    let disturbed =
        |event: &&Event| matches!(event.what, What::Fault { .. } | What::Stopped(_) | What::Died);
    if events.iter().any(|event| disturbed(&event)) {
        return;
    }
    for event in events {
        if let What::Down { token, why } = &event.what
            && !matches!(why.as_str(), "Resigned" | "Dropped")
        {
            let text = format!("{} lost term {token} ({why}) without a fault", event.node);
            found.add(Property::Stability, text);
        }
    }
}
