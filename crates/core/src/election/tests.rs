//! The table of DESIGN section 5 and its pitfalls, against a register that is played by hand.

use std::time::Duration;

use serde_json::Map;

use super::*;
use crate::backend::{Contents, Push};
use crate::timing::TimingSettings;

const L: Duration = Duration::from_secs(15);
const D: Duration = Duration::from_secs(10);
const P: Duration = Duration::from_secs(2);
const T: Duration = Duration::from_secs(2);
const RTT: Duration = Duration::from_millis(10);

/// A candidate, the register it writes to, and the time.
struct Play {
    election: Election,
    now: Time,
    version: u64,
    contents: Contents,
    expiry: Expiry,
    floor: Option<Token>,
    nonces: u128,
}

fn capabilities() -> Capabilities {
    Capabilities {
        push: Push::None,
        floor_is_history: false,
        forgets: false,
        min_lease_duration: Duration::ZERO,
        lease_duration_step: Duration::from_nanos(1),
        default_timing: TimingSettings::default(),
    }
}

fn candidate(incarnation: u128) -> Candidate {
    Candidate {
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
            nonces: 1,
        }
    }

    fn new() -> Self {
        Self::with(&capabilities())
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
        let version = match (&self.contents, self.version) {
            (Contents::Absent, 0) => Version::absent(),
            (_, number) => Version::number(number),
        };
        let contents = self.contents.clone();
        Observed { version, contents, expiry: self.expiry, token_floor: self.floor }
    }

    /// What an action does to the register, and the answer.
    fn apply(&mut self, action: &Action) -> Input {
        match action {
            Action::Read => Input::Read(Ok(self.observed())),
            Action::Write { expected, change } => {
                if *expected != self.observed().version {
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

#[test]
fn nobody_takes_from_absent_but_adopts_first() {
    let mut play = Play::new();
    play.input(Input::Stand);
    let actions = play.run();
    assert_eq!(intents(&actions), [None, Some(Intent::Adopt), Some(Intent::Take)]);
    let Action::Write { change, .. } = &actions[1] else { panic!() };
    assert_eq!((&change.record.holder, change.record.token), (&None, 0));
    assert_eq!(play.leadership().unwrap().token, 1);
}

#[test]
fn by_server_takes_absent_at_once_and_never_a_present_key() {
    let mut play = Play::new();
    play.expiry = Expiry::ByServer;
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    let actions = play.run_for(10 * L);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    play.contents = Contents::Absent;
    play.version += 1;
    let actions = play.run_for(P + RTT);
    assert!(intents(&actions).contains(&Some(Intent::Take)));
    assert!(play.leadership().is_some());
}

#[test]
fn belief_counts_from_the_send() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    let sent = play.now;
    let take = play.poll().unwrap();
    let answer = play.apply(&take);
    play.now = play.now + Duration::from_secs(1);
    play.input(answer);
    assert_eq!(play.leadership().unwrap().until, sent + D);
}

#[test]
fn leader_iff_before_the_deadline_and_take_iff_not_before_the_wait() {
    let play = Play::leading();
    let until = play.leadership().unwrap().until;
    assert!(play.election.leadership(until - Duration::from_nanos(1)).is_some());
    assert!(play.election.leadership(until).is_none());

    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    play.turn();
    let moment = play.now + Timing::wait(L);
    play.election.read_at = Time::NEVER;
    play.now = moment - Duration::from_nanos(1);
    assert_eq!(play.poll(), None);
    play.now = moment;
    assert_eq!(play.poll().as_ref().and_then(intent), Some(Intent::Take));
}

#[test]
fn the_records_lease_duration_is_honoured_not_our_own() {
    let mut play = Play::new();
    let mut long = record(Some(holder(7)), 5, 5);
    long.lease_duration = 10 * L;
    play.store(long);
    play.input(Input::Stand);
    assert!(!intents(&play.run_for(9 * L)).contains(&Some(Intent::Take)));
    assert!(intents(&play.run_for(2 * L)).contains(&Some(Intent::Take)));
}

#[test]
fn the_nonce_is_the_sign_of_life_not_the_version() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    // Somebody edits a label every two seconds.
    for _ in 0..7 {
        play.run_for(P);
        play.version += 1;
    }
    play.run_for(P);
    assert!(play.leadership().is_some());

    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    for nonce in 6..30 {
        play.run_for(P);
        play.store(record(Some(holder(7)), 5, nonce));
    }
    assert!(play.leadership().is_none());
}

#[test]
fn a_passed_holder_is_taken_from_at_once() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.expiry = Expiry::Passed;
    play.input(Input::Stand);
    assert_eq!(intents(&play.run()), [None, Some(Intent::Take)]);
    assert_eq!(play.leadership().unwrap().token, 6);
}

#[test]
fn tokens_are_above_record_floor_and_all_seen() {
    for (token, floor, minted) in [(5, None, 6), (5, Some(100), 101), (500, Some(100), 501)] {
        let mut play = Play::new();
        play.store(record(None, token, 1));
        play.floor = floor;
        play.input(Input::Stand);
        play.run();
        assert_eq!(play.leadership().unwrap().token, minted);
    }
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 900, 5));
    play.input(Input::Stand);
    play.run();
    // The record is deleted and adopted by somebody who saw nothing.
    play.store(record(None, 0, 6));
    play.run_for(2 * L);
    assert_eq!(play.leadership().unwrap().token, 901);
}

