//! The elections under a prefix: for people. No election needs this, nor the right to it.

use std::collections::BTreeSet;

use etcd_client::{Client, GetOptions, GetResponse, KeyValue, SortOrder, SortTarget};
use leasehold_core::Error;

use crate::election::{ElectionName, KUBERNETES_KEYS, LONGEST_KEY, grant, hexadecimal};
use crate::failure::{Failure, Reason};
use crate::lock::EtcdLock;
use crate::options::Etcd;
use crate::pool::revision;
use crate::reader::HEDGE;

const LIST: &str = "list the locks";

/// Keys in one answer.
const PAGE: i64 = 1000;

/// So many elections are listed, and so many keys are looked at.
const MOST: usize = 10_000;
const MOST_KEYS: usize = 1_000_000;

impl Etcd {
    /// The elections whose names begin with the parts of `under`, by name; an empty `under` is the
    /// whole store. Reads keys without their values, as of one revision, and writes nothing.
    ///
    /// An election is told by its keys, which end in the lease that they hang on: mutexes of
    /// `etcdctl lock` are laid out the same and are shown too. Not shown is one without candidates,
    /// which has no keys.
    ///
    /// # Errors
    /// `Denied`: this user may not read all keys there. `Invalid`: this is the store of a
    /// Kubernetes cluster, or there are more than 10,000 elections or a million keys.
    pub async fn elections(&self, under: &str) -> Result<Vec<EtcdLock>, Error> {
        let keys = Keys::under(under);
        let names = self.names(&keys).await.map_err(|failure| keys.explained(failure))?;
        names.iter().map(|name| self.lock(name)).collect()
    }

    async fn names(&self, keys: &Keys) -> Result<BTreeSet<String>, Failure> {
        let (mut names, mut begin, mut at) = (BTreeSet::new(), keys.begin.clone(), None);
        let (mut limit, mut looked_at) = (PAGE, 0);
        loop {
            let page = match self.page(begin.clone(), keys, at, limit).await {
                // Long keys, which are nobody's of ours: fewer at a time.
                Err(failure) if failure.reason == Reason::TooLarge && limit > 1 => {
                    limit /= 2;
                    continue;
                }
                page => page?,
            };
            let revision = revision(page.header())?;
            for pair in page.kvs() {
                if pair.key().starts_with(KUBERNETES_KEYS.as_bytes()) {
                    let text = format!(
                        "there are keys under {KUBERNETES_KEYS}: this is the store of a Kubernetes \
                         cluster"
                    );
                    return Err(Failure::refused(text)
                        .with_cure("name a prefix below which only elections are"));
                }
                names.extend(election(pair));
            }
            looked_at += page.kvs().len();
            if names.len() > MOST || looked_at > MOST_KEYS {
                let text = format!("there are more than {MOST} elections or {MOST_KEYS} keys");
                return Err(Failure::refused(text).with_cure("name a longer prefix"));
            }
            let next = page.kvs().last().filter(|_| page.more()).and_then(|last| after(last.key()));
            let Some(next) = next else { return Ok(names) };
            begin = next;
            at.get_or_insert(revision);
        }
    }

    async fn page(
        &self,
        begin: Vec<u8>,
        keys: &Keys,
        at: Option<i64>,
        limit: i64,
    ) -> Result<GetResponse, Failure> {
        let request = |client: Client| {
            let (begin, end) = (begin.clone(), keys.end.clone());
            let options = GetOptions::new().with_range(end).with_keys_only().with_limit(limit);
            let options = options.with_sort(SortTarget::Key, SortOrder::Ascend);
            let options = options.with_revision(at.unwrap_or(0));
            async move { client.kv_client().get(begin, Some(options)).await }
        };
        self.pool().hedged(HEDGE, request).await
    }
}

/// Where the next page begins: after this key, and after all that begins as it does if no election
/// has a key as long. `None`: nothing comes after it.
fn after(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() <= LONGEST_KEY {
        return Some([key, &[0]].concat());
    }
    let mut next = key[..LONGEST_KEY].to_vec();
    while let Some(last) = next.pop() {
        if let Some(greater) = last.checked_add(1) {
            next.push(greater);
            return Some(next);
        }
    }
    None
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
        match failure.reason {
            Reason::TooLarge => failure
                .with_cure("a key there is larger than an answer may be: name a longer prefix"),
            Reason::NotPermitted => failure.with_cure(format!(
                "to list, this user must be allowed to read every key there: {}",
                grant("read", &self.prefix)
            )),
            _ => failure,
        }
        .during(LIST)
    }
}

/// The name of the election whose key this is, as Go writes it: the lease at the end.
fn election(pair: &KeyValue) -> Option<String> {
    let key = std::str::from_utf8(pair.key()).ok()?;
    name_of(key, pair.lease())
}

fn name_of(key: &str, lease: i64) -> Option<String> {
    let (name, tail) = key.rsplit_once('/')?;
    let is_its = lease != 0 && tail == hexadecimal(lease);
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
            ("jobs/nightly/-2a", -42, Some("jobs/nightly")),
            ("jobs/nightly/2a", -42, None),
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

    #[test]
    fn long_keys_are_passed_over_together() {
        assert_eq!(after(b"jobs/2a"), Some(b"jobs/2a\0".to_vec()));
        let long = vec![b'x'; 1_400_000];
        let next = after(&long).unwrap();
        assert_eq!(next.len(), LONGEST_KEY);
        assert!(next > long);
        assert_eq!(after(&vec![0xff; LONGEST_KEY + 1]), None);
        let mut mixed = vec![b'a'];
        mixed.resize(LONGEST_KEY + 1, 0xff);
        assert_eq!(after(&mixed), Some(vec![b'b']));
    }

    proptest::proptest! {
        /// Nothing between a key and where the next page begins can be a key of an election.
        #[test]
        fn no_election_is_passed_over(key: Vec<u8>, more: Vec<u8>, repeat in 0_usize..1200) {
            let key: Vec<u8> = [key, vec![0xff; repeat]].concat();
            let Some(next) = after(&key) else { return Ok(()) };
            proptest::prop_assert!(next > key);
            let between = [key.as_slice(), more.as_slice(), &[0]].concat();
            if between < next {
                proptest::prop_assert!(between.len() > LONGEST_KEY);
            }
        }

        #[test]
        fn any_key_is_told_or_left_out(key: String, lease: i64) {
            if let Some(name) = name_of(&key, lease) {
                let again = ElectionName::parse(&name).unwrap().key(lease);
                proptest::prop_assert_eq!(again, key);
            }
        }
    }
}
