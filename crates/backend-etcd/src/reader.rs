//! What a lock shows: the oldest candidate of an election, and the cluster's revision.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, SortOrder, SortTarget};
use leasehold_backend::TokenFloor;
use leasehold_core::{ErrorKind, Observed};

use crate::election::ElectionName;
use crate::failure::{Failure, Reason};
use crate::pool::{Pool, revision};
use crate::queue::{Queue, number};

/// When a read that one member does not answer is sent to another.
pub(crate) const HEDGE: Duration = Duration::from_millis(200);

/// An election, and the way to it. A watch has a reader of its own.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) election: ElectionName,
    pub(crate) pool: Arc<Pool>,
    pub(crate) token_floor: Option<TokenFloor>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("election", &self.election)
            .field("pool", &self.pool)
            .finish()
    }
}

impl Reader {
    /// A linearizable read of the oldest candidate: never from one member's memory.
    pub(crate) async fn read(&self) -> Result<Observed, Failure> {
        let queue = self.queue(0).await?;
        self.at_least_floor(queue.revision)?;
        Ok(self.observed(queue))
    }

    /// The oldest candidate at a revision of the past, or now.
    pub(crate) async fn queue(&self, at: i64) -> Result<Queue, Failure> {
        match self.oldest(at, true).await {
            // That there is one counts, and not what it says.
            Err(failure) if failure.reason == Reason::TooLarge => self.oldest(at, false).await,
            read => read,
        }
    }

    async fn oldest(&self, at: i64, with_value: bool) -> Result<Queue, Failure> {
        let prefix = self.election.prefix();
        let options = GetOptions::new().with_prefix().with_limit(1).with_revision(at);
        let options = options.with_sort(SortTarget::Create, SortOrder::Ascend);
        let options = if with_value { options } else { options.with_keys_only() };
        let request = |client: etcd_client::Client| {
            let options = options.clone();
            async move { client.kv_client().get(prefix, Some(options)).await }
        };
        let response = self.pool.hedged(HEDGE, request).await?;
        let now = revision(response.header())?;
        let of = if at > 0 { at } else { now };
        Queue::read(&self.election, of, &response, with_value)
    }

    pub(crate) fn observed(&self, queue: Queue) -> Observed {
        queue.observed(&self.election, self.token_floor.map(TokenFloor::token))
    }

    /// A restored store may mint tokens again that were used before.
    fn at_least_floor(&self, revision: i64) -> Result<(), Failure> {
        match self.token_floor {
            Some(floor) if number(revision) < floor.token() => {
                let text = format!(
                    "the cluster is at revision {revision} and tokens up to {} may have been used",
                    floor.token()
                );
                let failure = Failure::new(ErrorKind::Rewound, Reason::Refused, text);
                Err(failure.with_cure(
                    "restore it with etcdutl snapshot restore --bump-revision, or write until it \
                     is there",
                ))
            }
            _ => Ok(()),
        }
    }
}
