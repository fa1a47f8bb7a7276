//! What an examination of a cluster finds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::GetOptions;
use leasehold_backend::doctor::{COMPARE_AND_SWAP, reads, scratch_name};
use leasehold_backend::{Diagnose, Finding, Level, Race, race, random_nonce};
use leasehold_core::{Error, ErrorKind, LockBackend, Timing, printable};

mod members;
mod versions;

use members::Cluster;

use crate::election::{ElectionName, KUBERNETES_KEYS, grant, lease_id};
use crate::failure::{Failure, Reason};
use crate::lock::{EtcdLock, seconds};
use crate::queue::number;
use crate::reader::{HEDGE, Reader};
use crate::shell::quoted;

const EXAMINE: &str = "examine the store";

/// How many keys under the prefix are looked at.
const LOOKED_AT: i64 = 1000;

/// How often two candidates race.
const ROUNDS: u64 = 5;

/// How much later than its duration an abandoned lease may end: the server looks at them every half
/// second, and writes down that one ended.
const LATE: Duration = Duration::from_secs(1);

#[async_trait]
impl Diagnose for EtcdLock {
    async fn diagnose(&self, timing: &Timing) -> Vec<Finding> {
        let reader = self.reader();
        let cluster = Cluster::ask(&reader.pool).await;
        if !cluster.answers() {
            return cluster.findings(false);
        }
        let kubernetes = reader.kubernetes().await;
        let mut findings = cluster.findings(kubernetes.is_ok());
        match kubernetes {
            Ok(finding) => {
                let is_refused = finding.level != Level::Good;
                findings.push(finding);
                if is_refused {
                    return findings;
                }
            }
            Err(failure) => {
                findings.push(Finding::of_error("store", &failure.during(EXAMINE)));
                return findings;
            }
        }
        let rights = reader.rights().await;
        let may_contend = matches!(rights, Ok((true, true)));
        match rights {
            Ok(rights) => findings.push(reader.permission(rights)),
            Err(failure) => {
                findings
                    .push(Finding::of_error("lock", &failure.on(&reader.election).during(EXAMINE)));
                return findings;
            }
        }
        findings.extend(reader.foreign().await);
        let lock = self.read().await.ok().map(|observed| Finding::of_lock(&observed));
        let is_blocked = lock.as_ref().is_some_and(Finding::is_problem);
        findings.extend(lock);
        if !may_contend {
            return findings;
        }
        findings.push(reads(self, "a read that a majority confirms", timing).await);
        let granted = self.granted(timing).await;
        findings.push(match &granted {
            Ok((granted, shortest)) => lease(timing, *granted, *shortest),
            Err(failure) => Finding::of_error("lease", &failure.clone().during(EXAMINE)),
        });
        let raced = Box::pin(self.race()).await;
        findings.extend(self.raced(&raced, timing));
        // What blocks the lock for ever outlives every holder.
        if let (false, Ok((granted, _)), Ok(done)) = (is_blocked, &granted, &raced) {
            findings.push(fail_over(*granted, done));
        }
        findings
    }
}

