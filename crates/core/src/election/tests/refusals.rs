//! An error never decides about leadership; another store does, and an old copy of our record does
//! not.

use super::*;

/// Every refusal that a store can give.
const REFUSALS: [ErrorKind; 5] = [
    ErrorKind::Denied,
    ErrorKind::Invalid,
    ErrorKind::Unavailable,
    ErrorKind::Throttled { retry_after: None },
    ErrorKind::Throttled { retry_after: Some(Duration::from_secs(3600)) },
];

impl Play {
    /// Every request of the next `duration` is refused so; if `reads` are not, they are answered.
    fn refuse(&mut self, duration: Duration, kind: ErrorKind, reads: bool) -> usize {
        let read = |play: &Self| if reads { Err(kind) } else { Ok(play.observed()) };
        self.requests(duration, read, Err(kind))
    }

    /// What an administrator saved comes back, under a new version.
    fn put_back(&mut self, record: &Record) {
        self.version += 1;
        self.contents = Contents::Record(record.clone());
    }
}

#[test]
fn a_refusal_that_ends_before_the_deadline_ends_no_term() {
    for kind in REFUSALS {
        for reads in [false, true] {
            let mut play = Play::leading();
            play.run_for(P);
            let requests = play.refuse(Duration::from_secs(4), kind, reads);
            assert!((1..=6).contains(&requests), "{kind:?}: {requests} requests");
            assert!(play.leadership().is_some(), "{kind:?}, reads {reads}");
            play.run_for(2 * D);
            assert_eq!((play.election.take_ended(), play.election.failure()), (None, None));
            assert_eq!(play.leadership().unwrap().token, 1, "{kind:?}, reads {reads}");
        }
    }
}

#[test]
fn a_refusal_that_lasts_ends_the_term_at_its_deadline_and_not_the_candidacy() {
    for kind in REFUSALS {
        let mut play = Play::leading();
        let until = play.leadership().unwrap().until;
        while play.now < until {
            assert_eq!(play.election.take_ended(), None, "{kind:?}");
            play.refuse(Duration::from_millis(100), kind, true);
        }
        assert_eq!(play.election.take_ended(), Some((1, Loss::Expired)), "{kind:?}");
        assert_eq!(play.election.failure(), None);
        assert!(play.election.standing());
        play.input(Input::Drained);
        play.run_for(Duration::from_secs(31));
        assert_eq!(play.leadership().unwrap().token, 2, "{kind:?}");
    }
}

#[test]
fn a_follower_goes_on_asking_whatever_refuses_it() {
    for kind in REFUSALS {
        for reads in [false, true] {
            let mut play = follower(false, record(Some(holder(7)), 5, 5));
            let requests = play.refuse(Duration::from_secs(120), kind, reads);
            assert!(requests <= 130, "{kind:?}: {requests} requests");
            assert!(requests >= 4, "{kind:?}: {requests} requests");
            assert_eq!(play.election.failure(), None, "{kind:?}");
            play.run_for(Duration::from_secs(31) + L);
            assert_eq!(play.leadership().unwrap().token, 6, "{kind:?}");
        }
    }
}

#[test]
fn who_contends_for_a_free_lock_and_is_refused_goes_on() {
    for kind in REFUSALS {
        let mut play = Play::new();
        play.store(record(None, 3, 3));
        play.input(Input::Stand);
        play.turn();
        play.refuse(Duration::from_secs(60), kind, false);
        assert_eq!(play.election.failure(), None, "{kind:?}");
        play.run_for(Duration::from_secs(31));
        assert_eq!(play.leadership().unwrap().token, 4, "{kind:?}");
    }
}

#[test]
fn a_configuration_that_never_worked_ends_the_candidacy() {
    for (kind, failure) in [(ErrorKind::Denied, Halt::Denied), (ErrorKind::Invalid, Halt::Invalid)]
    {
        let mut play = Play::new();
        play.input(Input::Stand);
        assert_eq!(play.poll(), Some(Action::Read));
        play.input(Input::Read(Err(kind)));
        assert_eq!(play.election.failure(), Some(&failure));
        assert_eq!(play.poll(), None);
        // What was an outage first is no proof that it ever worked.
        let mut play = Play::new();
        play.input(Input::Stand);
        play.lose_request();
        play.wait(P);
        assert_eq!(play.poll(), Some(Action::Read));
        play.input(Input::Read(Err(kind)));
        assert_eq!(play.election.failure(), Some(&failure));
    }
}

