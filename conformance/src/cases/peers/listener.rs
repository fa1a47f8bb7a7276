//! What a candidate of client-go tells, noted in the history: it believes within its own rules, and
//! what it does beyond them is a fault.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leasehold::Token;
use leasehold::timing::Time;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::history::{Event, History, What};
use crate::judge::Span;

/// Closer than this is within what stamps are worth.
const MARGINAL: Duration = Duration::from_millis(2);

/// How the fault of working on is called.
const WORKS_ON: &str = "works on beyond client-go's own bound";

/// How the fault of erasing another's claim is called.
const ERASES: &str = "its release erases the claim of";

/// What is known of one of theirs.
#[derive(Debug)]
pub(super) struct Told {
    node: Arc<str>,
    history: History,
    bound: Duration,
    /// Names its present term.
    term: Cell<Token>,
    /// When its present term ends by its own rules; `None`: its work does not run.
    until: Cell<Option<Time>>,
    /// When it read that another leads.
    knew: Cell<Option<Time>>,
    /// When it last acknowledged a claim of its own.
    renewed: Cell<Time>,
    /// It cannot do anything before.
    awake: Cell<Time>,
    asleep: Cell<bool>,
    /// Whose claim it is about to erase.
    erases: RefCell<Option<String>>,
    has_erased: Cell<bool>,
    faults: Cell<u64>,
}

/// Notes what it tells, until it tells no more.
pub(super) fn listen(
    node: &str,
    mut lines: UnboundedReceiver<String>,
    history: &History,
    bound: Duration,
) -> Rc<Told> {
    let told = Rc::new(Told {
        node: node.into(),
        history: history.clone(),
        bound,
        term: Cell::default(),
        until: Cell::default(),
        knew: Cell::default(),
        renewed: Cell::new(Time(0)),
        awake: Cell::new(Time(0)),
        asleep: Cell::default(),
        erases: RefCell::default(),
        has_erased: Cell::default(),
        faults: Cell::default(),
    });
    let heard = told.clone();
    tokio::task::spawn_local(async move {
        while let Some(line) = lines.recv().await {
            heard.hear(&line);
        }
    });
    told
}

impl Told {
    /// Whether it leads by its own rules.
    pub(super) fn leads(&self, now: Time) -> bool {
        !self.asleep.get() && self.until.get().is_some_and(|until| now < until)
    }

    /// Whether its work runs, or would if it were not stopped.
    pub(super) fn works(&self) -> bool {
        self.until.get().is_some()
    }

    /// Whether it erased the claim of another.
    pub(super) fn has_erased(&self) -> bool {
        self.has_erased.get()
    }

    /// Its process is gone.
    pub(super) fn died(&self) {
        self.history.note(&self.node, What::Died);
        self.until.set(None);
    }

    /// Its process is stopped, or goes on.
    pub(super) fn stopped(&self, stopped: bool) {
        self.history.note(&self.node, What::Stopped(stopped));
        self.asleep.set(stopped);
        if !stopped {
            self.awake.set(self.now());
        }
    }

    fn now(&self) -> Time {
        use leasehold::timing::Clock as _;
        leasehold::timing::BootClock::new().now()
    }

    fn hear(&self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let event = words.next().unwrap_or_default();
        let Some(at) = words.next().and_then(|at| at.parse().ok()).map(Time) else { return };
        let who = words.next().unwrap_or_default();
        let token = self.term.get();
        match event {
            "renewed" => {
                self.renewed.set(at);
                if self.until.get().is_some() {
                    self.until.set(Some(at + self.bound));
                    self.note(at, What::Extended { token, until: at + self.bound });
                }
            }
            "leads" => {
                // It has no token; what names its term here is when that began, in milliseconds.
                let (token, until) = (at.0 / 1_000_000, self.renewed.get() + self.bound);
                self.term.set(token);
                self.until.set(Some(until));
                self.knew.set(None);
                self.note(at, What::Up { token, until });
            }
            "sees" if self.works() => {
                self.knew.set(self.knew.get().or(Some(at)));
            }
            "releases" | "erases" => {
                *self.erases.borrow_mut() = (event == "erases").then(|| who.to_owned());
                self.gives_back(at);
            }
            "released" => {
                if let Some(who) = self.erases.borrow_mut().take() {
                    self.has_erased.set(true);
                    self.fault(at, at + MARGINAL, &format!("{ERASES} {who}"));
                }
            }
            "stops" => self.stops(at),
            _ => {}
        }
    }

    /// From here on it believes no more by its own rules, and its work has not ended.
    fn gives_back(&self, at: Time) {
        if let Some(until) = self.until.get() {
            self.until.set(Some(until.min(at)));
            self.note(at, What::Resigned { token: self.term.get() });
        }
    }

    fn stops(&self, at: Time) {
        let Some(until) = self.until.take() else { return };
        let token = self.term.get();
        let why = match self.knew.take() {
            Some(knew) => format!("it knew for {:.1?}", at.since(knew)),
            None => "its own rules".to_owned(),
        };
        self.note(at, What::Down { token, why });
        let from = until.max(self.awake.get());
        if at > from + MARGINAL {
            self.fault(from, at, WORKS_ON);
        }
    }

    fn note(&self, at: Time, what: What) {
        self.history.note_at(at, &self.node, what);
    }

    fn fault(&self, from: Time, to: Time, what: &str) {
        // Numbers of its own: those of the case begin at 0.
        let id = u64::MAX / 2 + self.faults.get();
        self.faults.set(self.faults.get() + 1);
        for (at, on) in [(from, true), (to, false)] {
            self.note(at, What::Fault { id, what: what.to_owned(), on });
        }
    }
}

/// What client-go did against its own rules, beside whose terms, for the report.
pub(super) fn violations(spans: &[Span], history: &History) -> Vec<String> {
    let events = history.events();
    let begin = events.first().map_or(Time(0), |event| event.at);
    let moment = |at: Time| format!("{:.1} s", at.since(begin).as_secs_f64());
    let mut lines = Vec::new();
    for (index, Event { at, node, what }) in events.iter().enumerate() {
        let What::Fault { id, what, on: true } = what else { continue };
        if what.starts_with(ERASES) {
            lines.push(format!("at {}: {node}: {what}", moment(*at)));
        }
        if what != WORKS_ON {
            continue;
        }
        let ends = |event: &&Event| {
            event.node == *node
                && matches!(event.what, What::Fault { id: it, on: false, .. } if it == *id)
        };
        let end = events[index..].iter().find(ends).map_or(*at, |event| event.at);
        let why = events[index..].iter().find_map(|event| match &event.what {
            What::Down { why, .. } if event.node == *node => Some(why.as_str()),
            _ => None,
        });
        for span in spans.iter().filter(|span| span.node != *node) {
            let beside = end.min(span.end).since((*at).max(span.begin));
            if beside > MARGINAL {
                lines.push(format!(
                    "at {}: {node} worked for {beside:.1?} beside {} ({})",
                    moment((*at).max(span.begin)),
                    span.node,
                    why.unwrap_or_default()
                ));
            }
        }
    }
    lines
}
