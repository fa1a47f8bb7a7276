//! The handles of one candidate against its driver, the real one, over the store in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shuttle::future::{JoinHandle, block_on, spawn};
use shuttle::thread;
use tokio::sync::{mpsc, oneshot};

use super::driver;
use crate::backend::LockBackend;
use crate::election::Loss;
use crate::error::Error;
use crate::record::Record;
use crate::runtime::command::Command;
use crate::runtime::exploration::{PointedClock, SECOND, explore, finds};
use crate::runtime::memory::MemoryLock;
use crate::runtime::term::{Held, StopReason, Term};

struct Running {
    clock: PointedClock,
    lock: MemoryLock,
    commands: mpsc::UnboundedSender<Command<Held>>,
    driver: JoinHandle<()>,
}

fn start() -> Running {
    let (clock, lock) = (PointedClock::default(), MemoryLock::new("m"));
    let (driver, commands) = driver(&lock, clock.clone());
    Running { clock, lock, commands, driver: spawn(driver.run()) }
}

impl Running {
    fn campaign(&self) -> oneshot::Receiver<Result<Held, Error>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Campaign(reply)).expect("the driver listens");
        answer
    }

    fn led(&self) -> Held {
        block_on(self.campaign()).expect("it is answered").expect("it leads").claim()
    }

    /// Ends the candidate. Nothing may keep it from ending.
    fn end(self) -> Record {
        self.commands.send(Command::Shutdown).expect("the driver listens");
        // It may wait for a request or its patience: let time pass until it is done.
        let time = passes_until(self.clock.clone(), {
            let commands = self.commands.clone();
            move || commands.is_closed()
        });
        block_on(self.driver).expect("it ends by itself");
        time.join().unwrap();
        let observed = block_on(self.lock.read()).expect("memory answers");
        observed.record().expect("there is a record").clone()
    }
}

/// Lets time pass in steps, as long as it takes.
fn passes_until(
    clock: PointedClock,
    done: impl Fn() -> bool + Send + 'static,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while !done() {
            clock.pass(4 * SECOND);
            thread::yield_now();
        }
    })
}

/// Looks until the term is over. Once it is, it is for ever, and for one reason.
fn watches(term: &Term) -> Loss {
    let mut looks = 0;
    let loss = loop {
        match term.check() {
            Ok(_) if looks < 4 => looks += 1,
            Ok(_) => break block_on(term.lost()),
            Err(loss) => break loss,
        }
    };
    assert_eq!(term.check(), Err(loss));
    assert_eq!(block_on(term.stopped()), StopReason::Lost(loss));
    assert_eq!(block_on(term.lost()), loss);
    loss
}

/// The owner goes while time passes its deadline or not, the driver renews, and others look.
fn the_owner_goes(goes: fn(Held) -> Option<bool>, why: Loss) {
    let running = start();
    let held = running.led();
    let (token, term) = (held.token(), held.term());
    let readers = [held.term(), held.term()].map(|term| thread::spawn(move || watches(&term)));
    let time = thread::spawn({
        let clock = running.clock.clone();
        move || (0..4).for_each(|_| clock.pass(4 * SECOND))
    });
    let confirmed = goes(held);
    let loss = term.check().expect_err("belief ends as the owner goes");
    assert!(loss == why || loss == Loss::Expired, "{loss:?}");
    for reader in readers {
        assert_eq!(reader.join().unwrap(), loss, "there is one reason");
    }
    time.join().unwrap();
    let record = running.end();
    match confirmed {
        Some(true) => assert_eq!((record.holder, record.token), (None, token), "released"),
        Some(false) => {}
        // The work may run on: the lease runs out.
        None => {
            assert!(record.holder.is_some(), "released, and nobody knows that the work stopped")
        }
    }
    assert_eq!(term.check(), Err(loss), "for ever");
}

fn resign(held: Held) -> Option<bool> {
    Some(block_on(held.resign()).expect("the driver answers"))
}

fn drop_it(held: Held) -> Option<bool> {
    drop(held);
    None
}

#[test]
fn an_owner_that_resigns_is_answered_and_everybody_learns_of_it() {
    explore(500, || the_owner_goes(resign, Loss::Resigned));
}

#[test]
fn an_owner_that_is_dropped_ends_belief_and_releases_nothing() {
    explore(500, || the_owner_goes(drop_it, Loss::Dropped));
}

#[test]
fn an_owner_that_is_leaked_is_found() {
    finds("belief ends as the owner goes", || {
        the_owner_goes(
            |held| {
                std::mem::forget(held);
                None
            },
            Loss::Dropped,
        );
    });
}

/// Two campaigns of one candidate. Time flies, so that terms are lost while the driver is about to
/// do something.
fn campaigns_queue(works: fn(Held, &AtomicBool)) {
    let running = start();
    let working = Arc::new(AtomicBool::new(false));
    let owners = [running.campaign(), running.campaign()].map(|campaign| {
        let working = working.clone();
        thread::spawn(move || {
            let held = block_on(campaign).expect("it is answered").expect("it leads").claim();
            assert!(!working.swap(true, Ordering::SeqCst), "two works at once");
            let (token, _) = (held.token(), held.check());
            works(held, &working);
            token
        })
    });
    let done = Arc::new(AtomicBool::new(false));
    let time = passes_until(running.clock.clone(), {
        let done = done.clone();
        move || done.load(Ordering::SeqCst)
    });
    let tokens = owners.map(|owner| owner.join().unwrap());
    done.store(true, Ordering::SeqCst);
    assert_ne!(tokens[0], tokens[1], "two terms with one token");
    time.join().unwrap();
    running.end();
}

#[test]
fn no_term_begins_here_while_work_of_the_last_one_may_run() {
    explore(300, || {
        campaigns_queue(|held, working| {
            working.store(false, Ordering::SeqCst);
            resign(held);
        });
    });
    explore(300, || {
        campaigns_queue(|held, working| {
            working.store(false, Ordering::SeqCst);
            drop(held);
        });
    });
}

#[test]
fn work_that_goes_on_after_its_owner_resigned_is_found() {
    finds("two works at once", || {
        campaigns_queue(|held, working| {
            let term = held.term();
            resign(held);
            assert!((0..4).all(|_| term.check().is_err()));
            working.store(false, Ordering::SeqCst);
        });
    });
}
