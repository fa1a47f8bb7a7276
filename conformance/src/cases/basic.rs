//! Basic.

use crate::verdict::{Finding, Outcome};
use crate::world::World;

pub(super) async fn leads_alone(world: &World) -> Outcome {
    let a = world.candidate("a").await?;
    let _lead = world.led(&a).await?;
    Ok(Finding::Holds)
}
