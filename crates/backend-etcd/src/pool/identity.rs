//! Which cluster answers.
//!
//! Every answer of etcd names its cluster. The rule, from what each endpoint of the URL said last:
//! - 0 is "unknown", as a grpc-proxy says it: never another cluster.
//! - What more than half of the endpoints say is the cluster. If that is another one than before,
//!   the store was replaced.
//! - If all have spoken and no cluster has more than half, nobody can tell which one is meant:
//!   that, too, is not the store of before. Before the first request it is enough that two were
//!   heard and none has more than half.
//! - Otherwise the cluster stays the one that it was. An endpoint that says another one is left out
//!   and named, and the request goes on to the others: one wrong address among several ends no
//!   term.

use std::collections::BTreeMap;

/// What each endpoint said.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The cluster that requests are for.
    known: Option<u64>,
    said: Vec<Option<u64>>,
}

/// What an answer proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is from the cluster that requests are for, or does not say.
    Ours,
    /// This endpoint is of another cluster, and ours is not gone. `news`: it said so for the first
    /// time.
    Foreign { news: bool },
    /// Our cluster is not what the endpoints are of any more.
    Replaced { before: u64, now: u64 },
}

/// The endpoints are of several clusters, and none has more than half of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Divided;

impl Identity {
    pub(crate) fn of(endpoints: usize) -> Self {
        Self { known: None, said: vec![None; endpoints] }
    }

    /// Takes in an answer to a request.
    pub(crate) fn hear(&mut self, endpoint: usize, cluster: u64) -> Heard {
        if cluster == 0 {
            return Heard::Ours;
        }
        let news = self.said[endpoint] != Some(cluster);
        self.note(endpoint, cluster);
        let majority = self.majority();
        let known = *self.known.get_or_insert(majority.unwrap_or(cluster));
        match majority {
            Some(now) if now != known => Heard::Replaced { before: known, now },
            None if self.said.iter().all(Option::is_some) => {
                let other = self.said.iter().flatten().find(|said| **said != known);
                Heard::Replaced { before: known, now: other.copied().unwrap_or(cluster) }
            }
            _ if cluster == known => Heard::Ours,
            _ => Heard::Foreign { news },
        }
    }

    /// Takes in what an endpoint said before any request.
    pub(crate) fn note(&mut self, endpoint: usize, cluster: u64) {
        if cluster != 0 {
            self.said[endpoint] = Some(cluster);
        }
    }

    /// Decides for the first time, by what was noted.
    pub(crate) fn decide(&mut self) -> Result<(), Divided> {
        if self.known.is_some() {
            return Ok(());
        }
        let mut clusters = self.said.iter().flatten();
        let first = clusters.next().copied();
        let is_one = clusters.all(|cluster| Some(*cluster) == first);
        match self.majority() {
            Some(majority) => self.known = Some(majority),
            None if is_one => self.known = first,
            None => return Err(Divided),
        }
        Ok(())
    }

