//! Two candidates that hand a lock over to one another.

use std::time::{Duration, Instant};

use leasehold::Elector;
use leasehold::status::Leader;
use leasehold_conformance::distribution::Distribution;

/// The times from the release to the next one's first successful check, of so many rounds. A round
/// begins `settle` after the candidate that waits knows who leads.
pub(crate) async fn in_turns(
    electors: [&Elector; 2],
    rounds: usize,
    settle: Duration,
) -> Distribution {
    let mut held = electors[0].campaign().await.unwrap();
    let mut times = Vec::new();
    for round in 0..rounds {
        let next = electors[(round + 1) % 2].clone();
        let waits = next.clone();
        let waiting = tokio::spawn(async move {
            let held = waits.campaign().await.unwrap();
            held.check().unwrap();
            (held, Instant::now())
        });
        let token = Some(held.token());
        let is_told = |leader: &Leader| matches!(leader, Leader::Held(who) if who.token == token);
        while !is_told(&next.status().leader) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(settle).await;
        let began = Instant::now();
        assert!(held.resign().await.unwrap());
        let (next, led) = waiting.await.unwrap();
        times.push(led - began);
        held = next;
    }
    Distribution::of(times)
}