#[test]
fn a_token_above_2_63_is_never_minted() {
    let mut play = Play::new();
    play.store(record(None, MAX_TOKEN_FOR_TEST, 1));
    play.input(Input::Stand);
    play.run();
    assert!(matches!(play.election.failure(), Some(Failure::Corrupt(_))));
    assert_eq!(play.stored().nonce, Nonce(1));
}

const MAX_TOKEN_FOR_TEST: Token = crate::record::MAX_TOKEN;

// ---- the table: what is read after a conflict or an unknown outcome ----

#[test]
fn row_1_leading_and_the_last_acknowledged_nonce_renews() {
    let mut play = Play::leading();
    play.wait(P);
    let until = play.leadership().unwrap().until;
    assert_eq!(intent(&play.lose_request()), Some(Intent::Renew));
    assert_eq!(intents(&play.run()), [None, Some(Intent::Renew)]);
    assert!(play.leadership().unwrap().until > until);
}

#[test]
fn row_1_leading_and_an_unresolved_renewals_nonce_renews() {
    let mut play = Play::leading();
    play.wait(P);
    play.lose_answer();
    let until = play.leadership().unwrap().until;
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.leadership().unwrap().until, until, "a read extends nothing");
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Renew));
    assert!(play.leadership().unwrap().until > until);
}

#[test]
fn row_1_every_unresolved_renewal_is_kept_until_the_version_moves() {
    let mut play = Play::leading();
    play.wait(P);
    let first = play.lose_request();
    play.turn();
    assert_eq!(intent(&play.lose_request()), Some(Intent::Renew));
    // The first of the two lands late.
    play.apply(&first);
    assert_eq!(intents(&play.run()), [None, Some(Intent::Renew)]);
    assert!(play.leadership().is_some());
    assert_eq!(play.election.take_ended(), None);
}

#[test]
fn row_2_an_unresolved_take_leads_only_when_a_renewal_is_acknowledged() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    assert_eq!(intent(&play.lose_answer()), Some(Intent::Take));
    assert_eq!(play.turn(), Some(Action::Read));
    assert!(play.leadership().is_none(), "never from a read alone");
    let sent = play.now;
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Renew));
    assert_eq!(play.leadership().unwrap().until, sent + D);
    assert_eq!(play.leadership().unwrap().token, 2);
}

#[test]
fn row_2_a_take_acknowledged_after_its_deadline_is_renewed_first() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    let take = play.poll().unwrap();
    let answer = play.apply(&take);
    play.now = play.now + D;
    play.input(answer);
    assert!(play.leadership().is_none());
    assert_eq!(intents(&play.run()), [Some(Intent::Renew)]);
    assert!(play.leadership().is_some());
}

#[test]
fn row_2_the_same_bytes_are_sent_again_and_count_from_the_first_time() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    let sent = play.now;
    let first = play.lose_request();
    assert_eq!(play.turn(), Some(Action::Read));
    let again = play.turn().unwrap();
    assert_eq!(again, first);
    assert_eq!(play.leadership().unwrap().until, sent + D);
}

#[test]
fn row_3_our_release_is_recognised() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    assert!(play.leadership().is_none());
    assert_eq!(intent(&play.lose_answer()), Some(Intent::Release));
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.election.take_released(), Some(true));
    assert_eq!(play.poll(), None, "nothing to write");
}

