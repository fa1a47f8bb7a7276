//! The word of one term, on one thread and a few. Next to its file, which `tests/interleavings.rs`
//! builds into another crate.

use crate::election::Loss;
use crate::runtime::cell::Cell;
use crate::time::Time;

#[test]
fn a_check_that_saw_the_deadline_never_says_ok_again() {
    let cell = Cell::new(Time(100));
    assert_eq!(cell.check(Time(99)), Ok(Time(100)));
    assert_eq!(cell.check(Time(100)), Err(Loss::Expired));
    assert_eq!(cell.extend(Time(200)), Err(Loss::Expired));
    assert_eq!(cell.check(Time(50)), Err(Loss::Expired));
}

#[test]
fn the_first_end_stays() {
    for loss in [Loss::Expired, Loss::Superseded, Loss::Resigned, Loss::Dropped, Loss::DriverGone] {
        let cell = Cell::new(Time(100));
        assert_eq!(cell.end(loss), loss);
        assert_eq!(cell.end(Loss::Dropped), loss);
        assert_eq!(cell.check(Time(1)), Err(loss));
        assert_eq!(cell.extend(Time(200)), Err(loss));
    }
}

#[test]
fn a_deadline_never_moves_back() {
    let cell = Cell::new(Time(100));
    assert_eq!(cell.extend(Time(200)), Ok(()));
    assert_eq!(cell.extend(Time(150)), Ok(()));
    assert_eq!(cell.check(Time(199)), Ok(Time(200)));
}

#[test]
fn threads_agree_once_one_saw_the_deadline() {
    for _ in 0..200 {
        let cell = Cell::new(Time(100));
        std::thread::scope(|scope| {
            let checked = scope.spawn(|| cell.check(Time(100)));
            let extended = scope.spawn(|| cell.extend(Time(200)));
            match (checked.join().unwrap(), extended.join().unwrap()) {
                (Ok(seen), Ok(())) => {
                    assert_eq!((seen, cell.check(Time(150))), (Time(200), Ok(Time(200))));
                }
                (Err(_), extended) => {
                    assert_eq!(extended, Err(Loss::Expired));
                    assert_eq!(cell.check(Time(150)), Err(Loss::Expired));
                }
                (Ok(_), Err(loss)) => panic!("{loss:?} out of nowhere"),
            }
        });
    }
}