/// An API server's `retryAfterSeconds: 3600` stopped a follower for an hour.
#[test]
fn a_store_that_asks_for_a_long_pause_is_asked_again_after_30_s_or_a_lease() {
    let hour = ErrorKind::Throttled { retry_after: Some(Duration::from_secs(3600)) };
    let long = Record { lease_duration: 10 * L, ..record(Some(holder(7)), 5, 5) };
    let mut play = follower(false, long);
    play.wait(P);
    assert_eq!(play.poll(), Some(Action::Read));
    play.input(Input::Read(Err(hour)));
    let asked = play.now + Duration::from_secs(30);
    assert_eq!(play.election.plan().0, asked);
    play.now = asked;
    assert_eq!(play.poll(), Some(Action::Read));

    // What is shorter is obeyed to the moment, a write like a read.
    let short = ErrorKind::Throttled { retry_after: Some(Duration::from_secs(7)) };
    let mut play = Play::new();
    play.store(record(None, 3, 3));
    play.input(Input::Stand);
    play.turn();
    assert_eq!(play.poll().as_ref().and_then(intent), Some(Intent::Take));
    play.input(Input::Wrote(Err(short)));
    assert_eq!(play.election.plan().0, play.now + Duration::from_secs(7));
    play.now = play.now + Duration::from_secs(7);
    play.run();
    assert!(play.leadership().is_some());

    let long = TimingSettings { lease_duration: Some(60 * P), ..TimingSettings::default() };
    assert_eq!(long.build().unwrap().longest_back_off(), 60 * P);
    assert_eq!(Timing::default().longest_back_off(), Duration::from_secs(30));
}

#[test]
fn another_store_ends_the_term_and_the_candidacy_at_once() {
    for write in [false, true] {
        let mut play = Play::leading();
        play.wait(P);
        assert_eq!(play.poll().as_ref().and_then(intent), Some(Intent::Renew));
        if write {
            play.input(Input::Wrote(Err(ErrorKind::Replaced)));
        } else {
            play.input(Input::Wrote(Err(ErrorKind::Unavailable)));
            assert!(play.leadership().is_some());
            assert_eq!(play.poll(), Some(Action::Read));
            play.input(Input::Read(Err(ErrorKind::Replaced)));
        }
        assert!(play.leadership().is_none());
        assert_eq!(play.election.take_ended(), Some((1, Loss::Replaced)));
        assert_eq!(play.election.failure(), Some(&Halt::Replaced));
        // Nothing is released there: it is another's, if anybody's.
        play.input(Input::Drained);
        assert_eq!(play.run_for(L), []);
        // Who stands again is told again.
        play.input(Input::Stand);
        assert_eq!(play.poll(), Some(Action::Read));
        play.input(Input::Read(Err(ErrorKind::Replaced)));
        assert_eq!(play.election.failure(), Some(&Halt::Replaced));
    }
}

#[test]
fn a_follower_whose_store_is_replaced_is_told_so_whenever_it_learns_of_it() {
    for worked in [false, true] {
        let mut play = Play::new();
        play.store(record(Some(holder(7)), 5, 5));
        play.input(Input::Stand);
        if worked {
            play.run_for(P);
        }
        play.wait(P);
        assert_eq!(play.poll(), Some(Action::Read));
        play.input(Input::Read(Err(ErrorKind::Replaced)));
        assert_eq!(play.election.failure(), Some(&Halt::Replaced));
        assert_eq!(play.election.take_ended(), None);
    }
    // An observer goes on looking: it has nothing to lose.
    let mut play = Play::new();
    assert_eq!(play.poll(), Some(Action::Read));
    play.input(Input::Read(Err(ErrorKind::Replaced)));
    assert_eq!(play.election.failure(), None);
    play.wait(P);
    assert_eq!(play.poll(), Some(Action::Read));
}

#[test]
fn what_a_watch_says_of_another_store_makes_a_leader_read_at_once_and_ends_nothing() {
    let mut play = Play::leading();
    play.input(Input::Push(true));
    play.wait(P / 2);
    assert_eq!(play.poll(), None);
    play.input(Input::Look);
    play.input(Input::Push(false));
    assert!(play.leadership().is_some());
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.leadership().unwrap().token, 1);
    assert_eq!(play.election.take_ended(), None);
    assert_eq!(play.poll(), None, "once");
}

