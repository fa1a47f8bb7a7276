//! One term: its owner, its readers and the driver's side, each on a thread of its own.

mod owner;

use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::thread;
use tokio::sync::mpsc;

use super::*;
use crate::runtime::exploration::{PointedClock, SECOND, explore, explore_all, finds, point};

const BELIEF: Duration = Duration::from_secs(10);

/// More orders than any of the small cases has.
const LIMIT: usize = 400_000;

struct Begun {
    clock: PointedClock,
    live: Live,
    held: Held,
    commands: mpsc::UnboundedReceiver<Command<Held>>,
}

fn begin() -> Begun {
    let clock = PointedClock::default();
    let (sender, commands) = mpsc::unbounded_channel();
    let (live, held) = Live::begin(&sent_at(clock.now()), Arc::new(clock.clone()), sender);
    Begun { clock, live, held: held.claim(), commands }
}

/// What the election believes after a write sent then.
fn sent_at(sent: Time) -> Leadership {
    let until = sent + BELIEF;
    let (kill_at, dead_by) = (until + 4 * SECOND, until + 5 * SECOND);
    Leadership { token: 7, until, kill_at, dead_by, draining: false }
}

/// An acknowledgement races readers at the very deadline. Whoever saw it pass has ended the term
/// for everybody.
fn a_late_acknowledgement(update: fn(&Live, &Leadership) -> Result<(), Loss>) {
    let Begun { clock, live, held, .. } = begin();
    let (term, first) = (held.term(), held.deadlines());
    let renewed = sent_at(clock.now() + 2 * SECOND);
    clock.pass(BELIEF);
    let reader = thread::spawn({
        let term = term.clone();
        move || (term.check(), term.deadlines(), term.check())
    });
    let driver = thread::spawn(move || (update(&live, &renewed), live));
    let (seen, deadlines, again) = reader.join().unwrap();
    let (updated, _live) = driver.join().unwrap();
    if seen.is_err() {
        assert_eq!((seen, again), (Err(Loss::Expired), Err(Loss::Expired)), "once Err always Err");
        assert_eq!(updated, Err(Loss::Expired), "the driver learns of it");
        assert_eq!(term.check(), Err(Loss::Expired));
        assert_eq!((deadlines, term.deadlines()), (first, first), "what is lost is not extended");
        assert_eq!(term.remaining(), Duration::ZERO);
        assert_eq!(term.remaining_grace(), 4 * SECOND);
        assert_eq!(block_on(term.lost()), Loss::Expired);
    } else {
        assert_eq!((again, updated, term.check()), (Ok(7), Ok(()), Ok(7)));
        assert_eq!(term.remaining(), 2 * SECOND);
    }
}

#[test]
fn a_late_acknowledgement_brings_nothing_back_for_anybody() {
    explore_all(LIMIT, || a_late_acknowledgement(Live::update));
}

#[test]
fn a_renewal_that_is_told_before_it_is_believed_is_found() {
    finds("what is lost is not extended", || {
        a_late_acknowledgement(|live, leadership| {
            live.signal.send_modify(|signal| signal.deadlines = Deadlines::of(leadership));
            live.shared.cell.extend(leadership.until)
        })
    });
}

/// Two readers and an acknowledgement: what one of them was told, the other is told too.
fn readers_at_the_deadline() {
    let Begun { clock, live, held, .. } = begin();
    let renewed = sent_at(clock.now() + 2 * SECOND);
    let readers = [held.term(), held.term()].map(|term| {
        let clock = clock.clone();
        thread::spawn(move || {
            let first = term.check();
            clock.pass(5 * SECOND);
            (first, term.check(), term.check())
        })
    });
    let updated = live.update(&renewed);
    let told = readers.map(|reader| reader.join().unwrap());
    let last = held.check();
    for (first, second, third) in told {
        let checks = [first, second, third, last];
        let lost = checks.iter().position(Result::is_err).unwrap_or(checks.len());
        assert!(checks[lost..].iter().all(|check| *check == Err(Loss::Expired)), "{checks:?}");
    }
    assert_eq!(last.is_ok(), updated.is_ok());
}

#[test]
fn readers_are_told_the_same_for_ever() {
    explore(5_000, readers_at_the_deadline);
}

/// Ends the term, and keeps the driver's side or lets it go.
type Ends = fn(Live) -> Option<Live>;
type Waits = fn(Term) -> Loss;

/// No time passes: nothing but the driver's signal wakes who waits.
fn a_loss_wakes(ends: Ends, waits: Waits) {
    let Begun { live, held, .. } = begin();
    let waiter = thread::spawn({
        let term = held.term();
        move || waits(term)
    });
    let driver = thread::spawn(move || ends(live));
    let loss = waiter.join().unwrap();
    driver.join().unwrap();
    assert_eq!(held.check(), Err(loss));
}

fn superseded(live: Live) -> Option<Live> {
    assert_eq!(live.end(Loss::Superseded), Loss::Superseded);
    Some(live)
}

fn gone(live: Live) -> Option<Live> {
    drop(live);
    None
}

fn lost(term: Term) -> Loss {
    block_on(term.lost())
}

