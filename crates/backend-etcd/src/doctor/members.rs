//! What an examination finds of a cluster's members.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Member, StatusResponse};
use leasehold_backend::{Finding, Level};
use leasehold_core::{ErrorKind, printable};
use tokio::time::Instant;

use super::versions::{CURRENT, KNOWN, UNMENDED, has_unmended, known_defects};
use crate::failure::{Failure, Reason};
use crate::pool::Pool;

/// The members of the URL, and the cluster's own list of them.
pub(crate) struct Cluster {
    seen: Vec<Seen>,
    /// Empty: nobody told.
    list: Vec<Listed>,
}

/// One endpoint of the URL.
struct Seen {
    endpoint: String,
    answer: Result<Answer, Failure>,
}

struct Answer {
    cluster: u64,
    id: u64,
    leader: u64,
    version: String,
    alarms: Vec<String>,
    took: Duration,
}

/// A member by the cluster's own account.
struct Listed {
    id: u64,
    name: String,
    votes: bool,
    urls: Vec<String>,
}

impl Cluster {
    /// Asks every member of the URL.
    pub(crate) async fn ask(pool: &Arc<Pool>) -> Self {
        let status = |client: etcd_client::Client| async move {
            let mut maintenance = client.maintenance_client();
            // The first one opens the connection.
            maintenance.status().await?;
            let began = Instant::now();
            let status = maintenance.status().await?;
            Ok((status, began.elapsed()))
        };
        let answers = pool.each(status).await.into_iter();
        let seen = answers.map(|(endpoint, answer)| Seen {
            endpoint,
            answer: answer.map(|(status, took)| Answer::of(&status, took)),
        });
        let seen: Vec<Seen> = seen.collect();
        let list = match seen.iter().any(|one| one.answer.is_ok()) {
            true => listed(pool).await,
            false => Vec::new(),
        };
        Self { seen, list }
    }

    /// Whether any member answered.
    pub(crate) fn answers(&self) -> bool {
        self.answered().next().is_some()
    }

