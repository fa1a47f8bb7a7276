//! A history drawn: for people who want to see what happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use leasehold_core::{Time, printable};

use crate::history::{Answer, Event, What, kind};
use crate::judge::{Span, spans};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 110.0;
const LANE: f64 = 46.0;
const TOP: f64 = 40.0;

/// The longest text in a picture, and the longest line of a history, in characters.
const LONGEST: usize = 2_000;

/// For XML, on one line: what XML cannot hold, and what hides or turns text, is escaped as in
/// Rust's literals.
#[must_use]
pub fn escape(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c => c.to_string(),
    };
    printable(text).at_most(LONGEST).to_string().chars().map(escaped).collect()
}

/// One line an event: the time since the first in seconds, the node, what happened.
#[must_use]
pub fn text(events: &[Event]) -> String {
    let begin = begin(events);
    let mut text = String::new();
    for event in events {
        let at = event.at.since(begin).as_secs_f64();
        let line = format!("{:12} {}", event.node, said(&event.what));
        let _ = writeln!(text, "{at:10.4}  {}", printable(&line).at_most(LONGEST));
    }
    text
}

fn said(what: &What) -> String {
    match what {
        What::Sent { op, intent } => format!("-> {} #{op}", kind(*intent)),
        What::Answered { op, answer } => format!("<- #{op} {answer:?}").to_lowercase(),
        What::GivenUp { op } => format!("gives #{op} up"),
        What::Applied { op, intent, token, replaced, .. } => {
            let over = replaced.map_or_else(String::new, |stamp| format!(" over {}", stamp.token));
            format!("store: {} #{op} applied, token {token}{over}", kind(Some(*intent)))
        }
        What::Refused { op } => format!("store: #{op} refused"),
        What::Up { token, .. } => format!("LEADS under {token}"),
        What::Extended { token, .. } => format!("goes on under {token}"),
        What::Down { token, why } => format!("OVER {token}: {why}"),
        What::Checked { token, leads } => format!("check() of {token}: {leads}"),
        What::Resigned { token } => format!("resigns {token}"),
        What::WorkStarted { token } => format!("work under {token} begins"),
        What::WorkStopped { token, .. } => format!("work under {token} has stopped"),
        What::Effect { token, fenced, accepted } => {
            let kind = if *fenced { "fenced" } else { "unfenced" };
            format!("{kind} effect under {token}: {}", if *accepted { "let in" } else { "refused" })
        }
        What::Told { leader: None } => "is told: nobody leads".to_owned(),
        What::Told { leader: Some((leader, token)) } => {
            format!("is told: {leader} leads under {token:?}")
        }
        What::Stopped(true) => "STOPPED".to_owned(),
        What::Stopped(false) => "goes on".to_owned(),
        What::Died => "KILLED".to_owned(),
        What::Fault { id, what, on: true } => format!("fault {id} on: {what}"),
        What::Fault { id, what, on: false } => format!("fault {id} off: {what}"),
    }
}

fn begin(events: &[Event]) -> Time {
    events.first().map_or(Time(0), |event| event.at)
}

/// A picture: a lane a node, bars of belief with their token, shaded faults, ticks of requests
/// (hollow where the outcome stayed unknown), and red where two believed at once.
#[must_use]
pub fn svg(title: &str, events: &[Event]) -> String {
    let mut lanes: Vec<Arc<str>> = Vec::new();
    for event in events {
        if !lanes.contains(&event.node) {
            lanes.push(event.node.clone());
        }
    }
    let scale = Scale::of(events);
    let lane = |node: &Arc<str>| lanes.iter().position(|known| known == node).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a few lanes")]
    let top = |node: &Arc<str>| TOP + LANE * lane(node) as f64;
    #[expect(clippy::cast_precision_loss, reason = "a few lanes")]
    let height = TOP + LANE * lanes.len() as f64 + 30.0;
    let mut body = String::new();
    faults(events, &scale, &top, &mut body);
    let beliefs = spans(events);
    for span in &beliefs {
        bar(span, &scale, top(&span.node), &mut body);
    }
    overlaps(&beliefs, &scale, height, &mut body);
    for event in events {
        tick(event, &scale, top(&event.node), &mut body);
    }
    for node in &lanes {
        let _ =
            writeln!(body, "<text x=\"4\" y=\"{:.1}\">{}</text>", top(node) + 20.0, escape(node));
    }
    scale.axis(height, &mut body);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n<text x=\"4\" y=\"18\" font-size=\"14\">{}</text>\n{body}</svg>\n",
        escape(title)
    )
}

struct Scale {
    begin: Time,
    seconds: f64,
}

impl Scale {
    fn of(events: &[Event]) -> Self {
        let begin = begin(events);
        let end = events.last().map_or(begin, |event| event.at);
        Self { begin, seconds: end.since(begin).as_secs_f64().max(0.001) }
    }