/// Faults: an old YAML applied under a leader, or a store that goes back.
#[test]
fn an_old_copy_of_our_own_record_is_asserted_over_and_costs_nothing() {
    for renewals in [1, 2, 3, 30, 500] {
        let mut play = Play::leading();
        let saved = play.stored().clone();
        play.run_for(renewals * P);
        assert_ne!(play.stored().nonce, saved.nonce);
        play.put_back(&saved);
        let actions = play.run_for(P + 4 * RTT);
        assert!(intents(&actions).contains(&Some(Intent::Renew)), "{renewals}: {actions:?}");
        assert_eq!(play.leadership().unwrap().token, 1, "after {renewals} renewals");
        assert!(!play.election.copied());
        assert_ne!(play.stored().nonce, saved.nonce, "asserted again");
        play.run_for(3 * D);
        assert_eq!(play.election.take_ended(), None);
    }
}

/// Where the version is the bytes, the old version is back with the record.
#[test]
fn an_old_copy_under_its_old_version_is_asserted_over_too() {
    let mut play = Play::leading();
    play.run_for(P);
    let (saved, version) = (play.stored().clone(), play.version);
    play.run_for(5 * P);
    (play.contents, play.version) = (Contents::Record(saved), version);
    play.run_for(P + 4 * RTT);
    assert_eq!(play.leadership().unwrap().token, 1);
    play.version += 100;
    play.run_for(2 * D);
    assert_eq!(play.election.take_ended(), None);
}

/// A renewal whose answer was lost, and that nobody ever read, may be what is put back.
#[test]
fn an_old_write_whose_answer_was_lost_is_ours_too() {
    let mut play = Play::leading();
    play.wait(P);
    let Some(Action::Write { change, .. }) = play.poll() else { panic!("a renewal is due") };
    play.now = play.now + T;
    play.input(Input::Wrote(Err(ErrorKind::Unavailable)));
    play.run_for(4 * P);
    play.put_back(&change.record);
    play.run_for(P + 4 * RTT);
    assert_eq!(play.leadership().unwrap().token, 1);
    assert_eq!(play.election.take_ended(), None);
}

#[test]
fn an_old_copy_is_not_asserted_over_by_who_does_not_lead_or_knows_of_another_leader() {
    // Another was seen to lead since.
    let mut play = Play::leading();
    let saved = play.stored().clone();
    play.run_for(3 * P);
    play.input(Input::Push(true));
    play.election.highest = 2;
    play.put_back(&saved);
    play.run_for(P + 4 * RTT);
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
    assert!(!play.election.copied());

    // The deadline has passed: the lease of what is stored is waited out like anybody's.
    let mut play = Play::leading();
    let saved = play.stored().clone();
    play.run_for(3 * P);
    while play.leadership().is_some() {
        play.refuse(P, ErrorKind::Unavailable, true);
    }
    play.input(Input::Drained);
    play.put_back(&saved);
    let actions = play.run_for(L - P);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    assert!(!play.election.copied());
    play.run_for(3 * P);
    assert_eq!(play.leadership().unwrap().token, 2);
}

#[test]
fn what_names_us_and_was_never_ours_is_still_a_copys() {
    let mut play = Play::leading();
    play.run_for(5 * P);
    let mut copys = play.stored().clone();
    copys.nonce = Nonce(copys.nonce.0 ^ 1);
    play.put_back(&copys);
    play.run_for(P + 4 * RTT);
    assert!(play.election.copied());
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
}

/// The schedule (found by the simulator): a Take was stored and learnt of too late, so that a
/// renewal must be acknowledged before the term begins; meanwhile an administrator puts a record of
/// the term before back. It was renewed, and the old term came back to life.
#[test]
fn a_claim_is_not_made_good_by_a_record_of_an_older_term() {
    let mut play = Play::leading();
    let saved = play.stored().clone();
    while play.leadership().is_some() {
        play.refuse(P, ErrorKind::Unavailable, true);
    }
    assert_eq!(play.election.take_ended(), Some((1, Loss::Expired)));
    play.input(Input::Drained);
    play.run_for(RTT);
    play.wait(T);
    while play.poll().is_none_or(|action| intent(&action) != Some(Intent::Take)) {
        play.input(Input::Read(Ok(play.observed())));
        play.wait(P);
    }
    let take = Record { token: 2, nonce: Nonce(play.nonces << 64), ..saved.clone() };
    play.store(take);
    play.wait(D);
    play.input(Input::Wrote(Err(ErrorKind::Unavailable)));
    assert_eq!(play.turn(), Some(Action::Read));
    assert!(
        matches!(play.election.phase, Phase::Claiming { token: 2 }),
        "{:?}",
        play.election.phase
    );
    play.poll();
    play.put_back(&saved);
    play.input(Input::Wrote(Ok(Outcome::Conflict)));
    let actions = play.run_for(L - P);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    play.run_for(3 * P);
    assert_eq!(play.leadership().unwrap().token, 3);
}
