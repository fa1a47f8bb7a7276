//! The state that is explored.

use super::super::rule::Rule;
use super::cluster::{Cluster, Holder, OVER, Reign, Stored, Version};

/// How many candidates there may be.
pub(super) const CANDIDATES: usize = 3;

/// A deliberate defect of the backend's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// A version is the record alone.
    NoReign,
    /// The reign does not count the full resyncs that a primary began.
    NoFullResyncs,
    /// The reign is not looked at again after the wait.
    NoSecondLook,
    /// A write counts once its server has it.
    NoWait,
    /// The wait goes over a connection that wrote nothing, and is answered with all replicas.
    WaitsElsewhere,
}

/// A run: what may happen besides time, requests and replication.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What it is called.
    pub name: &'static str,
    /// How many candidates there are: at most 3.
    pub candidates: usize,
    /// L in ticks.
    pub lease: u8,
    /// How often a replica may be promoted.
    pub promotions: u8,
    /// How often a server may be told to follow another one.
    pub moves: u8,
    /// Servers may start again, with everything or nothing.
    pub restarts: bool,
    /// A replica may start again from a dump that is older than its last acknowledgements.
    pub old_dumps: bool,
    /// The reign counts partial resyncs, too.
    pub counts_partials: bool,
    /// The deliberate defect of the run, if any.
    pub defect: Option<Defect>,
}

/// What a candidate read last, or wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Seen {
    pub version: Option<Version>,
    pub holder: Holder,
    /// In which it was read.
    pub reign: Reign,
    pub suspended: bool,
    /// How long ago it was first read, in ticks: at most L.
    pub age: u8,
}

/// A write that a server has applied, and whose sender waits for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Waiting {
    pub server: u8,
    pub reign: Reign,
    pub version: Version,
    /// A replica has it.
    pub acknowledged: bool,
    /// How long ago it was sent, in ticks: less than L.
    pub age: u8,
}

/// One candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub seen: Option<Seen>,
    pub waiting: Option<Waiting>,
    /// How long ago the last acknowledged write was sent, in ticks. It believes while that is less
    /// than L.
    pub sent: u8,
}

/// A state of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct World {
    pub(super) candidates: [Candidate; CANDIDATES],
    pub(super) cluster: Cluster,
    pub(super) promotions: u8,
    pub(super) moves: u8,
    // The same for a whole run:
    pub(super) standing: usize,
    pub(super) lease: u8,
    pub(super) counts_partials: bool,
    pub(super) defect: Option<Defect>,
}

impl World {
    /// Nobody leads. A record that was released is stored everywhere, or nothing is.
    pub(super) fn new(setup: &Setup, stored: bool) -> Self {
        let released = Stored { holder: Holder::Nobody, version: 0, reign: 0 };
        let candidate = Candidate { seen: None, waiting: None, sent: setup.lease };
        Self {
            candidates: [candidate; CANDIDATES],
            cluster: Cluster::new(stored.then_some(released)),
            promotions: setup.promotions,
            moves: setup.moves,
            standing: setup.candidates,
            lease: setup.lease,
            counts_partials: setup.counts_partials,
            defect: setup.defect,
        }
    }

    /// Whether a candidate believes that it leads.
    #[must_use]
    pub fn leads(&self, x: usize) -> bool {
        self.candidates[x].sent < self.lease
    }

    /// Whether this rule holds here.
    #[must_use]
    pub fn keeps(&self, rule: Rule) -> bool {
        let leaders = (0..CANDIDATES).filter(|x| self.leads(*x)).count();
        rule != Rule::Belief || leaders < 2
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// The reign of a server ends: what names it names one that is over. Whether that was that of a
    /// write which a replica has acknowledged, and whose sender does not know.
    pub(super) fn end_reign(&mut self, n: u8) -> bool {
        let acknowledged = |waiting: Waiting| waiting.reign == n && waiting.acknowledged;
        let ends = self.candidates.iter().any(|it| it.waiting.is_some_and(acknowledged));
        let over = |reign: &mut Reign| {
            if *reign == n {
                *reign = OVER;
            }
        };
        let data = self.cluster.servers.iter_mut().filter_map(|server| server.data.as_mut());
        data.for_each(|stored| over(&mut stored.reign));
        for candidate in &mut self.candidates {
            candidate.seen.iter_mut().for_each(|seen| over(&mut seen.reign));
            candidate.waiting.iter_mut().for_each(|waiting| over(&mut waiting.reign));
        }
        ends
    }
}