    /// `confirms`: a majority confirmed a read.
    pub(crate) fn findings(&self, confirms: bool) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.seen.iter().map(|one| self.of_member(one)).collect();
        findings.extend(self.of_identity());
        // Whoever is denied learns nothing of the members.
        if self.answers() || !self.is_denied() {
            let (voters, answering) = (self.voters(), self.answering_voters());
            let unnamed = self.unnamed().filter(|listed| listed.votes).count();
            findings.push(Count { voters, answering, unnamed, confirms }.finding());
        }
        findings.extend(self.of_unnamed());
        findings.extend(self.of_versions());
        findings.extend(self.of_alarms());
        findings
    }

    fn of_member(&self, seen: &Seen) -> Finding {
        const SUBJECT: &str = "member";
        let endpoint = &seen.endpoint;
        let answer = match &seen.answer {
            Ok(answer) => answer,
            Err(failure) => {
                let error = failure.clone().during("ask this member");
                let finding = Finding::of_error(SUBJECT, &error);
                let lesser = failure.kind() == ErrorKind::Unavailable && self.answers();
                let level = if lesser { Level::Warning } else { finding.level };
                let cure = match failure.reason {
                    Reason::NotPermitted => "ask as a user who may",
                    _ => "start it, or look at its address and at the network on the way to it",
                };
                let cure = finding.cure.or_else(|| Some(cure.to_owned()));
                return Finding { level, cure, ..finding };
            }
        };
        let listed = self.list.iter().find(|listed| listed.id == answer.id);
        let name = listed.map(|listed| format!("{}, ", listed.name)).unwrap_or_default();
        let part = match (listed, answer.leader) {
            (_, leader) if leader == answer.id => "leads the cluster",
            (Some(Listed { votes: false, .. }), _) => "learns, and has no vote",
            _ => "follows",
        };
        let Answer { version, took, .. } = answer;
        let text = format!("{endpoint}: {name}etcd {version}, {part}, answers in {took:.1?}");
        Finding::good(SUBJECT, text)
    }

    /// Endpoints that are not what they seem.
    fn of_identity(&self) -> Vec<Finding> {
        let known = self.answered().map(|answer| answer.cluster).filter(|cluster| *cluster != 0);
        let clusters: BTreeSet<u64> = known.collect();
        let members: BTreeSet<u64> = self.answered().map(|answer| answer.id).collect();
        let mut findings = Vec::new();
        if clusters.len() > 1 {
            let each = self.seen.iter().filter_map(|seen| {
                let answer = seen.answer.as_ref().ok()?;
                Some(format!("{} is of {:x}", seen.endpoint, answer.cluster))
            });
            findings.push(Finding::problem(
                "cluster",
                ErrorKind::Invalid,
                format!(
                    "the endpoints are of different clusters: each would have a leader of its own \
                     ({})",
                    each.collect::<Vec<_>>().join(", ")
                ),
                "name the members of one cluster",
            ));
        }
        if self.answered().any(|answer| answer.cluster == 0) {
            findings.push(Finding::warning(
                "cluster",
                "an endpoint does not say which cluster it is of, as a proxy may: that the store \
                 was replaced cannot be seen through it",
                "name the members themselves",
            ));
        }
        if members.len() < self.answered().count() {
            findings.push(Finding::warning(
                "cluster",
                "several endpoints are one and the same member, or a balancer in front: a request \
                 that hangs cannot be asked of another member",
                "name every member by an address of its own",
            ));
        }
        findings
    }

    fn of_unnamed(&self) -> Option<Finding> {
        let unnamed: Vec<String> = self
            .unnamed()
            .map(|listed| format!("{} ({})", listed.name, listed.urls.join(", ")))
            .collect();
        if unnamed.is_empty() {
            return None;
        }
        Some(Finding::warning(
            "members",
            format!("the URL does not name {}", unnamed.join(" and ")),
            "name every member, so that those which are left can be reached when one fails",
        ))
    }

    /// Members that nobody asked. None if the URL has as many names: behind translated addresses a
    /// member that does not answer cannot be told.
    fn unnamed(&self) -> impl Iterator<Item = &Listed> {
        let is_named = |listed: &Listed| {
            self.answered().any(|answer| answer.id == listed.id)
                || listed.urls.iter().any(|url| self.seen.iter().any(|one| one.endpoint == *url))
        };
        let all_named = self.seen.len() >= self.list.len();
        self.list.iter().filter(move |listed| !all_named && !is_named(listed))
    }

    fn is_denied(&self) -> bool {
        let kinds = self.seen.iter().filter_map(|one| Some(one.answer.as_ref().err()?.kind()));
        kinds.into_iter().any(|kind| kind == ErrorKind::Denied)
    }

    fn of_versions(&self) -> Vec<Finding> {
        const SUBJECT: &str = "version";
        let versions: BTreeSet<&str> =
            self.answered().map(|answer| answer.version.as_str()).collect();
        let judged = versions.iter().map(|version| match known_defects(version) {
            known if known.is_empty() => Finding::good(
                SUBJECT,
                format!("etcd {version}: no defect is known that an upgrade fixes (as of {KNOWN})"),
            ),
            known => Finding::warning(
                SUBJECT,
                format!("etcd {version}: {}", known.join("; ")),
                format!("upgrade to {CURRENT}, or what the project maintains now"),
            ),
        });
        let (text, cure) = UNMENDED;
        // A single member leads whatever happens to it.
        let unmended = (self.voters() > 1 && versions.iter().any(|version| has_unmended(version)))
            .then(|| Finding::warning(SUBJECT, format!("etcd: {text}"), cure));
        judged.chain(unmended).collect()
    }

    fn of_alarms(&self) -> Option<Finding> {
        let alarms: BTreeSet<&str> =
            self.answered().flat_map(|answer| &answer.alarms).map(String::as_str).collect();
        let alarms: Vec<&str> = alarms.into_iter().collect();
        (!alarms.is_empty()).then(|| {
            Finding::problem(
                "alarm",
                ErrorKind::Unavailable,
                format!("{}: who leads can renew, but nobody can take the lock", alarms.join("; ")),
                "for NOSPACE compact, defragment and run etcdctl alarm disarm; for CORRUPT replace \
                 the member",
            )
        })
    }

    fn answered(&self) -> impl Iterator<Item = &Answer> {
        self.seen.iter().filter_map(|one| one.answer.as_ref().ok())
    }

    fn voters(&self) -> usize {
        match self.list.iter().filter(|listed| listed.votes).count() {
            0 => self.seen.len(),
            voters => voters,
        }
    }

    fn answering_voters(&self) -> usize {
        let learns = |id: u64| self.list.iter().any(|listed| listed.id == id && !listed.votes);
        let ids: BTreeSet<u64> = self.answered().map(|answer| answer.id).collect();
        ids.into_iter().filter(|id| !learns(*id)).count()
    }
}

