//! The Sentinels: whether they agree, and how fast they fail over.

use std::time::Duration;

use leasehold_backend::Finding;
use leasehold_core::{ErrorKind, Timing, printable};
use redis::{Value, cmd};

use crate::connection::{Connection, first_error, listen};
use crate::dial::Address;
use crate::failure::Failure;
use crate::info::text;
use crate::node::hub::SWITCHED;
use crate::node::sentinel::{Sentinels, tcp};
use crate::rules::Rules;

use super::not_seen;
use super::server::{away, counted};

const SUBJECT: &str = "sentinel";

/// How long a fail-over takes beyond the time after which a primary counts as down: 1.3 s were
/// measured after a kill, and 2.2 s after a freeze.
const PROMOTION: Duration = Duration::from_millis(2500);

/// What one Sentinel knows of the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    replicas: u64,
    others: u64,
    quorum: u64,
    down_after: Duration,
}

impl Sentinels {
    pub(super) async fn examined(&self, rules: Rules, timing: &Timing) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut known = None;
        let mut named: Vec<(String, String)> = Vec::new();
        for host in &self.hosts {
            match self.ask(host).await {
                Ok(Some(primary)) => named.push((host.to_string(), primary.to_string())),
                Ok(None) => findings.push(stranger(host, &self.master)),
                // Every candidate is told the same at this Sentinel.
                Err(failure) => {
                    findings.push(refused(host, failure));
                    continue;
                }
            }
            match self.known(host).await {
                Ok(told) => known = known.or(Some(told)),
                Err(failure) => findings.push(not_seen(
                    SUBJECT,
                    "SENTINEL MASTER",
                    failure,
                    "+sentinel|master, or none: it is only looked at here",
                )),
            }
            findings.extend(self.hints(host).await);
        }
        findings.extend(disagreement(&named));
        if let Some(known) = known {
            findings.extend(judged(known, self.hosts.len(), rules, timing));
        }
        findings
    }

    /// The replicas that any Sentinel knows, also those that are down.
    pub(super) async fn replicas(&self) -> Vec<Address> {
        let mut found = Vec::new();
        for host in &self.hosts {
            let mut question = cmd("SENTINEL");
            question.arg("REPLICAS").arg(&self.master);
            let asked = async { Connection::open(&self.how, host).await?.ask(&[question]).await };
            // Whoever may not ask learns them from the primary.
            let Ok(replies) = asked.await else { continue };
            let Some(Value::Array(replicas)) = replies.first() else { continue };
            found.extend(replicas.iter().filter_map(|replica| {
                let Value::Array(fields) = replica else { return None };
                Some(tcp(field(fields, "ip")?, field(fields, "port")?))
            }));
        }
        found
    }

    /// Whether this user hears at once that another server is the primary.
    async fn hints(&self, host: &Address) -> Option<Finding> {
        let listened = async {
            let mut hints = listen(&self.how, host).await?;
            let subscribed = hints.subscribe(SWITCHED).await;
            subscribed.map_err(|error| Failure::of_redis(&error, &host.to_string()))
        };
        let failure = listened.await.err()?;
        let text = format!("{failure}: a fail-over is noticed later, by what no longer answers");
        Some(Finding::warning(SUBJECT, text, "grant +subscribe on &+switch-master there"))
    }

    async fn known(&self, host: &Address) -> Result<Known, Failure> {
        let connection = Connection::open(&self.how, host).await?;
        let mut question = cmd("SENTINEL");
        question.arg("MASTER").arg(&self.master);
        let replies = connection.ask(&[question]).await?;
        if let Some(failure) = first_error(&replies, &host.to_string()) {
            return Err(failure);
        }
        let Some(Value::Array(fields)) = replies.first() else {
            return Err(Failure::unexpected(&host.to_string()));
        };
        let number = |name: &str| field(fields, name)?.parse::<u64>().ok();
        Ok(Known {
            replicas: number("num-slaves").unwrap_or(0),
            others: number("num-other-sentinels").unwrap_or(0),
            quorum: number("quorum").unwrap_or(0),
            down_after: Duration::from_millis(number("down-after-milliseconds").unwrap_or(0)),
        })
    }
}

/// One of the fields that a Sentinel tells, each after its name.
fn field<'a>(fields: &'a [Value], name: &str) -> Option<&'a str> {
    let pair = fields.chunks_exact(2).find(|pair| text(&pair[0]) == Some(name))?;
    text(&pair[1])
}

/// A Sentinel that does not know the primary.
fn stranger(host: &Address, master: &str) -> Finding {
    let text = format!("{host} knows no primary named {}", printable(master));
    Finding::warning(SUBJECT, text, "have it watch the primary (sentinel monitor), or leave it out")
}

