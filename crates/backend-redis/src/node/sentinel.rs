//! Where a primary is, as Sentinels say.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use leasehold_core::printable;
use redis::{Value, cmd};
use tokio::time::timeout;

use crate::connection::{Connection, How, first_error};
use crate::dial::Address;
use crate::failure::{Failure, Reason};
use crate::info::text;
use crate::node::locked;

/// How long a Sentinel may take.
const ANSWER: Duration = Duration::from_millis(500);

/// The Sentinels of one primary.
pub(crate) struct Sentinels {
    pub(crate) how: How,
    pub(crate) hosts: Vec<Address>,
    /// The name that they have for the primary.
    pub(crate) master: String,
    /// What could not be connected to last.
    doubted: Mutex<Option<Address>>,
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels")
            .field("hosts", &self.hosts)
            .field("master", &self.master)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the primary {}", printable(&self.master))
    }
}

impl Sentinels {
    pub(crate) fn new(how: How, hosts: Vec<Address>, master: String) -> Self {
        Self { how, hosts, master, doubted: Mutex::default() }
    }

    pub(crate) fn apart(&self) -> Self {
        Self::new(self.how.clone(), self.hosts.clone(), self.master.clone())
    }

    /// This address could not be connected to: another one is preferred, if a Sentinel names one.
    pub(crate) fn doubt(&self, address: &Address) {
        *locked(&self.doubted) = Some(address.clone());
    }

    /// Where most of those that answer say the primary is. One that was cut off may name an old
    /// one, where nothing is acknowledged.
    pub(crate) async fn primary(&self) -> Result<Address, Failure> {
        let answers = join_all(self.hosts.iter().map(|host| self.ask(host))).await;
        let doubted = locked(&self.doubted).take();
        let named: Vec<&Address> =
            answers.iter().filter_map(|answer| answer.as_ref().ok()?.as_ref()).collect();
        let votes = |address: &Address| named.iter().filter(|other| **other == address).count();
        let trusted = named.iter().filter(|address| Some(**address) != doubted.as_ref());
        let best = trusted.max_by_key(|address| votes(address)).or(named.first());
        if let Some(best) = best {
            return Ok((*best).clone());
        }
        if answers.iter().any(Result::is_ok) {
            let text = format!("no Sentinel knows a primary named {}", printable(&self.master));
            return Err(Failure::invalid(text).with_cure(
                "write redis+sentinel://HOSTS/MASTER/NAME with the MASTER of sentinel monitor",
            ));
        }
        let mut failures = answers.into_iter().filter_map(Result::err);
        Err(failures.next().unwrap_or_else(|| Failure::invalid("no Sentinel was given")))
    }

    /// What this one says; `None`: it does not know that name.
    pub(crate) async fn ask(&self, host: &Address) -> Result<Option<Address>, Failure> {
        let asked = timeout(ANSWER, async {
            let connection = Connection::open(&self.how, host).await?;
            let mut question = cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
            connection.ask(&[question]).await
        });
        let replies = asked.await.unwrap_or_else(|_elapsed| {
            let failure = Failure::not_sent(format!("{host}: no answer within {ANSWER:?}"));
            // Who speaks no TLS waits for the end of a line.
            Err(match self.how.dialer.is_tls() {
                true => failure.with_cure(
                    "if it does not speak TLS, write redis+sentinel:// instead of \
                     rediss+sentinel://",
                ),
                false => failure,
            })
        })?;
        if let Some(failure) = first_error(&replies, &host.to_string()) {
            return Err(match failure.reason {
                Reason::NotPermitted => failure.with_cure(
                    "the Sentinels need the rights +sentinel|get-master-addr-by-name and, for \
                     hints, +subscribe on &+switch-master",
                ),
                Reason::Refused | Reason::Unknown => failure.with_cure(
                    "the hosts of redis+sentinel:// are Sentinels (port 26379), not the servers \
                     that they watch",
                ),
                _ => failure,
            });
        }
        Ok(match replies.first() {
            Some(Value::Array(parts)) => match parts.as_slice() {
                [host, port] => text(host).zip(text(port)).map(|(host, port)| tcp(host, port)),
                _ => None,
            },
            _ => None,
        })
    }
}

/// An address of two parts.
pub(crate) fn tcp(host: &str, port: &str) -> Address {
    let is_v6 = host.contains(':') && !host.starts_with('[');
    let address = if is_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Address::Tcp(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_is_put_in_brackets() {
        assert_eq!(tcp("10.0.0.1", "6379").to_string(), "10.0.0.1:6379");
        assert_eq!(tcp("::1", "6379").to_string(), "[::1]:6379");
        assert_eq!(tcp("redis-0", "6379").to_string(), "redis-0:6379");
    }
}