impl Answer {
    fn of(status: &StatusResponse, took: Duration) -> Self {
        let header = status.header();
        Self {
            cluster: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
            id: header.map_or(0, etcd_client::ResponseHeader::member_id),
            leader: status.leader(),
            version: shown(status.version()),
            alarms: status.errors().iter().take(16).map(|alarm| shown(alarm)).collect(),
            took,
        }
    }
}

/// What a server says of itself.
fn shown(text: &str) -> String {
    printable(text).to_string()
}

/// What one member knows of the others; it does not ask them.
async fn listed(pool: &Arc<Pool>) -> Vec<Listed> {
    let request =
        |client: etcd_client::Client| async move { client.cluster_client().member_list().await };
    let of = |member: &Member| Listed {
        id: member.id(),
        name: shown(member.name()),
        votes: !member.is_learner(),
        urls: member.client_urls().iter().map(|url| shown(url)).collect(),
    };
    // Without the list the URL's own members are all there is to go by.
    let answer = pool.once(request).await;
    answer.map(|list| list.members().iter().map(of).collect()).unwrap_or_default()
}

/// How many members there are, and how many can be reached.
#[derive(Clone, Copy, Debug)]
struct Count {
    voters: usize,
    answering: usize,
    /// Nobody asked them.
    unnamed: usize,
    /// A majority confirmed a read.
    confirms: bool,
}

impl Count {
    /// Whether enough members answer, and how many more may fail.
    fn finding(self) -> Finding {
        const SUBJECT: &str = "quorum";
        let Self { voters, answering, unnamed, confirms } = self;
        let needed = voters / 2 + 1;
        let members = if voters == 1 { "1 member".to_owned() } else { format!("{voters} members") };
        if !confirms {
            return Finding::problem(
                SUBJECT,
                ErrorKind::Unavailable,
                format!(
                    "{answering} of {members} can be reached, {needed} must agree, and no read was \
                     confirmed: nobody can lead, and nobody is told who leads"
                ),
                "bring members back",
            );
        }
        // Whoever names too few members loses them all before the cluster loses its majority.
        let of_cluster = (answering + unnamed).saturating_sub(needed);
        let spare = of_cluster.min(answering.saturating_sub(1));
        let reach = if spare < of_cluster { " of those that the URL names" } else { "" };
        let text = format!("{members}, {needed} must agree: {}{reach}", tolerates(spare));
        if answering + unnamed < voters {
            let text = format!("{text} ({answering} of {voters} can be reached)");
            return Finding::warning(SUBJECT, text, "bring the missing members back");
        }
        if voters == 1 {
            return Finding::warning(SUBJECT, text, "run three members, on machines of their own");
        }
        if voters.is_multiple_of(2) {
            let text =
                format!("{text}, no more than {} would, with one more that can fail", voters - 1);
            return Finding::warning(SUBJECT, text, "run an odd number of members");
        }
        Finding::good(SUBJECT, text)
    }
}

