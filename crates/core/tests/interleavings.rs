//! Every interleaving of a term's word: checks, an acknowledgement on its way, and an end, on
//! several threads. The file under test is the product's own, over a model checker's atomics.

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
        Silent,
        Replaced,
    }
}
mod time {
    pub(crate) use leasehold_core::Time;
}
#[path = "../src/runtime/cell.rs"]
mod cell;

use cell::Cell;
use election::Loss;
use loom::sync::Arc;
use loom::thread;
use time::Time;

const DEADLINE: Time = Time(100);
const RENEWED: Time = Time(200);

/// What a cell offers, so that a broken twin can stand in its place.
trait Word: Sized + Send + Sync + 'static {
    fn new(until: Time) -> Self;
    fn check(&self, now: Time) -> Result<Time, Loss>;
    fn extend(&self, until: Time) -> Result<(), Loss>;
    fn end(&self, loss: Loss) -> Loss;
}

impl Word for Cell {
    fn new(until: Time) -> Self {
        Self::new(until)
    }

    fn check(&self, now: Time) -> Result<Time, Loss> {
        self.check(now)
    }

    fn extend(&self, until: Time) -> Result<(), Loss> {
        self.extend(until)
    }

    fn end(&self, loss: Loss) -> Loss {
        self.end(loss)
    }
}

/// Once anybody saw the deadline, nobody is told Ok again, whatever acknowledgement arrives.
fn a_late_acknowledgement<W: Word>() {
    let cell = Arc::new(W::new(DEADLINE));
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
        assert_eq!((second, extended, last), (Ok(RENEWED), Ok(()), Ok(RENEWED)));
    }
}

/// Drop, resignation and loss race: one of them is the reason, and everybody is told the same.
fn two_ends<W: Word>() {
    let cell = Arc::new(W::new(DEADLINE));
    let ends = [Loss::Resigned, Loss::Superseded].map(|loss| {
        let cell = cell.clone();
        thread::spawn(move || cell.end(loss))
    });
    let seen = cell.check(Time(50));
    let told = ends.map(|end| end.join().expect("no panic"));
    assert_eq!(told[0], told[1]);
    assert_eq!(cell.check(Time(50)), Err(told[0]));
    assert!(seen == Ok(DEADLINE) || seen == Err(told[0]));
}

/// The owner resigns while a renewal is acknowledged and another thread sees the deadline.
fn a_resignation<W: Word>() {
    let cell = Arc::new(W::new(DEADLINE));
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
    assert!(seen == Ok(RENEWED) || seen == Err(why));
}

#[test]
fn a_late_acknowledgement_brings_nothing_back() {
    loom::model(a_late_acknowledgement::<Cell>);
}

#[test]
fn a_term_ends_once() {
    loom::model(two_ends::<Cell>);
}

#[test]
fn a_resigned_term_is_never_extended() {
    loom::model(a_resignation::<Cell>);
}

/// Looks and then writes, where the cell compares and exchanges. Zero is a loss.
struct Blind(loom::sync::atomic::AtomicU64);

impl Blind {
    fn until(&self) -> Result<Time, Loss> {
        match self.0.load(atomic::Ordering::SeqCst) {
            0 => Err(Loss::Expired),
            until => Ok(Time(until)),
        }
    }

    fn set(&self, word: u64) {
        self.0.store(word, atomic::Ordering::SeqCst);
    }
}

impl Word for Blind {
    fn new(until: Time) -> Self {
        Self(loom::sync::atomic::AtomicU64::new(until.0))
    }

    fn check(&self, now: Time) -> Result<Time, Loss> {
        let until = self.until()?;
        if now < until {
            return Ok(until);
        }
        self.set(0);
        Err(Loss::Expired)
    }

    fn extend(&self, until: Time) -> Result<(), Loss> {
        self.until().map(|_| self.set(until.0))
    }

    fn end(&self, loss: Loss) -> Loss {
        self.until().map_or_else(
            |earlier| earlier,
            |_| {
                self.set(0);
                loss
            },
        )
    }
}

#[test]
#[should_panic(expected = "a reader is told the same for ever")]
fn a_late_acknowledgement_that_is_not_compared_is_found() {
    loom::model(a_late_acknowledgement::<Blind>);
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn an_end_that_is_not_compared_is_found() {
    loom::model(two_ends::<Blind>);
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn a_resignation_that_is_overwritten_is_found() {
    loom::model(a_resignation::<Blind>);
}