#[test]
fn row_4_ended_and_stopped_takes_anew_with_a_new_token_at_once() {
    let mut play = Play::leading();
    play.wait(P);
    let zombie = play.lose_answer();
    assert_eq!(intent(&zombie), Some(Intent::Renew));
    play.wait(D);
    assert_eq!(play.election.take_ended(), Some((1, Loss::Expired)));
    play.input(Input::Drained);
    assert_eq!(intents(&play.run()), [None, Some(Intent::Take)]);
    assert_eq!(play.leadership().unwrap().token, 2);
}

#[test]
fn row_4_ended_stopped_and_withdrawn_releases_that_version() {
    let mut play = Play::leading();
    play.wait(D);
    play.input(Input::Withdraw);
    play.input(Input::Drained);
    assert_eq!(intents(&play.run()), [Some(Intent::Release)]);
    assert_eq!(play.stored().holder, None);
}

#[test]
fn row_5_ended_with_the_work_running_is_left_alone_until_its_lease_is_over() {
    let mut play = Play::leading();
    let sent = play.leadership().unwrap().until - D;
    play.input(Input::Withdraw);
    play.input(Input::Stand);
    let actions = play.run_for(L - RTT);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    play.run_for(2 * P);
    assert_eq!(play.leadership().unwrap().token, 2);
    assert!(play.now >= sent + L);
}

#[test]
fn row_6_our_incarnation_with_an_unknown_nonce_is_a_copy() {
    let mut play = Play::leading();
    let mut copy = play.stored().clone();
    copy.nonce = Nonce(77);
    play.store(copy);
    play.run_for(P + 2 * RTT);
    assert!(play.leadership().is_none());
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
    assert!(play.election.copied());
    assert_eq!(play.poll(), None);
    play.input(Input::Reborn(Incarnation(2048)));
    // The former self is a stranger: its lease is waited out.
    play.run_for(L);
    assert!(play.leadership().is_none());
    play.run_for(P);
    assert_eq!(play.leadership().unwrap().token, 2);
    assert_eq!(play.stored().holder.as_ref().unwrap().incarnation, Some(Incarnation(2048)));
}

#[test]
fn row_7_a_stranger_ends_the_term() {
    let mut play = Play::leading();
    play.store(record(Some(holder(7)), 9, 9));
    play.run_for(P + RTT);
    assert!(play.leadership().is_none());
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
    let Phase::Following = play.election.phase else { panic!() };
}

#[test]
fn row_7_by_server_a_stray_take_is_revoked_before_another() {
    let mut play = Play::new();
    play.expiry = Expiry::ByServer;
    play.input(Input::Stand);
    play.turn();
    let stray = play.lose_request();
    play.store(record(Some(holder(7)), 9, 9));
    play.turn();
    let Some(Action::Write { expected, change }) = play.poll() else { panic!() };
    let Action::Write { expected: before, change: take } = stray else { panic!() };
    assert_eq!((expected, change.intent), (before, Intent::Release));
    assert_eq!(change.record, take.record);
    play.input(Input::Wrote(Ok(Outcome::Written(play.observed()))));
    assert_eq!(play.turn(), Some(Action::Read));
}

// ---- rule 13: a vanished record ----

#[test]
fn rule_13_a_leader_asserts_a_deleted_record_again() {
    let mut play = Play::leading();
    play.contents = Contents::Absent;
    play.version += 1;
    let actions = play.run_for(P + 4 * RTT);
    assert!(intents(&actions).contains(&None));
    assert_eq!(play.leadership().unwrap().token, 1);
    assert_eq!(play.stored().token, 1);
    assert_eq!(play.election.take_ended(), None);
}

#[test]
fn rule_13_a_leader_asserts_over_lower_tokens_but_not_over_greater_or_foreign_ones() {
    let mut lower = Play::leading();
    lower.election.highest = 5;
    if let Phase::Leading(term) = &mut lower.election.phase {
        term.token = 5;
    }
    for (stored, survives) in [
        (record(None, 0, 9), true),
        (record(None, 5, 9), true),
        (record(None, 6, 9), false),
        (record(Some(holder(7)), 4, 9), true),
        (record(Some(Holder::unknown()), 0, 9), true),
        (record(Some(holder(7)), 5, 9), false),
        (record(Some(holder(7)), 6, 9), false),
        (record(Some(Holder { incarnation: None, ..holder(7) }), 0, 9), false),
    ] {
        let mut play = Play { election: lower.election.clone(), ..Play::new() };
        play.now = lower.now;
        play.version = 50;
        play.store(stored.clone());
        play.run_for(P + 4 * RTT);
        assert_eq!(play.election.take_ended().is_none(), survives, "{stored:?}");
    }
}

