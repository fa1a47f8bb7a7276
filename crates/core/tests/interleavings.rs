//! Every interleaving of a term's word: checks, an acknowledgement on its way, and an end, on several threads.
//! The file under test is the product's own, over a model checker's atomics.

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}
mod election {
    /// As in the product, where it may grow; here it is matched exhaustively.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Loss {
        Expired,
        Superseded,
        Resigned,
        Dropped,
        DriverGone,
    }
}
mod time {
    pub(crate) use leasehold_core::Time;
}
#[path = "../src/cell.rs"]
mod cell;

use cell::Cell;
use election::Loss;
use loom::sync::Arc;
use loom::thread;
use time::Time;

const DEADLINE: Time = Time(100);
const RENEWED: Time = Time(200);

/// Once anybody saw the deadline, nobody is told Ok again, whatever acknowledgement arrives.
#[test]
fn a_late_acknowledgement_brings_nothing_back() {
    loom::model(|| {
        let cell = Arc::new(Cell::new(DEADLINE));
        let driver = {
            let cell = cell.clone();
            thread::spawn(move || cell.extend(RENEWED))
        };
        let reader = {
            let cell = cell.clone();
            thread::spawn(move || (cell.check(DEADLINE), cell.check(DEADLINE)))
        };
        let (first, second) = reader.join().expect("no panic");
        let extended = driver.join().expect("no panic");
        let last = cell.check(Time(150));
        if first.is_err() {
            assert_eq!(second, first, "a reader is told the same for ever");
            assert_eq!(extended, Err(Loss::Expired), "the driver learns of it");
            assert_eq!(last, Err(Loss::Expired));
        } else {
            assert_eq!((second, extended, last), (Ok(()), Ok(()), Ok(())));
        }
    });
}

/// Drop, resignation and loss race: one of them is the reason, and everybody is told the same.
#[test]
fn a_term_ends_once() {
    loom::model(|| {
        let cell = Arc::new(Cell::new(DEADLINE));
        let ends = [Loss::Resigned, Loss::Superseded].map(|loss| {
            let cell = cell.clone();
            thread::spawn(move || cell.end(loss))
        });
        let seen = cell.check(Time(50));
        let told = ends.map(|end| end.join().expect("no panic"));
        assert_eq!(told[0], told[1]);
        assert_eq!(cell.check(Time(50)), Err(told[0]));
        assert!(seen == Ok(()) || seen == Err(told[0]));
    });
}

/// The owner resigns while a renewal is acknowledged and another thread sees the deadline.
#[test]
fn a_resigned_term_is_never_extended() {
    loom::model(|| {
        let cell = Arc::new(Cell::new(DEADLINE));
        let driver = {
            let cell = cell.clone();
            thread::spawn(move || cell.extend(RENEWED))
        };
        let reader = {
            let cell = cell.clone();
            thread::spawn(move || cell.check(DEADLINE))
        };
        let why = cell.end(Loss::Resigned);
        let extended = driver.join().expect("no panic");
        let seen = reader.join().expect("no panic");
        assert_eq!(cell.check(Time(50)), Err(why));
        assert!(matches!(why, Loss::Resigned | Loss::Expired));
        assert!(extended == Ok(()) || extended == Err(why));
        assert!(seen == Ok(()) || seen == Err(why) || seen == Err(Loss::Expired));
    });
}
