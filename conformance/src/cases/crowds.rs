//! Others who keep the store busy.

use std::time::Duration;

use leasehold::backend::Observed;
use leasehold::{Error, Loss};

use crate::fixture::{Access, Fixture, Login, User, Wish};
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};

const LOCK: &str = "jobs";

/// Who asks at every moment.
const CROWD: usize = 500;

/// How many requests the server carries out at once.
const SEATS: u32 = 30;

/// Longer than it takes the server to take notice of what an operator does.
const NOTICE: Duration = Duration::from_secs(20);

/// OV2. Once as it comes, and once as the documentation says.
pub(super) async fn starved(world: &World) -> Outcome {
    let servers = world.servers_as(Wish { seats: Some(SEATS), ..Wish::default() }).await?;
    let [preferred, other] = servers.crowds()?.accounts();
    let url = granted(servers.as_ref(), &preferred).await?;
    let others = granted(servers.as_ref(), &other).await?;
    let a = world.candidate_at(&url, "a", setup()).await?;
    let b = world.candidate_at(&url, "b", setup()).await?;
    let lead = world.led(&a).await?;
    let token = lead.token();
    let waiting = b.stand();
    world.sleep(LEASE).await;
    must(lead.check(), || "a term ends on a quiet server".to_owned())?;
    world.disturb("a crowd comes");
    let crowd = servers.crowds()?.crowd(CROWD).await?;
    let came = world.now();
    // By its deadline after the last renewal that got through; the first of the crowd find free
    // seats.
    let bound = NOTICE + world.timing().renew_deadline();
    let loss = world.within("the leader's term ends", bound, lead.lost()).await?;
    must(loss == Loss::Expired, || format!("it ended as {loss:?}"))?;
    let ended = world.now().since(came);
    drop(lead);
    let again = a.stand();
    let starves = asks(world, &others).await;
    world.sleep(LEASE).await;
    servers.crowds()?.prefer().await?;
    let preferred_at = world.now();
    let up = world.until_some_leads("", NOTICE + world.failover()).await?;
    crate::hand::grows(token, up.token)?;
    world.say(format!(
        "{CROWD} others at a server of {SEATS} seats: the term ended {ended:?} after they came; \
         preferred, somebody led {:?} later",
        world.now().since(preferred_at)
    ));
    world.sleep(5 * LEASE).await;
    let now = world.leader().filter(|now| now.token == up.token);
    must(now.is_some(), || "a preferred leader loses its term to the crowd".to_owned())?;
    // The crowd is there still.
    let still = asks(world, &others).await;
    for asked in [&starves, &still] {
        if let Some(Ok(_)) = asked {
            return Err(Problem::Vacuous("others do not wait: it was no crowd".to_owned()));
        }
    }
    world.say(format!(
        "who is not preferred was told {} before and {} after; of the crowd {} were told to come \
         later",
        said(&starves),
        said(&still),
        crowd.refused()
    ));
    drop((crowd, waiting, again));
    Ok(Finding::Holds)
}

async fn granted(servers: &dyn Fixture, user: &User) -> Result<String, Problem> {
    let users = servers.users()?;
    users.grant(user, LOCK, Access::ReadWrite).await?;
    let login = Login { user: Some(user.clone()), pair: None, tls: true, ..users.login() };
    Ok(users.url_as(LOCK, &login)?)
}

/// One read, which may take as long as a term lasts; `None`: it takes longer.
async fn asks(world: &World, url: &str) -> Option<Result<Observed, Error>> {
    let read = async { leasehold::connect(url).await?.read().await };
    tokio::time::timeout(world.timing().renew_deadline(), read).await.ok()
}

fn said(asked: &Option<Result<Observed, Error>>) -> String {
    match asked {
        Some(Ok(_)) => "what is stored".to_owned(),
        Some(Err(error)) => format!("{error:?}"),
        None => "nothing".to_owned(),
    }
}
