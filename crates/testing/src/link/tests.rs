//! What each fault does to a request.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use leasehold_core::testing::VirtualClock;
use leasehold_core::{Change, MemoryLock, Nonce, Outcome, Record, Wall};

use super::*;

struct Scene {
    clock: VirtualClock,
    link: Link,
    ledger: Ledger,
    lock: Arc<dyn LockBackend>,
    clean: MemoryLock,
}

fn scene() -> Scene {
    let clock = VirtualClock::new();
    let base: Arc<dyn Clock> = Arc::new(clock.clone());
    let ledger = Ledger::new(History::new(base.clone()));
    let link = Link::new("a".into(), base, Gate::open(), ledger.clone());
    let clean = MemoryLock::new("m");
    Scene { lock: link.over(Arc::new(clean.clone())), clock, link, ledger, clean }
}

fn take(token: u64) -> Change {
    let record = Record {
        holder: None,
        token,
        lease_duration: Duration::from_secs(3),
        nonce: Nonce(u128::from(token)),
        acquired: Wall(0),
        renewed: Wall(0),
        extra: serde_json::Map::new(),
    };
    Change { intent: Intent::Take, record }
}

async fn stored(lock: &MemoryLock) -> Option<u64> {
    lock.read().await.unwrap().record().map(|record| record.token)
}

#[tokio::test]
async fn a_lost_request_is_not_carried_out_and_one_whose_answer_is_lost_is() {
    let scene = scene();
    for (fault, expected) in [(Fault::LoseRequest, None), (Fault::LoseAnswer, Some(1))] {
        let guard = scene.link.fault(Requests::Writes, fault);
        let (absent, change) = (Version::absent(), take(1));
        {
            let write = scene.lock.write(&absent, &change);
            let mut write = std::pin::pin!(write);
            assert!((&mut write).now_or_never().is_none());
            scene.clock.advance(Duration::from_secs(60)).await;
            assert!(write.now_or_never().is_none());
        }
        assert_eq!(stored(&scene.clean).await, expected);
        assert!(scene.lock.read().await.is_ok(), "reads are not struck");
        guard.lift();
    }
    let given_up = |event: &crate::history::Event| matches!(event.what, What::GivenUp { .. });
    assert_eq!(scene.ledger.history.count(given_up), 2);
}

#[tokio::test]
async fn a_held_request_arrives_when_the_fault_is_lifted_whoever_still_waits() {
    let scene = scene();
    let guard = scene.link.fault_next(1, Requests::Writes, Fault::HoldRequest);
    let (absent, change) = (Version::absent(), take(1));
    assert!(scene.lock.write(&absent, &change).now_or_never().is_none());
    scene.clock.advance(Duration::from_secs(1)).await;
    assert_eq!(stored(&scene.clean).await, None);
    guard.lift();
    scene.clock.advance(Duration::from_secs(1)).await;
    assert_eq!(stored(&scene.clean).await, Some(1));
}

#[tokio::test]
async fn delays_refusals_and_doubles() {
    let scene = scene();
    let (absent, change) = (Version::absent(), take(1));
    let refuse = scene.link.fault(Requests::All, Fault::Refuse(ErrorKind::Denied));
    let error = scene.lock.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    refuse.lift();
    let late = scene.link.fault(Requests::All, Fault::DelayAnswer(Duration::from_secs(2)));
    let mut read = scene.lock.read();
    assert!((&mut read).now_or_never().is_none());
    scene.clock.advance(Duration::from_millis(1999)).await;
    assert!((&mut read).now_or_never().is_none());
    scene.clock.advance(Duration::from_millis(1)).await;
    assert!(read.now_or_never().is_some());
    late.lift();
    let _double = scene.link.fault(Requests::Writes, Fault::Double);
    let second = scene.lock.write(&absent, &change).await.unwrap();
    assert_eq!(second, Outcome::Conflict, "the second of the two was refused");
    assert_eq!(stored(&scene.clean).await, Some(1));
}

#[tokio::test]
async fn a_watch_is_deaf_for_good_and_replays() {
    let scene = scene();
    let first = scene.clean.read().await.unwrap();
    let replay = scene.link.fault(Requests::All, Fault::Replay);
    let mut watch = scene.lock.watch(&first);
    let mut version = Version::absent();
    for token in 1..=2 {
        let Outcome::Written(now) = scene.clean.write(&version, &take(token)).await.unwrap() else {
            panic!("nobody else writes")
        };
        version = now.version;
    }
    let mut tokens = Vec::new();
    while let Some(event) = watch.next().now_or_never() {
        tokens.push(event.unwrap().unwrap().record().unwrap().token);
    }
    assert_eq!(tokens, [1, 1, 2, 1, 2]);
    replay.lift();
    let deaf = scene.link.fault(Requests::All, Fault::Deafen);
    scene.clean.delete();
    assert!(watch.next().now_or_never().is_none());
    deaf.lift();
    assert!(watch.next().now_or_never().is_none(), "half-open connections stay so");
    assert!(scene.lock.watch(&first).next().now_or_never().is_some());
}
