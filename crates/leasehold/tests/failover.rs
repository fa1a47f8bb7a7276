//! The test that the documentation of `leasehold::testing` shows, and its broken twin.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use leasehold::Elector;
use leasehold::backend::LockBackend;
use leasehold::testing::MemoryLock;
use leasehold::testing::{Link, VirtualClock, in_virtual_time};

fn elector(lock: Arc<dyn LockBackend>, name: &str, clock: &VirtualClock) -> Elector {
    Elector::builder(lock).identity(name).clock(clock.clone()).build().unwrap()
}

#[test]
fn who_is_cut_off_stops_believing_before_another_leads() {
    in_virtual_time(async |clock| {
        let (lock, way) = (MemoryLock::new("jobs"), Link::alone("a", clock.clone()));
        let a = elector(way.over(Arc::new(lock.clone())), "a", &clock);
        let b = elector(Arc::new(lock), "b", &clock);
        let held = a.campaign().await.unwrap();
        let cut = way.cut();
        clock.advance(Duration::from_secs(10)).await;
        assert!(held.check().is_err());
        let (next, ()) = tokio::join!(b.campaign(), clock.advance(Duration::from_secs(6)));
        assert!(next.unwrap().token() > held.token());
        cut.lift();
    });
}

#[test]
fn who_is_not_cut_off_leads_on() {
    in_virtual_time(async |clock| {
        let way = Link::alone("a", clock.clone());
        let a = elector(way.over(Arc::new(MemoryLock::new("jobs"))), "a", &clock);
        let held = a.campaign().await.unwrap();
        clock.advance(Duration::from_secs(10)).await;
        assert!(held.check().is_ok());
    });
}