#[test]
fn rule_13_who_saw_a_holder_neither_takes_nor_adopts_what_vanished() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    play.run();
    play.contents = Contents::Absent;
    play.version += 1;
    let actions = play.run_for(L - P);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    let actions = play.run_for(2 * P);
    assert!(intents(&actions).contains(&Some(Intent::Adopt)));
    assert_eq!(play.leadership().unwrap().token, 6);
}

#[test]
fn rule_13_an_adopted_record_is_no_release() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    play.run();
    play.store(record(None, 0, 6));
    assert!(!intents(&play.run_for(L - P)).contains(&Some(Intent::Take)));
    // A release carries the holder's token.
    play.store(record(Some(holder(7)), 5, 7));
    play.run_for(P);
    play.store(record(None, 5, 8));
    assert!(intents(&play.run_for(P)).contains(&Some(Intent::Take)));
}

#[test]
fn by_server_absence_ends_the_term() {
    let mut play = Play::new();
    play.expiry = Expiry::ByServer;
    play.input(Input::Stand);
    play.run();
    play.contents = Contents::Absent;
    play.version += 1;
    play.run_for(P + RTT);
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
}

// ---- Suspended ----

#[test]
fn a_suspended_state_is_adopted_and_then_waited_out_from_zero() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    play.run_for(L - P);
    play.expiry = Expiry::Suspended;
    play.version += 1;
    assert!(intents(&play.run_for(P)).contains(&Some(Intent::Adopt)));
    assert_eq!(play.stored().nonce, Nonce(5), "the nonce stays");
    assert!(!intents(&play.run_for(L - P - P)).contains(&Some(Intent::Take)));
    assert!(intents(&play.run_for(3 * P)).contains(&Some(Intent::Take)));
}

#[test]
fn an_adoption_of_a_forgotten_lock_names_an_unknown_holder() {
    let mut play = Play::new();
    play.expiry = Expiry::Suspended;
    play.input(Input::Stand);
    play.turn();
    let Some(Action::Write { change, .. }) = play.poll() else { panic!() };
    assert_eq!(change.intent, Intent::Adopt);
    assert!(change.record.holder.as_ref().unwrap().is_unknown());
    assert_eq!(change.record.lease_duration, L);
}

#[test]
fn a_leader_renews_over_a_suspended_record_of_its_own() {
    let mut play = Play::leading();
    play.expiry = Expiry::Suspended;
    play.version += 1;
    play.wait(P);
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Renew));
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Renew));
    assert!(play.leadership().is_some());
}

#[test]
fn on_a_store_that_forgets_an_own_record_proves_nothing_once_the_term_is_over() {
    let mut play = Play::with(&Capabilities { forgets: true, ..capabilities() });
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.run();
    play.wait(D);
    play.input(Input::Drained);
    // While we were away somebody led and was forgotten; our record was adopted again.
    play.version += 2;
    let actions = play.run_for(L - P);
    // The Take over the version it knew is refused; after that it waits like everybody else.
    assert_eq!(intent(&actions[0]), Some(Intent::Take));
    assert!(actions[1..].iter().all(|action| *action == Action::Read), "{actions:?}");
    assert!(!play.election.copied());
    play.run_for(3 * P);
    assert_eq!(play.leadership().unwrap().token, 3);
}

// ---- pitfalls of the sketch ----

#[test]
fn resign_releases_at_once_at_every_phase_of_a_renewal() {
    // Between renewals.
    let mut play = Play::leading();
    play.wait(P / 2);
    play.input(Input::Drained);
    assert_eq!(intents(&play.run()), [Some(Intent::Release)]);
    assert_eq!(play.election.take_released(), Some(true));

    // A renewal is in flight and is then acknowledged, refused because it had been applied before, or lost.
    for lost in [None, Some(true), Some(false)] {
        let mut play = Play::leading();
        play.wait(P);
        let renewal = play.poll().unwrap();
        play.input(Input::Drained);
        assert_eq!(play.poll(), None, "one operation at a time");
        let answer = match lost {
            Some(false) => Input::Wrote(Err(ErrorKind::Unavailable)),
            Some(true) => {
                play.apply(&renewal);
                Input::Wrote(Ok(Outcome::Conflict))
            }
            None => play.apply(&renewal),
        };
        play.input(answer);
        let started = play.now;
        let actions = play.run();
        assert_eq!(actions.last().and_then(intent), Some(Intent::Release), "{lost:?}");
        assert!(play.now.since(started) <= 2 * RTT);
        assert_eq!(play.election.take_released(), Some(true));
        assert_eq!(play.stored().holder, None);
    }
}

