//! A foreign client: no incarnation, no token of its own, but it waits and believes as it should.

use std::time::Duration;

use leasehold_core::{Holder, Nonce, Record, Token, Wall};
use serde_json::Map;

use super::World;
use crate::case::{Case, MS, Nanos};
use crate::draw::{Purpose, draw};
use crate::judge::Judge;
use crate::queue::Event;
use crate::store_kind::StoreKind;

/// The foreign client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Foreign {
    /// Whether it runs.
    pub active: bool,
    /// Until when it believes.
    pub until: Nanos,
    /// How long it believes after a write.
    pub deadline: Nanos,
    lease: Nanos,
    period: Nanos,
    looks: u64,
    seen: Option<(Nonce, Nanos)>,
    nonce: Option<Nonce>,
}

impl Foreign {
    /// The foreign client of a schedule.
    #[must_use]
    pub(crate) fn new(case: &Case) -> Self {
        let lease = case.foreign_lease_ms() * MS;
        Self { lease, deadline: lease / 2, period: lease / 6, ..Self::default() }
    }
}

impl World<'_> {
    /// It starts.
    pub(crate) fn foreign_starts(&mut self) {
        if !self.foreign.active {
            self.foreign.active = true;
            self.queue.push(self.now, Event::Foreign);
        }
    }

    /// It stops: releases, or just dies.
    pub(crate) fn foreign_stops(&mut self) {
        if !self.foreign.active {
            return;
        }
        self.foreign.active = false;
        let holds = self.foreign_holds();
        let gently = draw(self.case.seed, 99, self.foreign.looks, Purpose::Foreign) & 1 == 0;
        self.foreign.until = self.now;
        if holds && gently && self.stalled_until <= self.now {
            let record = match self.case.store {
                StoreKind::Server => None,
                _ => self
                    .store
                    .state()
                    .record
                    .clone()
                    .map(|record| Record { holder: None, ..record }),
            };
            self.tell(|| "the foreign client releases".to_owned());
            let named = self.store.named();
            self.store.write_foreign(self.now, record);
            self.report(|judge, scene| judge.displaces(scene, named, None));
            self.changed();
        } else {
            self.tell(|| "the foreign client dies".to_owned());
        }
    }

    fn foreign_holds(&self) -> bool {
        let stored = self.store.state().record.as_ref();
        stored.is_some_and(|record| {
            record.holder.is_some() && Some(record.nonce) == self.foreign.nonce
        })
    }

    /// It looks at the record, and renews or takes it.
    pub(crate) fn foreign_looks(&mut self) {
        if !self.foreign.active {
            return;
        }
        self.queue.push(self.now + self.foreign.period, Event::Foreign);
        if self.stalled_until > self.now {
            return;
        }
        self.foreign.looks += 1;
        if self.foreign_holds() {
            if self.case.store == StoreKind::Server {
                self.store.refresh_foreign(self.now);
                self.foreign.until = self.now + self.foreign.deadline;
                self.report(Judge::foreign_believes);
            } else {
                self.foreign_writes();
            }
            return;
        }
        // What it held is somebody else's now.
        let lost = self.foreign.nonce.is_some();
        self.foreign.nonce = None;
        if lost {
            self.foreign.until = self.foreign.until.min(self.now);
        }
        let (now, lease) = (self.now, self.foreign.lease * 3 / 2);
        let stored = self.store.state().record.as_ref();
        let free = match stored.map(|record| (record.holder.is_some(), record.nonce)) {
            None if self.store.state().unreadable => false,
            None | Some((false, _)) => true,
            Some((true, _)) if self.case.store == StoreKind::Server => false,
            Some((true, nonce)) => match self.foreign.seen {
                Some((seen, since)) if seen == nonce => now >= since + lease,
                _ => {
                    self.foreign.seen = Some((nonce, now));
                    false
                }
            },
        };
        if free {
            self.foreign_writes();
        }
    }

    /// What a backend gives instead of a token: above all that the object carried, and kept until
    /// the release.
    fn foreign_number(&self) -> Token {
        let state = self.store.state();
        let carried = state.record.as_ref().map_or(0, |record| record.token);
        let held = state.record.as_ref().and_then(|record| record.holder.as_ref());
        if held.is_some_and(|holder| holder.incarnation.is_none()) {
            return carried;
        }
        carried.max(state.floor.unwrap_or(0)) + 1
    }

    fn foreign_writes(&mut self) {
        let half = draw(self.case.seed, 99, self.foreign.looks, Purpose::Foreign);
        let nonce = Nonce(u128::from(half) << 3 | 1);
        self.foreign.nonce = Some(nonce);
        let token = match self.case.store {
            StoreKind::Server => self.store.revision() + 1,
            _ => self.foreign_number(),
        };
        let record = Record {
            holder: Some(Holder { identity: "foreign".into(), incarnation: None, advertise: None }),
            token,
            lease_duration: Duration::from_nanos(self.foreign.lease),
            nonce,
            acquired: Wall(0),
            renewed: Wall(0),
            extra: Map::new(),
        };
        self.tell(|| "the foreign client writes".to_owned());
        if self.case.store == StoreKind::Server {
            self.store.grant(self.now, nonce, self.foreign.lease);
        }
        let named = self.store.named();
        self.store.write_foreign(self.now, Some(record));
        let counted = (self.case.store == StoreKind::Server).then_some(token);
        self.report(|judge, scene| judge.foreign_wrote(scene, named, counted));
        self.foreign.until = self.now + self.foreign.deadline;
        self.changed();
        self.report(Judge::foreign_believes);
    }
}