impl Reader {
    /// Refuses the store of a Kubernetes cluster. An answer, be it a denial, is one that a majority
    /// confirmed.
    async fn kubernetes(&self) -> Result<Finding, Failure> {
        const SUBJECT: &str = "kubernetes";
        let request = |client: etcd_client::Client| async move {
            let one = GetOptions::new().with_prefix().with_keys_only().with_limit(1);
            client.kv_client().get(KUBERNETES_KEYS, Some(one)).await
        };
        match self.pool.hedged(HEDGE, request).await {
            Ok(found) if found.kvs().is_empty() => {
                Ok(Finding::good(SUBJECT, "this is not the store of a Kubernetes cluster"))
            }
            Ok(_) => Ok(Finding::problem(
                SUBJECT,
                ErrorKind::Invalid,
                format!(
                    "there are keys under {KUBERNETES_KEYS}: this is the store of a Kubernetes \
                     cluster, and whoever may write to it is root of that cluster"
                ),
                "use an etcd of your own",
            )),
            Err(failure) if failure.kind() == ErrorKind::Denied => {
                Ok(Finding::good(SUBJECT, format!("this user may not see {KUBERNETES_KEYS}")))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether this user may read, and write, the keys of the election. Changes nothing: what is
    /// deleted is a key that nobody ever had.
    async fn rights(&self) -> Result<(bool, bool), Failure> {
        let is_permitted = |asked: Result<(), Failure>| match asked {
            Ok(()) => Ok(true),
            Err(failure) if failure.kind() == ErrorKind::Denied => Ok(false),
            Err(failure) => Err(failure),
        };
        let reads = is_permitted(self.look().await)?;
        let nobodys = self.election.key(random_lease()?);
        let request = |client: etcd_client::Client| {
            let nobodys = nobodys.clone();
            async move { client.kv_client().delete(nobodys, None).await }
        };
        let writes = is_permitted(self.pool.once(request).await.map(drop))?;
        Ok((reads, writes))
    }

    /// Counts the candidates, whatever is there.
    async fn look(&self) -> Result<(), Failure> {
        let prefix = self.election.prefix();
        let request = |client: etcd_client::Client| async move {
            let count = GetOptions::new().with_prefix().with_count_only();
            client.kv_client().get(prefix, Some(count)).await
        };
        self.pool.hedged(HEDGE, request).await.map(drop)
    }

    /// What lies under the prefix and is no candidate, or is large: each will block the election
    /// once it is the oldest, or makes its answers slow.
    async fn foreign(&self) -> Option<Finding> {
        const SUBJECT: &str = "keys";
        let prefix = self.election.prefix();
        let request = |client: etcd_client::Client| async move {
            let keys = GetOptions::new().with_prefix().with_keys_only().with_limit(LOOKED_AT);
            client.kv_client().get(prefix, Some(keys)).await
        };
        let look = format!(
            "look at them with etcdctl get {} --prefix --keys-only, and remove what is no \
             candidate's",
            quoted(prefix.as_bytes()).unwrap_or_else(|| "PREFIX".to_owned())
        );
        let found = match self.pool.hedged(HEDGE, request).await {
            Ok(found) => found,
            Err(failure) if failure.reason == Reason::TooLarge => {
                let text = format!("there are very long keys under {}", printable(prefix));
                return Some(Finding::warning(SUBJECT, text, look));
            }
            // Whatever it is, the lock itself will tell.
            Err(_) => return None,
        };
        let is_ours = |pair: &&etcd_client::KeyValue| {
            pair.lease() != 0 && pair.key() == self.election.key(pair.lease()).as_bytes()
        };
        let foreign: Vec<_> = found.kvs().iter().filter(|pair| !is_ours(pair)).collect();
        if let Some(first) = foreign.first() {
            let key = String::from_utf8_lossy(first.key());
            let more = match foreign.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            let text = format!(
                "{}{more} under {} is no candidate's key: one without a lease blocks the election \
                 for ever, once it is the oldest",
                printable(&key).at_most(100),
                printable(prefix)
            );
            return Some(Finding::warning(SUBJECT, text, look));
        }
        self.has_unreadable_value().await.then(|| {
            let text =
                format!("something under {} is larger than an answer may be", printable(prefix));
            Finding::warning(SUBJECT, text, look)
        })
    }

    /// Whether the oldest candidate's value cannot be read.
    async fn has_unreadable_value(&self) -> bool {
        let queue = self.queue(0).await.ok();
        queue.and_then(|queue| queue.first().map(|first| first.value.is_none())).unwrap_or(false)
    }

    fn permission(&self, (reads, writes): (bool, bool)) -> Finding {
        const SUBJECT: &str = "permission";
        let prefix = self.election.prefix();
        let missing = match (reads, writes) {
            (true, true) => {
                let prefix = printable(prefix);
                return Finding::good(SUBJECT, format!("this user may read and write {prefix}"));
            }
            (true, false) => {
                "write is missing: this user may see who leads, and not contend".to_owned()
            }
            (false, true) => "read is missing: a candidate needs it too".to_owned(),
            (false, false) => format!("read and write are missing on {}", printable(prefix)),
        };
        Finding::problem(SUBJECT, ErrorKind::Denied, missing, self.election.grant())
    }
}

impl EtcdLock {
    /// What the cluster grants for the lease duration, and what at least.
    async fn granted(&self, timing: &Timing) -> Result<(Duration, Duration), Failure> {
        let mut granted = [Duration::ZERO; 2];
        for (granted, asked) in granted.iter_mut().zip([seconds(timing.lease_duration()), 1]) {
            let lease = random_lease()?;
            let answer = self.grant(lease, asked).await;
            self.give_back(lease).await;
            *granted = Duration::from_secs(number(answer?.seconds));
        }
        let [of_duration, shortest] = granted;
        Ok((of_duration, shortest))
    }

    /// Two candidates race for a scratch election beside this one. Its keys go with their leases.
    async fn race(&self) -> Result<Race, Error> {
        let name = scratch_name("").map_err(|failure| failure.during(EXAMINE))?;
        let name = ElectionName::parse(&format!("{}{name}", self.scratch()));
        let name = name.map_err(|why| Error::new(ErrorKind::Invalid, EXAMINE, why))?;
        let candidate = |pool| EtcdLock::new("scratch".to_owned(), name.clone(), pool);
        let pool = &self.reader().pool;
        let candidates = [candidate(pool.clone()), candidate(Arc::new(pool.apart()))];
        race(&[&candidates[0], &candidates[1]], ROUNDS).await
    }

    /// What the names of scratch elections begin with.
    fn scratch(&self) -> String {
        format!("{}.doctor", self.reader().election.prefix().trim_end_matches('/'))
    }

    fn raced(&self, raced: &Result<Race, Error>, timing: &Timing) -> Vec<Finding> {
        match raced {
            Ok(done) => vec![
                done.finding("a scratch lock beside this one"),
                Finding::of_latency("a write", &done.releases, timing),
            ],
            Err(error) if error.kind() == ErrorKind::Denied => {
                let grant = grant("readwrite", &format!("{}-", self.scratch()));
                let cure = format!("run this once as a user who may: {grant}");
                vec![Race::not_permitted("write beside the lock", cure)]
            }
            Err(error) => vec![Finding::of_error(COMPARE_AND_SWAP, error)],
        }
    }
}

fn lease(timing: &Timing, granted: Duration, shortest: Duration) -> Finding {
    const SUBJECT: &str = "lease";
    let asked = timing.lease_duration();
    let text = format!(
        "asked for {asked:?}, the cluster grants {granted:?}; its shortest is {shortest:?}"
    );
    if granted > asked {
        let cure = format!(
            "choose a lease duration of {granted:?}, or shorten etcd's --election-timeout: the \
             shortest lease is one and a half of it"
        );
        return Finding::warning(SUBJECT, text, cure);
    }
    if granted < asked {
        let cure = format!("choose a lease duration of {granted:?} at most");
        return Finding::problem(SUBJECT, ErrorKind::Invalid, text, cure);
    }
    Finding::good(SUBJECT, text)
}

fn fail_over(granted: Duration, done: &Race) -> Finding {
    done.fail_over(&format!(
        "a crash frees the lock {:?} after the last renewal at most, and later if etcd changes its \
         own leader meanwhile",
        granted + LATE
    ))
}

/// An id that no lease has.
fn random_lease() -> Result<i64, Failure> {
    Ok(lease_id(random_nonce().map_err(Failure::of_us)?))
}