#[test]
fn a_release_is_given_up_after_two_request_timeouts() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.lose_request();
    play.lose_request();
    play.input(Input::Tick);
    assert_eq!(play.election.take_released(), Some(false));
}

#[test]
fn after_our_release_nothing_is_taken_for_the_cool_down() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.run();
    let released = play.now;
    while play.leadership().is_none() {
        play.run_for(Duration::from_millis(100));
    }
    assert!(play.now.since(released) >= P);
    assert_eq!(play.leadership().unwrap().token, 2);

    // Another holder ends the cool-down.
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.run();
    play.input(Input::Push(true));
    play.version += 1;
    play.contents = Contents::Record(record(Some(holder(7)), 2, 70));
    play.input(Input::Hint(play.observed()));
    play.version += 1;
    play.contents = Contents::Record(record(None, 2, 71));
    play.input(Input::Hint(play.observed()));
    assert_eq!(play.poll().as_ref().and_then(intent), Some(Intent::Take));
}

#[test]
fn an_own_older_renewal_from_the_watch_ends_nothing_and_costs_nothing() {
    let mut play = Play::leading();
    play.input(Input::Push(true));
    let older = play.observed();
    play.run_for(P + RTT);
    assert_ne!(play.observed().version, older.version);
    play.input(Input::Hint(older));
    assert_eq!(play.poll(), None);
    // One's own renewal may be pushed before it is acknowledged.
    play.run_for(P - 3 * RTT);
    play.wait(3 * RTT);
    let renewal = play.poll().unwrap();
    let answer = play.apply(&renewal);
    play.input(Input::Hint(play.observed()));
    play.input(answer);
    assert_eq!(play.poll(), None);
    assert!(play.leadership().is_some());
}

#[test]
fn a_replayed_watch_event_makes_a_leader_read_and_ends_nothing() {
    let mut play = Play::leading();
    play.input(Input::Push(true));
    let mut old = play.observed();
    old.version = Version::number(0);
    old.contents = Contents::Record(record(Some(holder(7)), 0, 3));
    play.input(Input::Hint(old));
    assert!(play.leadership().is_some());
    assert_eq!(play.turn(), Some(Action::Read));
    assert!(play.leadership().is_some());
    assert_eq!(play.election.take_ended(), None);
}

#[test]
fn a_late_acknowledgement_resurrects_nothing() {
    let mut play = Play::leading();
    play.wait(P);
    let renewal = play.poll().unwrap();
    let answer = play.apply(&renewal);
    play.wait(D);
    assert_eq!(play.election.take_ended(), Some((1, Loss::Expired)));
    play.input(answer);
    assert!(play.leadership().is_none());
    play.input(Input::Drained);
    play.run();
    assert_eq!(play.leadership().unwrap().token, 2, "leading again takes a new token");
}

#[test]
fn somebody_who_saw_the_deadline_ends_the_term_although_an_acknowledgement_is_on_its_way() {
    let mut play = Play::leading();
    play.wait(P);
    let renewal = play.poll().unwrap();
    let answer = play.apply(&renewal);
    play.input(Input::Expired);
    play.input(answer);
    assert!(play.leadership().is_none());
    assert_eq!(play.election.take_ended(), Some((1, Loss::Expired)));
}

#[test]
fn the_view_goes_stale_on_time_without_an_event() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.run();
    assert!(matches!(play.election.view(play.now), View::Held(_)));
    // The store is gone: nothing is read any more.
    let stale = play.now + Timing::wait(L);
    let mut wake = play.now;
    while wake < stale {
        wake = play.election.next_deadline(wake);
        assert!(wake <= stale);
        play.now = wake;
        if wake < stale && play.poll().is_some() {
            play.input(Input::Read(Err(ErrorKind::Unavailable)));
        }
    }
    assert_eq!(play.election.view(stale), View::Unknown);
}

#[test]
fn a_withdrawn_candidate_gives_a_take_in_flight_back() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    let take = play.poll().unwrap();
    play.input(Input::Withdraw);
    let answer = play.apply(&take);
    play.input(answer);
    assert!(play.leadership().is_none());
    assert_eq!(intents(&play.run()), [Some(Intent::Release)]);
    assert_eq!(play.stored().holder, None);
}