    /// Whether a request was answered, or the endpoints have been asked.
    pub(crate) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// What more than half of the endpoints say.
    pub(crate) fn majority(&self) -> Option<u64> {
        let mut votes = BTreeMap::new();
        for cluster in self.said.iter().flatten() {
            *votes.entry(*cluster).or_insert(0_usize) += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        most.filter(|(_, votes)| 2 * votes > self.said.len()).map(|(cluster, _)| cluster)
    }

    /// Whether this endpoint said last that it is of another cluster.
    pub(crate) fn is_foreign(&self, endpoint: usize) -> bool {
        matches!((self.known, self.said[endpoint]), (Some(known), Some(said)) if said != known)
    }

    /// Whether this endpoint said last that it is of our cluster.
    pub(crate) fn is_ours(&self, endpoint: usize) -> bool {
        self.known.is_some() && self.said[endpoint] == self.known
    }

    /// What this endpoint said last.
    pub(crate) fn said(&self, endpoint: usize) -> Option<u64> {
        self.said[endpoint]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X: u64 = 7;
    const Y: u64 = 8;

    fn heard(endpoints: usize, answers: &[(usize, u64)]) -> (Identity, Heard) {
        let mut identity = Identity::of(endpoints);
        let mut last = Heard::Ours;
        for (endpoint, cluster) in answers {
            last = identity.hear(*endpoint, *cluster);
        }
        (identity, last)
    }

    #[test]
    fn a_single_endpoint_that_says_another_cluster_was_replaced() {
        let (_, last) = heard(1, &[(0, X), (0, X), (0, Y)]);
        assert_eq!(last, Heard::Replaced { before: X, now: Y });
        let (_, last) = heard(1, &[(0, X), (0, Y), (0, X)]);
        assert_eq!(last, Heard::Ours, "and is back");
    }

    #[test]
    fn three_that_were_replaced_are_told_by_the_second_answer() {
        let known = [(0, X), (1, X), (2, X)];
        let (_, last) = heard(3, &[&known[..], &[(1, Y)]].concat());
        assert_eq!(last, Heard::Foreign { news: true });
        let (_, last) = heard(3, &[&known[..], &[(1, Y), (2, Y)]].concat());
        assert_eq!(last, Heard::Replaced { before: X, now: Y });
        // One of the old cluster that is left has no majority either.
        let (_, last) = heard(3, &[&known[..], &[(1, Y), (2, Y), (0, X)]].concat());
        assert_eq!(last, Heard::Replaced { before: X, now: Y });
        // The third never answered.
        let (_, last) = heard(3, &[(0, X), (0, Y), (1, Y)]);
        assert_eq!(last, Heard::Replaced { before: X, now: Y });
    }

    #[test]
    fn one_foreign_endpoint_of_three_ends_nothing() {
        for answers in [
            &[(0, X), (1, X), (2, Y)][..],
            &[(0, X), (2, Y), (1, X)],
            &[(0, X), (2, Y)],
            &[(0, X), (1, X), (2, X), (2, Y), (2, Y)],
        ] {
            let (mut identity, last) = heard(3, answers);
            assert!(!matches!(last, Heard::Replaced { .. }), "{answers:?}: {last:?}");
            assert!(identity.is_foreign(2) && !identity.is_foreign(0));
            assert_eq!(identity.hear(0, X), Heard::Ours);
            assert_eq!(identity.hear(2, Y), Heard::Foreign { news: false });
        }
    }

    #[test]
    fn who_began_with_the_wrong_one_learns_of_the_majority() {
        let (_, last) = heard(3, &[(2, Y), (0, X)]);
        assert_eq!(last, Heard::Foreign { news: true });
        let (_, last) = heard(3, &[(2, Y), (0, X), (1, X)]);
        assert_eq!(last, Heard::Replaced { before: Y, now: X });
        let (_, last) = heard(2, &[(0, X), (1, Y)]);
        assert_eq!(last, Heard::Replaced { before: X, now: Y }, "two locks under one URL");
    }

    #[test]
    fn an_unknown_cluster_is_never_another() {
        let (identity, last) = heard(1, &[(0, 0), (0, X), (0, 0)]);
        assert_eq!(last, Heard::Ours);
        assert!(!identity.is_foreign(0));
        let (identity, last) = heard(3, &[(0, X), (1, 0), (2, 0), (1, 0)]);
        assert_eq!(last, Heard::Ours);
        assert!(!identity.is_foreign(1) && !identity.is_ours(1));
    }

    #[test]
    fn the_first_decision_is_the_majoritys() {
        for (said, decided) in [
            (&[Some(X), Some(X), Some(Y)][..], Ok(Some(X))),
            (&[Some(Y), Some(X), Some(X)], Ok(Some(X))),
            (&[Some(X), Some(Y), None], Err(Divided)),
            (&[Some(X), Some(Y)], Err(Divided)),
            (&[Some(Y), None, None], Ok(Some(Y))),
            (&[None, None], Ok(None)),
        ] {
            let mut identity = Identity { known: None, said: said.to_vec() };
            let outcome = identity.decide().map(|()| identity.known);
            assert_eq!(outcome, decided, "{said:?}");
        }
    }

    proptest! {
        /// While more than half of the endpoints say what they always said, nobody else ends
        /// anything.
        #[test]
        fn a_majority_that_stays_is_never_replaced(
            half in 1_usize..4,
            answers in prop::collection::vec((0_usize..7, 0_u64..4), 0..60),
        ) {
            let endpoints = 2 * half + 1;
            let mut identity = Identity::of(endpoints);
            for endpoint in 0..=half {
                identity.hear(endpoint, X);
            }
            for (endpoint, cluster) in answers {
                let (endpoint, cluster) = match endpoint % endpoints {
                    stays if stays <= half => (stays, if cluster == 0 { 0 } else { X }),
                    other => (other, cluster),
                };
                let heard = identity.hear(endpoint, cluster);
                let is_replaced = matches!(heard, Heard::Replaced { .. });
                prop_assert!(!is_replaced, "{endpoint} says {cluster}: {heard:?}");
            }
        }

        /// Once more than half say another one, every answer says so, whoever gives it.
        #[test]
        fn a_majority_that_changed_is_always_told(half in 0_usize..4, last in 0_usize..7) {
            let endpoints = 2 * half + 1;
            let mut identity = Identity::of(endpoints);
            for endpoint in 0..endpoints {
                identity.hear(endpoint, X);
            }
            for endpoint in 0..=half {
                identity.hear(endpoint, Y);
            }
            let last = last % endpoints;
            let said = if last <= half { Y } else { X };
            let heard = identity.hear(last, said);
            prop_assert_eq!(heard, Heard::Replaced { before: X, now: Y });
        }
    }
}
