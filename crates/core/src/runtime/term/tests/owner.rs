//! How the owner goes, by dropping its term or by resigning, and what its readers and the driver
//! learn of it.

use super::*;

/// The owner goes while a renewal is acknowledged. Belief ends before the driver is told, so that
/// it never hears of a term that somebody still believes in; clones learn of it, though the owner
/// is gone.
fn the_owner_goes(goes: fn(Held), why: Loss) {
    let Begun { clock, live, held, mut commands } = begin();
    let renewed = sent_at(clock.now() + 2 * SECOND);
    let reader = thread::spawn({
        let term = held.term();
        move || (term.check(), term.check(), lost(term))
    });
    let driver = thread::spawn(move || {
        let updated = live.update(&renewed);
        let told = block_on(commands.recv()).expect("the owner says so");
        assert_eq!(live.update(&renewed), Err(why), "told of a term that is believed in");
        if let Command::Drained { reply: Some(reply), .. } = told {
            reply.send(true).expect("it is waited for");
        }
        assert_eq!(live.end(Loss::Resigned), why, "the first end stays");
        updated
    });
    goes(held);
    let (first, second, loss) = reader.join().unwrap();
    let updated = driver.join().unwrap();
    assert_eq!(loss, why);
    assert!(updated == Ok(()) || updated == Err(why));
    assert!(matches!((first, second), (Ok(7), Ok(7)) | (Ok(7) | Err(_), Err(_))));
}

fn resign(held: Held) {
    assert_eq!(block_on(held.resign()).ok(), Some(true));
}

#[test]
fn belief_ends_before_the_driver_hears_that_the_owner_is_gone() {
    explore(3_000, || the_owner_goes(drop, Loss::Dropped));
    explore(3_000, || the_owner_goes(resign, Loss::Resigned));
}

#[test]
fn an_owner_that_tells_the_driver_first_is_found() {
    let tells_first = |mut held: Held| {
        held.resigned = true;
        let dropped = Command::Dropped { token: held.token() };
        held.commands.send(dropped).expect("the driver listens");
        point();
        held.term.shared.cell.end(Loss::Dropped);
    };
    finds("told of a term that is believed in", move || the_owner_goes(tells_first, Loss::Dropped));
}

/// The owner resigns at the very deadline, which a reader sees pass, while a renewal is
/// acknowledged.
fn a_resignation_at_the_deadline() {
    let Begun { clock, live, held, mut commands } = begin();
    let (term, renewed) = (held.term(), sent_at(clock.now() + 2 * SECOND));
    clock.pass(BELIEF);
    let reader = thread::spawn({
        let term = held.term();
        move || (term.check(), term.check())
    });
    let driver = thread::spawn(move || {
        let updated = live.update(&renewed);
        match block_on(commands.recv()) {
            Some(Command::Drained { token: 7, reply: Some(reply) }) => reply.send(true).unwrap(),
            other => panic!("{other:?}"),
        }
        (updated, live.end(Loss::Resigned))
    });
    resign(held);
    let (first, second) = reader.join().unwrap();
    let (updated, end) = driver.join().unwrap();
    let why = term.check().expect_err("it is over");
    assert!(matches!(why, Loss::Resigned | Loss::Expired));
    assert_eq!(end, why, "there is one reason");
    assert!(updated == Ok(()) || updated == Err(why));
    for check in [first, second] {
        assert!(check == Ok(7) || check == Err(why), "{check:?} and then {why:?}");
    }
    assert!(first.is_ok() || second.is_err(), "once Err always Err");
}

#[test]
fn a_resignation_at_the_deadline_ends_the_term_once() {
    explore(5_000, a_resignation_at_the_deadline);
}

/// The driver goes, with its commands, while the owner resigns. The owner does not wait for ever.
fn the_driver_goes_before_it_answers(goes: fn(mpsc::UnboundedReceiver<Command<Held>>)) {
    let Begun { live, held, mut commands, .. } = begin();
    let term = held.term();
    let driver = thread::spawn(move || {
        // It may have been told, or not.
        let told = commands.try_recv();
        drop(live);
        point();
        drop(told);
        goes(commands);
    });
    let answer = block_on(held.resign());
    assert_eq!(answer.map_err(|error| error.kind()), Err(ErrorKind::Stopped));
    driver.join().unwrap();
    assert!(matches!(term.check(), Err(Loss::Resigned | Loss::DriverGone)));
}

#[test]
fn a_resignation_is_answered_though_the_driver_goes() {
    explore_all(LIMIT, || the_driver_goes_before_it_answers(drop));
}

#[test]
fn a_driver_that_leaves_a_resignation_unanswered_is_found() {
    finds("deadlock", || the_driver_goes_before_it_answers(std::mem::forget));
}