fn tolerates(spare: usize) -> String {
    match spare {
        0 => "not one may fail".to_owned(),
        1 => "1 may fail".to_owned(),
        more => format!("{more} may fail"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_says_how_many_may_fail() {
        use Level::{Good, Warning};
        let gone = Level::Problem(ErrorKind::Unavailable);
        for (voters, answering, unnamed, confirms, level, says) in [
            (1, 1, 0, true, Warning, "not one may fail"),
            (2, 2, 0, true, Warning, "no more than 1 would"),
            (3, 3, 0, true, Good, "1 may fail"),
            (3, 3, 0, false, gone, "3 of 3 members can be reached, 2 must agree, and no read"),
            (3, 2, 0, true, Warning, "not one may fail (2 of 3 can be reached)"),
            (3, 2, 1, true, Good, "1 may fail"),
            (3, 1, 2, true, Good, "not one may fail of those that the URL names"),
            (3, 1, 0, false, gone, "nobody can lead"),
            (3, 1, 0, true, Warning, "not one may fail (1 of 3 can be reached)"),
            (5, 2, 3, true, Good, "1 may fail of those that the URL names"),
            (4, 4, 0, true, Warning, "1 may fail, no more than 3 would"),
            (4, 2, 0, false, gone, "3 must agree"),
            (5, 5, 0, true, Good, "2 may fail"),
            (5, 4, 0, true, Warning, "1 may fail (4 of 5 can be reached)"),
        ] {
            let count = Count { voters, answering, unnamed, confirms };
            let finding = count.finding();
            assert_eq!(finding.level, level, "{count:?}: {finding:?}");
            assert!(finding.text.contains(says), "{count:?}: {finding:?}");
        }
    }

    fn answer(id: u64, version: &str) -> Answer {
        Answer {
            cluster: 7,
            id,
            leader: 1,
            version: version.to_owned(),
            alarms: Vec::new(),
            took: Duration::from_millis(1),
        }
    }

    fn listed(id: u64, votes: bool) -> Listed {
        let urls = vec![format!("http://h{id}:2379")];
        Listed { id, name: format!("m{id}"), votes, urls }
    }

    fn cluster(answers: Vec<Answer>, list: Vec<Listed>) -> Cluster {
        let seen = answers.into_iter().map(|answer| Seen {
            endpoint: format!("http://h{}:2379", answer.id),
            answer: Ok(answer),
        });
        Cluster { seen: seen.collect(), list }
    }

    fn subjects(cluster: &Cluster, level: Level) -> Vec<&'static str> {
        let findings = cluster.findings(true);
        findings.iter().filter(|finding| finding.level == level).map(|f| f.subject).collect()
    }

    #[test]
    fn endpoints_that_are_not_what_they_seem_are_named() {
        let (good, old) = ("3.6.16", "3.4.23");
        let three = || vec![listed(1, true), listed(2, true), listed(3, true)];
        let fine = cluster(vec![answer(1, good), answer(2, good), answer(3, good)], three());
        assert_eq!(subjects(&fine, Level::Warning), ["version"], "what no release is without");

        let two = cluster(vec![answer(1, good), answer(2, old)], three());
        assert_eq!(subjects(&two, Level::Warning), ["members", "version", "version"]);

        let same = cluster(vec![answer(1, good), answer(1, good), answer(2, good)], three());
        assert!(subjects(&same, Level::Warning).contains(&"cluster"));

        let mut other = answer(2, good);
        other.cluster = 8;
        let mixed = cluster(vec![answer(1, good), other, answer(3, good)], three());
        assert_eq!(subjects(&mixed, Level::Problem(ErrorKind::Invalid)), ["cluster"]);
    }

    #[test]
    fn a_learner_has_no_vote() {
        let list = vec![listed(1, true), listed(2, true), listed(3, true), listed(4, false)];
        let good = "3.6.16";
        let answers = vec![answer(1, good), answer(2, good), answer(3, good), answer(4, good)];
        let cluster = cluster(answers, list);
        assert_eq!((cluster.voters(), cluster.answering_voters()), (3, 3));
        assert!(cluster.findings(true)[3].text.contains("no vote"));
    }

    #[test]
    fn an_alarm_is_a_problem() {
        let mut full = answer(1, "3.6.16");
        full.alarms = vec!["memberID:1 alarm:NOSPACE ".to_owned()];
        let cluster = cluster(vec![full], vec![listed(1, true)]);
        assert_eq!(subjects(&cluster, Level::Problem(ErrorKind::Unavailable)), ["alarm"]);
    }
}