/// A Sentinel that answers no question. The others do, if this is not the last one.
fn refused(host: &Address, failure: Failure) -> Finding {
    let is_denied = failure.is_denied();
    let error = failure.during("ask a Sentinel where the primary is");
    if is_denied {
        return Finding::of_error(SUBJECT, &error);
    }
    let cure = format!("bring {host} back, or leave it out of the URL");
    Finding::warning(SUBJECT, error.to_string(), cure)
}

/// Sentinels that name different servers.
fn disagreement(named: &[(String, String)]) -> Option<Finding> {
    let (_, first) = named.first()?;
    if named.iter().all(|(_, primary)| primary == first) {
        return None;
    }
    let said = named.iter().map(|(host, primary)| format!("{host} says {primary}"));
    let text =
        format!("they disagree where the primary is: {}", said.collect::<Vec<_>>().join(", "));
    let cure = "a fail-over may be under way: look again; if it stays so, look at their network";
    Some(Finding::warning(SUBJECT, text, cure))
}

fn judged(known: Known, named: usize, rules: Rules, timing: &Timing) -> Vec<Finding> {
    let all = known.others + 1;
    let text = format!("{all} Sentinels, {} must agree that the primary is down", known.quorum);
    let mut findings = vec![match all {
        1 | 2 => {
            Finding::warning(SUBJECT, text, "run three: fewer cannot fail over when one is gone")
        }
        _ if u64::try_from(named).unwrap_or(u64::MAX) < all => Finding::warning(
            SUBJECT,
            format!("{text}; the URL names {named}"),
            "name all of them, so that any may fail",
        ),
        _ => Finding::good(SUBJECT, text),
    }];
    if let Some(replicas) = rules.replicas()
        && known.replicas != replicas
    {
        let text = format!(
            "Sentinel knows {} and the URL says replicas={replicas}",
            counted(known.replicas)
        );
        findings.push(match known.replicas > replicas {
            true => Finding::problem(
                SUBJECT,
                ErrorKind::Invalid,
                text,
                format!(
                    "write replicas={}, or have Sentinel forget those that are gone for good: \
                     SENTINEL RESET",
                    known.replicas
                ),
            ),
            false => away(SUBJECT, text, "start the missing replicas, or correct replicas="),
        });
    }
    findings.push(ride_through(known.down_after, timing));
    findings
}

/// A leader stays through a fail-over that is shorter than what it rides through.
fn ride_through(down_after: Duration, timing: &Timing) -> Finding {
    let ridden = timing.bounds().ride_through;
    let takes = down_after + PROMOTION;
    let text = format!(
        "a primary counts as down after {down_after:?}, so a fail-over may take {takes:?}; a \
         leader rides through {ridden:?}"
    );
    if takes < ridden {
        return Finding::good(SUBJECT, text);
    }
    // The ride-through is two fifths of a lease.
    let lease = (takes * 5 / 2).as_secs() + 1;
    let cure = format!(
        "choose a lease duration of {lease}s, or a shorter time: SENTINEL SET MASTER \
         down-after-milliseconds 1000"
    );
    Finding::warning(SUBJECT, format!("{text}: each fail-over ends its term"), cure)
}

#[cfg(test)]
mod tests {
    use leasehold_backend::Level;

    use super::*;

    fn levels(known: Known, replicas: u64) -> Vec<Level> {
        let rules = Rules::with_replicas(replicas);
        judged(known, 3, rules, &Timing::default()).iter().map(|found| found.level).collect()
    }

    #[test]
    fn sentinels_that_disagree_are_told() {
        let say = |said: &[(&str, &str)]| {
            let said: Vec<_> = said.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
            disagreement(&said)
        };
        assert_eq!(say(&[]), None);
        assert_eq!(say(&[("s:1", "a:1"), ("s:2", "a:1")]), None);
        let text = say(&[("s:1", "a:1"), ("s:2", "b:1")]).unwrap().text;
        assert!(text.ends_with("s:1 says a:1, s:2 says b:1"), "{text}");
    }

    #[test]
    fn a_slow_fail_over_and_a_wrong_count_are_told() {
        let good = Known { replicas: 2, others: 2, quorum: 2, down_after: Duration::from_secs(1) };
        assert_eq!(levels(good, 2), [Level::Good, Level::Good]);
        let slow = Known { down_after: Duration::from_secs(5), ..good };
        let finding = ride_through(slow.down_after, &Timing::default());
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.cure.unwrap().contains("19s"), "{}", finding.text);
        assert_eq!(levels(good, 1)[1], Level::Problem(ErrorKind::Invalid));
        assert_eq!(levels(good, 3)[1], Level::Problem(ErrorKind::Unavailable));
        assert_eq!(levels(Known { others: 1, ..good }, 2)[0], Level::Warning);
        assert_eq!(levels(Known { others: 4, ..good }, 2)[0], Level::Warning);
    }
}
