//! The way between one candidate and its store, and the part of it that is a network: one proxy in
//! front of each server, for one candidate alone.

use std::io;
use std::net::SocketAddr;

use leasehold::backend::Intent;

pub use leasehold_testing::link::*;

use crate::proxy::{self, Direction, Fault as OnNetwork, Protocol, Proxy};

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

    /// Puts this fault on, in front of every server, until the guards go.
    pub fn fault(&self, fault: OnNetwork) -> Vec<proxy::Guard> {
        self.proxies.iter().map(|proxy| proxy.fault(fault)).collect()
    }
}

impl leasehold_testing::link::Network for Network {
    fn strike(&self, outage: Outage) -> Option<Box<dyn Send + Sync>> {
        let faults = match outage {
            Outage::Cut => vec![OnNetwork::Blackhole],
            Outage::RequestsLost => vec![OnNetwork::Lose(Direction::Requests)],
            Outage::AnswersLost => vec![OnNetwork::Lose(Direction::Replies)],
            Outage::Held => {
                vec![OnNetwork::Hold(Direction::Requests), OnNetwork::Hold(Direction::Replies)]
            }
            Outage::SlowRequests(delay) => vec![OnNetwork::Delay(Direction::Requests, delay)],
            Outage::SlowAnswers(delay) => vec![OnNetwork::Delay(Direction::Replies, delay)],
            Outage::Silent => vec![OnNetwork::HalfOpen],
            Outage::Refused => vec![OnNetwork::Refuse],
            Outage::AnswerLost(intent) => {
                vec![OnNetwork::LoseRepliesTo((self.on_the_wire)(intent)?)]
            }
            Outage::AnswersCut(bytes) => vec![OnNetwork::CutAfter(Direction::Replies, bytes)],
        };
        let guards: Vec<_> = faults.into_iter().flat_map(|fault| self.fault(fault)).collect();
        Some(Box::new(guards))
    }

    fn late(&self) -> u64 {
        self.proxies.iter().map(Proxy::late).sum()
    }
}
