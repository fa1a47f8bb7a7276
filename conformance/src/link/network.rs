//! The part of a way that is a network: one proxy in front of each server, for one candidate alone.

use std::io;
use std::net::SocketAddr;

use leasehold::Intent;

use super::Outage;
use crate::proxy::{self, Direction, Fault, Protocol, Proxy};

/// The proxies between one candidate and its servers.
#[derive(Debug)]
pub struct Network {
    proxies: Vec<Proxy>,
    /// What the request that carries out a write looks like on the wire.
    on_the_wire: fn(Intent) -> Option<&'static [u8]>,
}

impl Network {
    /// Proxies in front of these servers.
    ///
    /// # Errors
    /// There is no port or no thread.
    pub fn start(
        servers: &[SocketAddr],
        protocol: Protocol,
        on_the_wire: fn(Intent) -> Option<&'static [u8]>,
    ) -> io::Result<Self> {
        Ok(Self { proxies: Proxy::start_each(servers, protocol)?, on_the_wire })
    }

    /// Where the candidate connects, in the order of the servers.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.proxies.iter().map(Proxy::address)
    }

    /// How many bytes arrived that had been held.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.proxies.iter().map(Proxy::late).sum()
    }

    /// Puts this fault on, in front of every server, until the guards go.
    pub fn fault(&self, fault: Fault) -> Vec<proxy::Guard> {
        self.proxies.iter().map(|proxy| proxy.fault(fault)).collect()
    }

    /// Puts the outage on; `None` if a network knows no such thing.
    pub(super) fn strike(&self, outage: Outage) -> Option<Vec<proxy::Guard>> {
        let faults = match outage {
            Outage::Cut => vec![Fault::Blackhole],
            Outage::RequestsLost => vec![Fault::Lose(Direction::Requests)],
            Outage::AnswersLost => vec![Fault::Lose(Direction::Replies)],
            Outage::Held => {
                vec![Fault::Hold(Direction::Requests), Fault::Hold(Direction::Replies)]
            }
            Outage::SlowRequests(delay) => vec![Fault::Delay(Direction::Requests, delay)],
            Outage::SlowAnswers(delay) => vec![Fault::Delay(Direction::Replies, delay)],
            Outage::Silent => vec![Fault::HalfOpen],
            Outage::Refused => vec![Fault::Refuse],
            Outage::AnswerLost(intent) => {
                vec![Fault::LoseRepliesTo((self.on_the_wire)(intent)?)]
            }
        };
        let on = |proxy| faults.iter().map(move |fault| Proxy::fault(proxy, *fault));
        Some(self.proxies.iter().flat_map(on).collect())
    }
}
