//! What happened in a case, in order, stamped by one clock.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_core::{Clock, Incarnation, Intent, Time, Token};
use serde_json::{Map, Value, json};

/// A leader gives a sign of life within that time.
const RECENT: Duration = Duration::from_secs(60);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, on the one clock of the case.
    pub at: Time,
    /// To whom: a candidate, an observer, a resource.
    pub node: Arc<str>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A request left.
    Sent {
        /// Counts the requests of a case.
        op: u64,
        /// What for; `None` is a read.
        intent: Option<Intent>,
    },
    /// An answer arrived.
    Answered {
        /// Of which request.
        op: u64,
        /// In what it ended.
        answer: Answer,
    },
    /// Nobody waits for this request any more.
    GivenUp {
        /// Which request.
        op: u64,
    },
    /// The store applied a write. On the wire of a server this is known only from its answer.
    Applied {
        /// Which request.
        op: u64,
        /// What for.
        intent: Intent,
        /// Who is named in what was written.
        holder: Option<Incarnation>,
        /// The token in what is stored now.
        token: Token,
        /// What it replaced, if that is known.
        replaced: Option<Stamp>,
    },
    /// The store refused a write.
    Refused {
        /// Which request.
        op: u64,
    },
    /// A term began.
    Up {
        /// Its token.
        token: Token,
        /// When belief ends without a renewal.
        until: Time,
    },
    /// A renewal moved the end of belief.
    Extended {
        /// Of which term.
        token: Token,
        /// To when.
        until: Time,
    },
    /// A term is over.
    Down {
        /// Which.
        token: Token,
        /// Why.
        why: String,
    },
    /// `check()` was called.
    Checked {
        /// Of which term.
        token: Token,
        /// Whether it said that we lead.
        leads: bool,
    },
    /// The owner gave its term back, and believes no more from here on.
    Resigned {
        /// Which term.
        token: Token,
    },
    /// The work of a term began.
    WorkStarted {
        /// Which term.
        token: Token,
    },
    /// The work of a term ended.
    WorkStopped {
        /// Which term.
        token: Token,
        /// When it had to be dead.
        dead_by: Time,
    },
    /// The resource was written to.
    Effect {
        /// With which token.
        token: Token,
        /// Whether the resource compares tokens.
        fenced: bool,
        /// Whether it was let in.
        accepted: bool,
    },
    /// An observer, or a candidate's status, told who leads.
    Told {
        /// Who and under which token; `None` is nobody.
        leader: Option<(String, Option<Token>)>,
    },
    /// A candidate's process is stopped, or goes on.
    Stopped(bool),
    /// A candidate's process is gone.
    Died,
    /// A fault began or ended.
    Fault {
        /// Counts the faults of a case.
        id: u64,
        /// What kind.
        what: String,
        /// Whether it is on.
        on: bool,
    },
}

/// Who is named in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The holder's incarnation.
    pub holder: Option<Incarnation>,
    /// The record's token.
    pub token: Token,
}

/// In what a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was read, or written.
    Done,
    /// Another was first.
    Conflict,
    /// It failed, or its outcome is unknown.
    Unknown,
}

/// The events of one case. Clones share them.
#[derive(Clone)]
pub struct History {
    clock: Arc<dyn Clock>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl History {
    /// An empty one, stamped by this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, events: Arc::default() }
    }

    /// Notes what happened now.
    pub fn note(&self, node: &Arc<str>, what: What) {
        let mut events = self.lock();
        let at = self.clock.now();
        events.push(Event { at, node: node.clone(), what });
    }

    /// Notes what happened at a moment that another process stamped on the same clock.
    pub fn note_at(&self, at: Time, node: &Arc<str>, what: What) {
        self.lock().push(Event { at, node: node.clone(), what });
    }