#[test]
fn corrupt_contents_are_never_overwritten() {
    let mut play = Play::new();
    play.contents = Contents::Unreadable("garbage".into());
    play.version = 3;
    play.input(Input::Stand);
    play.run_for(10 * L);
    assert_eq!(play.election.failure(), Some(&Failure::Corrupt("garbage".into())));
    assert_eq!(play.version, 3);
}

#[test]
fn a_rewound_store_ends_the_term_and_the_candidacy() {
    let mut play = Play::with(&Capabilities { floor_is_history: true, ..capabilities() });
    play.floor = Some(100);
    play.input(Input::Stand);
    play.run();
    assert_eq!(play.leadership().unwrap().token, 101);
    play.floor = Some(50);
    play.version += 7;
    play.run_for(P + 2 * RTT);
    assert_eq!(play.election.failure(), Some(&Failure::Rewound { floor: Some(50), before: 100 }));
    assert!(play.leadership().is_none());
}

#[test]
fn denied_ends_the_candidacy_only_before_the_first_read() {
    let mut play = Play::new();
    play.input(Input::Stand);
    play.poll();
    play.input(Input::Read(Err(ErrorKind::Denied)));
    assert_eq!(play.election.failure(), Some(&Failure::Denied));

    let mut play = Play::leading();
    play.wait(P);
    play.poll();
    play.input(Input::Wrote(Err(ErrorKind::Denied)));
    play.poll();
    play.input(Input::Read(Err(ErrorKind::Denied)));
    assert_eq!(play.election.failure(), None);
    assert!(play.leadership().is_some());
}

#[test]
fn a_store_that_refuses_fast_is_not_hammered() {
    let mut play = Play::leading();
    let mut requests = 0;
    let end = play.now + Duration::from_secs(60);
    while play.now < end {
        match play.poll() {
            Some(Action::Read) => play.input(Input::Read(Err(ErrorKind::Unavailable))),
            Some(Action::Write { .. }) => play.input(Input::Wrote(Err(ErrorKind::Unavailable))),
            None => {
                play.now = play.election.next_deadline(play.now).min(end).max(play.now);
                play.input(Input::Tick);
                continue;
            }
        }
        requests += 1;
    }
    assert!(requests <= 35, "{requests} requests in a minute");

    // Reads work, writes are refused.
    let mut play = Play::leading();
    let mut requests = 0;
    let end = play.now + Duration::from_secs(60);
    while play.now < end {
        match play.poll() {
            Some(Action::Read) => play.input(Input::Read(Ok(play.observed()))),
            Some(Action::Write { .. }) => play.input(Input::Wrote(Err(ErrorKind::Denied))),
            None => {
                play.now = play.election.next_deadline(play.now).min(end).max(play.now);
                play.input(Input::Tick);
                continue;
            }
        }
        requests += 1;
    }
    assert!(requests <= 70, "{requests} requests in a minute");
}

#[test]
fn silence_with_push_is_looked_into_every_third_of_a_lease() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.run();
    play.input(Input::Push(true));
    let started = play.now;
    // The holder shows life by the watch: no requests.
    for nonce in 10..20 {
        assert_eq!(play.run_for(P), []);
        play.store(record(Some(holder(7)), 5, nonce));
        play.input(Input::Hint(play.observed()));
    }
    assert_eq!(play.now.since(started), 10 * P);
    let actions = play.run_for(L - P);
    assert_eq!(actions, [Action::Read, Action::Read]);
}

#[test]
fn a_loser_with_push_waits_for_the_event() {
    let mut play = Play::new();
    play.store(record(None, 4, 1));
    play.input(Input::Push(true));
    play.input(Input::Stand);
    play.turn();
    let _ = play.poll().unwrap();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Wrote(Ok(Outcome::Conflict)));
    assert_eq!(play.poll(), None);
    play.input(Input::Hint(play.observed()));
    assert_eq!(play.poll(), None);
    assert!(matches!(play.election.view(play.now), View::Held(_)));
}

#[test]
fn unknown_fields_are_carried_through_take_renewal_and_release() {
    let mut play = Play::new();
    let mut free = record(None, 1, 1);
    free.extra.insert("ask".into(), true.into());
    play.store(free);
    play.input(Input::Stand);
    play.run_for(2 * P);
    assert_eq!(play.stored().extra["ask"], true);
    play.input(Input::Drained);
    play.run();
    assert_eq!(play.stored().extra["ask"], true);
}
