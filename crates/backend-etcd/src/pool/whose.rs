//! Asks the endpoints whose they are, and judges answers by that. The rule is in `identity.rs`.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{
    Client, DeleteResponse, GetResponse, LeaseGrantResponse, LeaseRevokeResponse,
    LeaseTimeToLiveResponse, MemberListResponse, ResponseHeader, StatusResponse, TxnResponse,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::identity::{Heard, Identity};
use super::{Place, Pool};
use crate::failure::{Failure, Reason};

/// How long the endpoints have to say which cluster they are of, before the first request goes out.
const INTRODUCTION: Duration = Duration::from_millis(200);

/// How often those are asked again that have not said it, until more than half have.
const AGAIN: Duration = Duration::from_secs(5);

/// What is known of the endpoints.
#[derive(Debug)]
pub(crate) struct Introduced {
    pub(crate) identity: Identity,
    /// When the endpoints were asked last which cluster they are of.
    pub(crate) asked: Option<Instant>,
}

/// An answer, which says whose it is.
pub(crate) trait Answer {
    fn of_cluster(&self) -> Option<&ResponseHeader>;
}

macro_rules! answers {
    ($($name:ident)*) => {$(
        impl Answer for $name {
            fn of_cluster(&self) -> Option<&ResponseHeader> {
                self.header()
            }
        }
    )*};
}

answers! {
    DeleteResponse GetResponse LeaseGrantResponse LeaseRevokeResponse LeaseTimeToLiveResponse
    MemberListResponse StatusResponse TxnResponse
}

/// A keep-alive was acknowledged. The client library keeps to itself by whom; what confirms the key
/// says it.
pub(crate) struct KeptAlive;

impl Answer for KeptAlive {
    fn of_cluster(&self) -> Option<&ResponseHeader> {
        None
    }
}

impl Pool {
    /// Judges what came on a lent client: an answer of another cluster is none.
    pub(crate) async fn heard(
        &self,
        place: Place,
        header: Option<&ResponseHeader>,
    ) -> Result<(), Failure> {
        let judged = self.judge(place.member, header);
        let Err(failure) = &judged else { return judged };
        self.close(place);
        if failure.reason == Reason::Foreign {
            // A stream is no request that goes on to the others: they are asked here.
            let others = (0..self.members.len()).filter(|other| *other != place.member);
            let _ = timeout(INTRODUCTION, self.ask_whose(others.collect())).await;
            self.judge(place.member, header)?;
        }
        judged
    }

    /// Which cluster the endpoints are of, before anybody is asked for anything. With one endpoint
    /// its answer says it.
    pub(crate) async fn introduce(&self) -> Result<(), Failure> {
        let is_done = || self.members.len() == 1 || self.identity().identity.is_known();
        if is_done() {
            return Ok(());
        }
        let _alone = self.introducing.lock().await;
        if is_done() {
            return Ok(());
        }
        let asked = self.identity().asked.replace(Instant::now());
        if asked.is_none_or(|asked| asked.elapsed() >= AGAIN) {
            let everybody = (0..self.members.len()).collect();
            let _ = timeout(INTRODUCTION, self.ask_whose(everybody)).await;
        }
        let mut introduced = self.identity();
        introduced.identity.decide().map_err(|_divided| {
            let said = self.clusters(&introduced.identity);
            let text = format!(
                "the endpoints are of different clusters, each of which would have a leader of its \
                 own: {said}"
            );
            Failure::refused(text).with_cure("name the members of one cluster")
        })?;
        for (number, member) in self.members.iter().enumerate() {
            if introduced.identity.is_foreign(number) {
                warn_of(&member.name);
            }
        }
        Ok(())
    }

    /// Asks those again that have not said which cluster they are of, unless more than half have.
    /// No request waits for it: one that is answered sooner than a connection can be made would
    /// end the asking each time, and a second cluster would never be found.
    pub(crate) fn ask_again(self: &Arc<Self>) {
        let silent = {
            let mut introduced = self.identity();
            let is_due = introduced.asked.is_none_or(|asked| asked.elapsed() >= AGAIN);
            let is_settled = introduced.identity.majority().is_some();
            if self.members.len() == 1 || is_settled || !is_due {
                return;
            }
            introduced.asked = Some(Instant::now());
            let silent = |member: &usize| introduced.identity.said(*member).is_none();
            (0..self.members.len()).filter(silent).collect()
        };
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let _ = timeout(pool.deadline, pool.ask_whose(silent)).await;
        });
    }

    /// Asks these members which cluster they are of, until more than half of all have said the
    /// same.
    pub(crate) async fn ask_whose(&self, members: Vec<usize>) {
        let status = |client: Client| async move { client.maintenance_client().status().await };
        let asking = |member| async move {
            let answer = self.ask(member, &status).await;
            let header = answer.as_ref().ok().and_then(|(status, _place)| status.header());
            if let Some(header) = header {
                self.identity().identity.note(member, header.cluster_id());
            }
        };
        let mut asked: FuturesUnordered<_> = members.into_iter().map(asking).collect();
        while asked.next().await.is_some() && self.identity().identity.majority().is_none() {}
    }

    /// Each endpoint, and the cluster that it is of.
    fn clusters(&self, identity: &Identity) -> String {
        let said = self.members.iter().enumerate().filter_map(|(number, member)| {
            identity.said(number).map(|said| format!("{} is of {said:x}", member.name))
        });
        said.collect::<Vec<_>>().join(", ")
    }

    /// Nothing is known that an answer could differ from.
    pub(crate) fn is_single_and_unknown(&self) -> bool {
        self.members.len() == 1 && !self.identity().identity.is_known()
    }

    /// Takes in whose an answer is.
    pub(crate) fn judge(
        &self,
        member: usize,
        header: Option<&ResponseHeader>,
    ) -> Result<(), Failure> {
        let Some(header) = header else { return Ok(()) };
        let mut introduced = self.identity();
        match introduced.identity.hear(member, header.cluster_id()) {
            Heard::Ours => Ok(()),
            Heard::Foreign { news } => {
                let name = &self.members[member].name;
                if news {
                    warn_of(name);
                }
                Err(Failure::foreign(name))
            }
            Heard::Replaced { before, now } => {
                let said = self.clusters(&introduced.identity);
                Err(Failure::replaced(before, now, &said))
            }
        }
    }

    /// What became of our cluster, if this member is known to be of another one.
    pub(crate) fn of_foreign(&self, member: usize) -> Option<Failure> {
        let cluster = {
            let introduced = self.identity();
            let cluster = introduced.identity.said(member)?;
            if introduced.identity.is_ours(member) || !introduced.identity.is_known() {
                return None;
            }
            cluster
        };
        let mut introduced = self.identity();
        Some(match introduced.identity.hear(member, cluster) {
            Heard::Replaced { before, now } => {
                Failure::replaced(before, now, &self.clusters(&introduced.identity))
            }
            Heard::Foreign { .. } | Heard::Ours => Failure::foreign(&self.members[member].name),
        })
    }

    pub(crate) fn identity(&self) -> MutexGuard<'_, Introduced> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_of(member: &str) {
    warn!(
        member,
        "this endpoint is of another cluster than the others, and is left out: name the members of \
         one cluster"
    );
}