    /// All of it, by time.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut events = self.lock().clone();
        events.sort_by_key(|event| event.at);
        events
    }

    /// How many events are of that kind.
    #[must_use]
    pub fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.lock().iter().filter(|event| is(event)).count()
    }

    /// How many events are known; a mark for [`since`](Self::since).
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lock().len()
    }

    /// The events noted after the mark, in the order in which they were noted.
    #[must_use]
    pub fn since(&self, mark: usize) -> Vec<Event> {
        self.lock().get(mark..).map(<[Event]>::to_vec).unwrap_or_default()
    }

    /// The last event of that kind to be noted.
    #[must_use]
    pub fn last(&self, is: impl Fn(&Event) -> bool) -> Option<Event> {
        self.lock().iter().rev().find(|event| is(event)).cloned()
    }

    /// Who believes at `now`, which is not before the last event. Only signs of the last minute
    /// count.
    #[must_use]
    pub fn leader(&self, now: Time) -> Option<Span> {
        let events = self.lock();
        let (mut over, mut dead) = (HashSet::new(), HashSet::new());
        let recent = |event: &&Event| event.at + RECENT >= now;
        for Event { node, what, .. } in events.iter().rev().take_while(recent) {
            match *what {
                What::Down { token, .. } | What::Resigned { token } => {
                    over.insert((node, token));
                }
                What::Died => {
                    dead.insert(node);
                }
                What::Up { token, until } | What::Extended { token, until } => {
                    let is_over = dead.contains(node) || !over.insert((node, token));
                    if until > now && !is_over {
                        let up = |event: &&Event| {
                            event.node == *node
                                && matches!(event.what, What::Up { token: t, .. } if t == token)
                        };
                        let begin = events.iter().rev().find(up)?.at;
                        return Some(Span { node: node.clone(), token, begin, end: until });
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time in which one node believed, or worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whose.
    pub node: Arc<str>,
    /// Under which token.
    pub token: Token,
    /// From when.
    pub begin: Time,
    /// To when, not included.
    pub end: Time,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("events", &self.mark()).finish()
    }
}

impl Event {
    /// One JSON object: the moment in nanoseconds, the node, the event's name and what belongs to
    /// it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("t".to_owned(), json!(self.at.0));
        object.insert("node".to_owned(), json!(&*self.node));
        if let Value::Object(what) = self.what.to_json() {
            object.extend(what);
        }
        Value::Object(object)
    }
}

impl What {
    fn to_json(&self) -> Value {
        let stamp = |stamp: &Stamp| {
            json!({"holder": stamp.holder.map(|holder| holder.to_string()),
            "token": stamp.token})
        };
        match self {
            Self::Sent { op, intent } => json!({"ev": "sent", "op": op, "kind": kind(*intent)}),
            Self::Answered { op, answer } => {
                json!({"ev": "answered", "op": op, "out": format!("{answer:?}").to_lowercase()})
            }
            Self::GivenUp { op } => json!({"ev": "given-up", "op": op}),
            Self::Applied { op, intent, holder, token, replaced } => json!({
                "ev": "applied", "op": op, "kind": kind(Some(*intent)), "token": token,
                "holder": holder.map(|holder| holder.to_string()),
                "replaced": replaced.as_ref().map(stamp),
            }),
            Self::Refused { op } => json!({"ev": "refused", "op": op}),
            Self::Up { token, until } => json!({"ev": "up", "token": token, "until": until.0}),
            Self::Extended { token, until } => {
                json!({"ev": "extended", "token": token, "until": until.0})
            }
            Self::Down { token, why } => json!({"ev": "down", "token": token, "why": why}),
            Self::Checked { token, leads } => {
                json!({"ev": "checked", "token": token, "leads": leads})
            }
            Self::Resigned { token } => json!({"ev": "resigned", "token": token}),
            Self::WorkStarted { token } => json!({"ev": "work-started", "token": token}),
            Self::WorkStopped { token, dead_by } => {
                json!({"ev": "work-stopped", "token": token, "dead_by": dead_by.0})
            }
            Self::Effect { token, fenced, accepted } => {
                json!({"ev": "effect", "token": token, "fenced": fenced, "accepted": accepted})
            }
            Self::Told { leader } => json!({"ev": "told", "leader": leader}),
            Self::Stopped(stopped) => json!({"ev": "stopped", "on": stopped}),
            Self::Died => json!({"ev": "died"}),
            Self::Fault { id, what, on } => {
                json!({"ev": "fault", "id": id, "what": what, "on": on})
            }
        }
    }
}

/// The name of a request.
#[must_use]
pub fn kind(intent: Option<Intent>) -> &'static str {
    intent.map_or("read", Intent::name)
}
