//! A store that goes back: a replica that missed writes is promoted.

#[cfg(feature = "servers")]
mod promoted;

use crate::hand::grows;
use crate::judge::Property;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World};
#[cfg(feature = "servers")]
pub(super) use promoted::promoted;

/// SV5, where the store goes back when it is told to. First by renewals, which a living leader must
/// not notice; then by a whole term, so that who led before it is named again.
pub(super) async fn goes_back(world: &World) -> Outcome {
    // A leader asserts its record again over whatever came back.
    world.exempt(Property::Identity);
    let (store, lock) = (world.goes_back()?, world.lock());
    let back = |changes| store.go_back(lock, changes).map_err(Problem::Vacuous);
    let [a, b, c] =
        [world.candidate("a").await?, world.candidate("b").await?, world.candidate("c").await?];
    let lead = world.led(&a).await?;
    let _watching = b.stand();
    for changes in [1, 2, 3] {
        world.sleep(2 * LEASE).await;
        back(changes)?;
        world.sleep(2 * LEASE).await;
        must(lead.check(), || format!("the store went back by {changes} and the term is over"))?;
    }
    let first = lead.token();
    must(lead.resign().await?, || "a release is not confirmed".to_owned())?;
    world.until_leads("b", world.hand_over()).await?;
    let second = b.leads().ok_or_else(|| Problem::violated("b leads no more"))?;
    grows(first, second)?;
    // To before its take, and before the release.
    back(2)?;
    let newcomer = c.stand();
    world.sleep(2 * LEASE).await;
    must(b.leads() == Some(second), || "the take of a leader was lost, and so it is".to_owned())?;
    must(!newcomer.is_finished(), || "a newcomer took from a living leader".to_owned())?;
    // Now it is dead, and whoever comes next has a greater token.
    b.kill();
    let took = world.now();
    back(1)?;
    let bound = world.failover() + LEASE;
    let third =
        world.within("another leads", bound, newcomer).await?.map_err(Problem::violated)??;
    grows(second, third.token())?;
    world.say(format!("the next one led {:?} after a lost renewal", world.now().since(took)));
    Ok(Finding::Holds)
}
