//! What no handle can ask of the driver, and what it must not obey.
#![expect(clippy::disallowed_methods, reason = "the driver is started here")]

mod orders;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::{Driver, State};
use crate::backend::LockBackend;
use crate::clock::Clock;
use crate::election::{CandidateConfig, Election};
use crate::record::Incarnation;
use crate::runtime::command::Command;
use crate::runtime::memory::MemoryLock;
use crate::runtime::status::{Counters, Status};
use crate::runtime::term::Held;
use crate::runtime::testing::VirtualClock;
use crate::timing::Timing;

const SECOND: Duration = Duration::from_secs(1);

/// The driver of a candidate, not yet running.
fn driver(lock: &MemoryLock, clock: impl Clock) -> (Driver, mpsc::UnboundedSender<Command<Held>>) {
    let timing = Timing::default();
    let candidate = CandidateConfig {
        identity: "a".to_owned(),
        advertise: None,
        incarnation: Incarnation(7),
        timing,
        hand_over_jitter: Duration::ZERO,
    };
    let election = Election::new(candidate, &lock.capabilities());
    let (commands, receiver) = mpsc::unbounded_channel();
    let first = Status::of(&election, clock.now(), None, Counters::default());
    let driver = Driver {
        lock: Arc::new(lock.clone()),
        clock: Arc::new(clock),
        timing,
        heartbeat: None,
        election,
        commands: receiver,
        handle: commands.downgrade(),
        status: watch::channel(first).0,
        state: State::default(),
    };
    (driver, commands)
}

#[tokio::test]
async fn the_end_of_another_terms_work_changes_nothing() {
    let (lock, clock) = (MemoryLock::new("m"), VirtualClock::new());
    let (driver, commands) = driver(&lock, clock.clone());
    tokio::spawn(driver.run());
    let (reply, mut answer) = oneshot::channel();
    commands.send(Command::Campaign(reply)).unwrap();
    clock.advance(SECOND).await;
    let held = answer.try_recv().expect("leads").unwrap().claim();
    for other in [held.token() - 1, held.token() + 1] {
        let (reply, mut answer) = oneshot::channel();
        commands.send(Command::Drained { token: other, reply: Some(reply) }).unwrap();
        commands.send(Command::Dropped { token: other }).unwrap();
        clock.advance(SECOND).await;
        assert_eq!(answer.try_recv(), Ok(false), "nothing was released");
        assert_eq!(held.check(), Ok(held.token()));
        assert!(lock.read().await.unwrap().record().unwrap().holder.is_some());
    }
}
