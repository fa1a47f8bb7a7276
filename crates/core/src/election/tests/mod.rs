//! The election against a register that is played by hand.

mod edges;
mod idle;
mod pitfalls;
mod races;
mod refusals;
mod reigns;
mod rules;
mod table;
mod waits;

use std::time::Duration;

use serde_json::Map;

use super::*;
use crate::backend::{Change, Intent, Outcome};
use crate::error::ErrorKind;
use crate::record::Record;
use crate::timing::TimingSettings;

const L: Duration = Duration::from_secs(15);
const D: Duration = Duration::from_secs(10);
const P: Duration = Duration::from_secs(2);
const T: Duration = Duration::from_secs(2);
const RTT: Duration = Duration::from_millis(10);

/// A candidate that knows the record of another, with push or without.
fn follower(push: bool, record: Record) -> Play {
    let mut play = Play::new();
    play.store(record);
    play.input(Input::Push(push));
    play.input(Input::Stand);
    play.run();
    play
}

/// A candidate, the register it writes to, and the time.
struct Play {
    election: Election,
    now: Time,
    version: u64,
    contents: Contents,
    expiry: Expiry,
    floor: Option<Token>,
    /// The reign of a store that names them.
    reign: Option<u8>,
    nonces: u128,
}

fn capabilities() -> Capabilities {
    Capabilities { lease_duration_step: Duration::from_nanos(1), ..Capabilities::default() }
}

fn candidate(incarnation: u128) -> CandidateConfig {
    CandidateConfig {
        identity: format!("node-{incarnation}"),
        advertise: None,
        incarnation: Incarnation(incarnation),
        timing: Timing::default(),
        hand_over_jitter: Duration::ZERO,
    }
}

fn holder(incarnation: u128) -> Holder {
    Holder {
        identity: format!("node-{incarnation}"),
        incarnation: Some(Incarnation(incarnation)),
        advertise: None,
    }
}

fn record(holder: Option<Holder>, token: Token, nonce: u128) -> Record {
    Record {
        holder,
        token,
        lease_duration: L,
        nonce: Nonce(nonce),
        acquired: Wall(0),
        renewed: Wall(0),
        extra: Map::new(),
    }
}

impl Play {
    fn with(capabilities: &Capabilities) -> Self {
        Self {
            election: Election::new(candidate(1024), capabilities),
            now: Time(1_000_000_000_000),
            version: 0,
            contents: Contents::Absent,
            expiry: Expiry::ByObserver,
            floor: None,
            reign: None,
            nonces: 1,
        }
    }

    fn new() -> Self {
        Self::with(&capabilities())
    }

    /// Makes the store one whose own clock ends leases, before anything was asked.
    fn serve_leases(&mut self) {
        self.expiry = Expiry::ByServer;
        self.election.by_server = true;
    }

    /// A leader with the first token of a fresh lock.
    fn leading() -> Self {
        let mut play = Self::new();
        play.input(Input::Stand);
        play.run();
        assert!(play.leadership().is_some());
        play
    }

    fn input(&mut self, input: Input) {
        self.election.handle(self.now, input);
    }

    fn leadership(&self) -> Option<Leadership> {
        self.election.leadership(self.now)
    }

    fn poll(&mut self) -> Option<Action> {
        let fresh = &mut self.nonces;
        self.election.poll(self.now, || {
            *fresh += 1;
            Nonce(*fresh << 64)
        })
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.input(Input::Tick);
    }

    fn observed(&self) -> Observed {
        let version = match &self.contents {
            Contents::Absent => Version::absent(),
            _ => Version::number(self.version),
        };
        let version = match self.reign {
            Some(reign) => version.in_reign(&[reign]),
            None => version,
        };
        let contents = self.contents.clone();
        Observed { version, contents, expiry: self.expiry, token_floor: self.floor }
    }

    /// What an action does to the register, and the answer.
    fn apply(&mut self, action: &Action) -> Input {
        match action {
            Action::Read => Input::Read(Ok(self.observed())),
            Action::Write { expected, change } => {
                let present = self.observed().version;
                if *expected != present || expected.reign() != present.reign() {
                    return Input::Wrote(Ok(Outcome::Conflict));
                }
                self.store(change.record.clone());
                Input::Wrote(Ok(Outcome::Written(self.observed())))
            }
        }
    }

    fn store(&mut self, record: Record) {
        self.version += 1;
        self.contents = Contents::Record(record);
        if matches!(self.expiry, Expiry::Passed | Expiry::Suspended) {
            self.expiry = Expiry::ByObserver;
        }
    }

    /// One request and its answer. Returns what was asked.
    fn turn(&mut self) -> Option<Action> {
        let action = self.poll()?;
        let answer = self.apply(&action);
        self.now = self.now + RTT;
        self.input(answer);
        Some(action)
    }

    /// Requests until none is due.
    fn run(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.turn() {
            actions.push(action);
            assert!(actions.len() < 20, "spins: {actions:?}");
        }
        actions
    }

    /// Lets time pass as the driver would, for `duration`.
    fn run_for(&mut self, duration: Duration) -> Vec<Action> {
        let end = self.now + duration;
        let mut actions = Vec::new();
        loop {
            actions.extend(self.run());
            let next = self.election.next_deadline(self.now);
            if next > end {
                self.now = self.now.max(end);
                self.input(Input::Tick);
                return actions;
            }
            self.now = next.max(self.now);
            self.input(Input::Tick);
        }
    }

    /// How many requests there are in `duration` if all are answered at once, and like this.
    fn requests(
        &mut self,
        duration: Duration,
        read: impl Fn(&Self) -> Result<Observed, ErrorKind>,
        wrote: Result<Outcome, ErrorKind>,
    ) -> usize {
        let end = self.now + duration;
        let mut requests = 0;
        while self.now < end {
            match self.poll() {
                Some(Action::Read) => self.input(Input::Read(read(self))),
                Some(Action::Write { .. }) => self.input(Input::Wrote(wrote.clone())),
                None => {
                    self.now = self.election.next_deadline(self.now).min(end).max(self.now);
                    self.input(Input::Tick);
                    continue;
                }
            }
            requests += 1;
            assert!(requests <= 1000, "spins");
        }
        requests
    }

    /// Sends the request that is due, applies it, and loses the answer.
    fn lose_answer(&mut self) -> Action {
        let action = self.poll().expect("a request is due");
        let answer = self.apply(&action);
        self.now = self.now + T;
        self.input(match answer {
            Input::Read(_) => Input::Read(Err(ErrorKind::Unavailable)),
            _ => Input::Wrote(Err(ErrorKind::Unavailable)),
        });
        action
    }

    /// Sends the request that is due and loses it on the way.
    fn lose_request(&mut self) -> Action {
        let action = self.poll().expect("a request is due");
        self.now = self.now + T;
        self.input(match action {
            Action::Read => Input::Read(Err(ErrorKind::Unavailable)),
            Action::Write { .. } => Input::Wrote(Err(ErrorKind::Unavailable)),
        });
        action
    }

    fn stored(&self) -> &Record {
        match &self.contents {
            Contents::Record(record) => record,
            other => panic!("{other:?}"),
        }
    }
}

fn intent(action: &Action) -> Option<Intent> {
    match action {
        Action::Read => None,
        Action::Write { change, .. } => Some(change.intent),
    }
}

fn intents(actions: &[Action]) -> Vec<Option<Intent>> {
    actions.iter().map(intent).collect()
}