    fn x(&self, at: Time) -> f64 {
        let share = at.since(self.begin).as_secs_f64() / self.seconds;
        LEFT + share.min(1.0) * (WIDTH - LEFT - 10.0)
    }

    fn axis(&self, height: f64, body: &mut String) {
        for part in 0..=10 {
            let share = f64::from(part) / 10.0;
            let x = LEFT + share * (WIDTH - LEFT - 10.0);
            let seconds = share * self.seconds;
            let _ = writeln!(
                body,
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\" \
                 stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" \
                 fill=\"#666\">{seconds:.2} s</text>",
                height - 28.0,
                height - 12.0
            );
        }
    }
}

fn bar(span: &Span, scale: &Scale, top: f64, body: &mut String) {
    let (from, to) = (scale.x(span.begin), scale.x(span.end));
    let _ = writeln!(
        body,
        "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"18\" \
         fill=\"#7fb37f\"><title>{} leads under {}</title></rect><text x=\"{:.1}\" \
         y=\"{:.1}\">{}</text>",
        top + 6.0,
        (to - from).max(1.0),
        escape(&span.node),
        span.token,
        from + 2.0,
        top + 20.0,
        span.token
    );
}

fn overlaps(beliefs: &[Span], scale: &Scale, height: f64, body: &mut String) {
    for (at, one) in beliefs.iter().enumerate() {
        for other in &beliefs[at + 1..] {
            let (from, to) = (one.begin.max(other.begin), one.end.min(other.end));
            if one.node != other.node && from < to {
                let (x, width) = (scale.x(from), (scale.x(to) - scale.x(from)).max(1.0));
                let _ = writeln!(
                    body,
                    "<rect x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{:.1}\" \
                     fill=\"#d00\" fill-opacity=\"0.35\"><title>two believe</title></rect>",
                    height - TOP - 30.0
                );
            }
        }
    }
}

/// Shades the time of each fault, and of each stop of a process.
fn faults(events: &[Event], scale: &Scale, top: &impl Fn(&Arc<str>) -> f64, body: &mut String) {
    let end = events.last().map_or(Time(0), |event| event.at);
    let mut open: BTreeMap<(Arc<str>, u64), (Time, String)> = BTreeMap::new();
    let mut shaded: Vec<(Arc<str>, Time, Time, String)> = Vec::new();
    for event in events {
        let (id, what, on) = match &event.what {
            What::Fault { id, what, on } => (*id, what.clone(), *on),
            What::Stopped(on) => (u64::MAX, "stopped".to_owned(), *on),
            What::Died => (u64::MAX, "killed".to_owned(), true),
            _ => continue,
        };
        let key = (event.node.clone(), id);
        if on {
            open.insert(key, (event.at, what));
        } else if let Some((from, what)) = open.remove(&key) {
            shaded.push((event.node.clone(), from, event.at, what));
        }
    }
    shaded.extend(open.into_iter().map(|((node, _), (from, what))| (node, from, end, what)));
    for (node, from, to, what) in shaded {
        let (x, width) = (scale.x(from), (scale.x(to) - scale.x(from)).max(1.0));
        let _ = writeln!(
            body,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"40\" fill=\"#c90\" \
             fill-opacity=\"0.25\"><title>{}</title></rect>",
            top(&node),
            escape(&what)
        );
    }
}

fn tick(event: &Event, scale: &Scale, top: f64, body: &mut String) {
    let (fill, title) = match &event.what {
        What::Answered { answer: Answer::Done, .. } => ("#06c", "answered"),
        What::Answered { answer: Answer::Conflict, .. } => ("#c60", "conflict"),
        What::Answered { answer: Answer::Unknown, .. } | What::GivenUp { .. } => {
            ("none", "outcome unknown")
        }
        What::Effect { accepted: true, .. } => ("#000", "effect"),
        What::Effect { accepted: false, .. } => ("#d00", "effect refused"),
        _ => return,
    };
    let (x, y) = (scale.x(event.at), top + 32.0);
    let _ = writeln!(
        body,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{fill}\" \
         stroke=\"#06c\"><title>{title}</title></circle>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, node: &str, what: What) -> Event {
        Event { at: Time(at * 1_000_000), node: node.into(), what }
    }

    #[test]
    fn shows_every_event_and_marks_an_overlap() {
        let up = |token| What::Up { token, until: Time(2_000_000_000) };
        let events = [
            event(0, "a<b", up(1)),
            event(5, "a<b", What::Fault { id: 1, what: "Cut".to_owned(), on: true }),
            event(9, "a<b", What::GivenUp { op: 1 }),
            event(500, "c", up(2)),
            event(900, "c", What::Effect { token: 2, fenced: true, accepted: true }),
        ];
        let text = text(&events);
        assert_eq!(text.lines().count(), events.len());
        assert!(text.contains("LEADS under 2"));
        let picture = svg("overlap", &events);
        assert!(picture.contains("two believe") && picture.contains("a&lt;b"), "{picture}");
        assert!(!svg("alone", &events[..3]).contains("two believe"));
    }
}
