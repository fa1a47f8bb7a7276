//! The elections under a prefix: for people. No election needs this, nor the right to it.

use std::collections::BTreeSet;

use etcd_client::{Client, GetOptions, GetResponse, KeyValue, SortOrder, SortTarget};
use leasehold_core::{Error, ErrorKind};

use crate::election::{ElectionName, KUBERNETES_KEYS, grant};
use crate::failure::{Failure, Reason};
use crate::lock::{EtcdLock, HEDGE};
use crate::options::Etcd;

const LIST: &str = "list the locks";

/// Keys in one answer.
const PAGE: i64 = 1000;

impl Etcd {
    /// The elections whose names begin with the parts of `under`, by name; an empty `under` is the whole store. Reads
    /// keys without their values, as of one revision, and writes nothing.
    ///
    /// An election is told by its keys, which end in the lease that they hang on: mutexes of `etcdctl lock` are laid
    /// out the same and are shown too. Not shown is one without candidates, which has no keys.
    ///
    /// # Errors
    /// `Denied`: this user may not read all keys there. `Invalid`: this is the store of a Kubernetes cluster.
    pub async fn elections(&self, under: &str) -> Result<Vec<EtcdLock>, Error> {
        let keys = Keys::under(under);
        let names = self.names(&keys).await.map_err(|failure| keys.explained(failure))?;
        names.iter().map(|name| self.lock(name)).collect()
    }

    async fn names(&self, keys: &Keys) -> Result<BTreeSet<String>, Failure> {
        let (mut names, mut begin, mut at) = (BTreeSet::new(), keys.begin.clone(), None);
        loop {
            let page = self.page(begin, keys, at).await?;
            let revision = self.pool().revision(page.header())?;
            for pair in page.kvs() {
                if pair.key().starts_with(KUBERNETES_KEYS.as_bytes()) {
                    return Err(Failure::refused(format!(
                        "there are keys under {KUBERNETES_KEYS}: this is the store of a Kubernetes cluster; name a prefix below which only elections are"
                    )));
                }
                names.extend(election(pair));
            }
            let Some(last) = page.kvs().last().filter(|_| page.more()) else { return Ok(names) };
            begin = [last.key(), &[0]].concat();
            at.get_or_insert(revision);
        }
    }

    async fn page(
        &self,
        begin: Vec<u8>,
        keys: &Keys,
        at: Option<i64>,
    ) -> Result<GetResponse, Failure> {
        let request = |client: Client| {
            let (begin, end) = (begin.clone(), keys.end.clone());
            let options = GetOptions::new().with_range(end).with_keys_only().with_limit(PAGE);
            let options = options.with_sort(SortTarget::Key, SortOrder::Ascend);
            let options = options.with_revision(at.unwrap_or(0));
            async move { client.kv_client().get(begin, Some(options)).await }
        };
        self.pool().hedged(HEDGE, request).await
    }
}

/// A range of keys.
struct Keys {
    prefix: String,
    begin: Vec<u8>,
    end: Vec<u8>,
}

impl Keys {
    fn under(path: &str) -> Self {
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            // As etcd spells "all keys".
            return Self { prefix: String::new(), begin: vec![0], end: vec![0] };
        }
        let (prefix, end) = (format!("{path}/"), format!("{path}0"));
        Self { begin: prefix.clone().into_bytes(), end: end.into_bytes(), prefix }
    }

    /// What grants an election grants no list.
    fn explained(&self, failure: Failure) -> Error {
        if failure.reason != Reason::NotPermitted {
            return failure.during(LIST);
        }
        let why = format!(
            "etcd says: permission denied; to list, this user must be allowed to read every key there: {}",
            grant("read", &self.prefix)
        );
        Error::new(ErrorKind::Denied, LIST, why)
    }
}

/// The name of the election whose key this is, as Go writes it: the lease at the end.
fn election(pair: &KeyValue) -> Option<String> {
    let key = std::str::from_utf8(pair.key()).ok()?;
    name_of(key, pair.lease())
}

fn name_of(key: &str, lease: i64) -> Option<String> {
    let (name, tail) = key.rsplit_once('/')?;
    let is_its = lease != 0 && tail == format!("{lease:x}");
    // A name that no URL can say is nobody's of ours.
    (is_its && ElectionName::parse(name).is_ok()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_is_told_by_keys_that_end_in_their_lease() {
        for (key, lease, name) in [
            ("jobs/nightly/2a", 42, Some("jobs/nightly")),
            ("/jobs/2a", 42, Some("/jobs")),
            ("jobs/nightly/2b", 42, None),
            ("jobs/nightly/0", 0, None),
            ("jobs/config", 42, None),
            ("2a", 42, None),
            ("/2a", 42, None),
            ("jobs//2a", 42, None),
            ("registry/x/2a", 42, None),
        ] {
            assert_eq!(name_of(key, lease).as_deref(), name, "{key}");
        }
    }

    #[test]
    fn a_prefix_ends_where_its_part_ends() {
        let keys = Keys::under("jobs/");
        assert_eq!((keys.begin.as_slice(), keys.end.as_slice()), (&b"jobs/"[..], &b"jobs0"[..]));
        let holds = |key: &[u8]| keys.begin.as_slice() <= key && key < keys.end.as_slice();
        assert!(holds(b"jobs/nightly/2a") && holds(b"jobs/\xff"));
        assert!(!holds(b"jobs-x/2a") && !holds(b"jobsx/2a") && !holds(b"jobs"));
        let all = Keys::under("");
        assert_eq!((all.begin, all.end), (vec![0], vec![0]));
    }
}