fn stopped(term: Term) -> Loss {
    match block_on(term.stopped()) {
        StopReason::Lost(loss) => loss,
        StopReason::Requested => panic!("nobody asked"),
    }
}

fn extended(term: Term) -> Loss {
    assert_eq!(block_on(term.extended(term.deadlines().until)), None);
    term.check().expect_err("it is over")
}

#[test]
fn a_loss_wakes_whoever_waits() {
    explore_all(LIMIT, || a_loss_wakes(superseded, lost));
    explore_all(LIMIT, || a_loss_wakes(superseded, stopped));
    explore_all(LIMIT, || a_loss_wakes(superseded, extended));
}

#[test]
fn a_driver_that_goes_wakes_whoever_waits() {
    explore_all(LIMIT, || a_loss_wakes(gone, lost));
    explore_all(LIMIT, || a_loss_wakes(gone, stopped));
    explore_all(LIMIT, || a_loss_wakes(gone, extended));
}

#[test]
fn a_driver_that_goes_ends_belief_though_nobody_waits() {
    let Begun { live, held, .. } = begin();
    drop(live);
    assert_eq!(held.check(), Err(Loss::DriverGone));
}

#[test]
fn an_end_that_wakes_nobody_is_found() {
    finds("deadlock", || {
        a_loss_wakes(
            |live| {
                live.shared.cell.end(Loss::Superseded);
                Some(live)
            },
            lost,
        )
    });
}

#[test]
fn a_driver_that_goes_silently_is_found() {
    finds("deadlock", || a_loss_wakes(Some, lost));
}

#[test]
fn a_signal_sent_before_the_end_is_found() {
    finds("deadlock", || {
        a_loss_wakes(
            |live| {
                live.signal.send_modify(|signal| signal.loss = Some(Loss::Superseded));
                live.shared.cell.end(Loss::Superseded);
                Some(live)
            },
            lost,
        )
    });
}

#[test]
fn a_wait_that_looks_before_it_listens_is_found() {
    let looks_first = |mut term: Term| {
        block_on(async move {
            loop {
                let until = match term.until() {
                    Ok(until) => until,
                    Err(loss) => return loss,
                };
                // Whatever was signalled since the look counts as heard.
                term.signal.mark_unchanged();
                term.news(until).await;
            }
        })
    };
    finds("deadlock", move || a_loss_wakes(superseded, looks_first));
}

/// A request to stop and then the loss, while one waits for the request, one for the loss and one
/// for a renewal.
fn a_request_wakes_who_waits_for_it() {
    let Begun { live, held, clock, .. } = begin();
    let first = held.deadlines().until;
    let asked = Leadership { draining: true, ..sent_at(clock.now() + SECOND) };
    let stops = thread::spawn({
        let term = held.term();
        move || block_on(term.stopped())
    });
    let renewed = thread::spawn({
        let term = held.term();
        move || block_on(term.extended(first))
    });
    let ends = thread::spawn({
        let term = held.term();
        move || lost(term)
    });
    assert_eq!(live.update(&asked), Ok(()));
    // Both are done before the loss, which wakes everybody.
    assert_eq!(stops.join().unwrap(), StopReason::Requested);
    assert_eq!(renewed.join().unwrap(), Some(Deadlines::of(&asked)));
    drop(live);
    assert_eq!(ends.join().unwrap(), Loss::DriverGone);
}

#[test]
fn a_request_to_stop_and_a_renewal_wake_who_waits_for_them() {
    explore(3_000, a_request_wakes_who_waits_for_it);
}

/// The deadline moves while somebody waits for it, and nobody signals when it passes.
fn the_deadline_wakes(waits: Waits) {
    let Begun { clock, live, held, .. } = begin();
    let renewed = sent_at(clock.now() + 2 * SECOND);
    let waiter = thread::spawn({
        let term = held.term();
        move || waits(term)
    });
    let driver = thread::spawn(move || (live.update(&renewed), live));
    clock.pass(BELIEF);
    clock.pass(2 * SECOND);
    assert_eq!(waiter.join().unwrap(), Loss::Expired);
    let (_, stalled) = driver.join().unwrap();
    assert_eq!(held.check(), Err(Loss::Expired));
    drop(stalled);
}

#[test]
fn a_deadline_that_moves_wakes_who_waits_and_needs_no_driver() {
    explore(3_000, || the_deadline_wakes(lost));
    explore(3_000, || the_deadline_wakes(stopped));
    explore(3_000, || the_deadline_wakes(extended_twice));
}

/// Waits until no renewal comes any more.
fn extended_twice(term: Term) -> Loss {
    let mut until = term.deadlines().until;
    while let Some(deadlines) = block_on(term.extended(until)) {
        until = deadlines.until;
    }
    term.check().expect_err("it is over")
}

#[test]
fn a_timer_that_is_not_set_anew_is_found() {
    let set_once = |mut term: Term| {
        let deadline = term.shared.clock.sleep_until(term.deadlines().until);
        block_on(async move {
            deadline.await;
            loop {
                if let Err(loss) = term.check() {
                    return loss;
                }
                if term.signal.changed().await.is_err() {
                    return Loss::DriverGone;
                }
            }
        })
    };
    finds("deadlock", move || the_deadline_wakes(set_once));
}
