//! Candidates of client-go and ours on one lock: whoever leads is killed, stopped or asked to go,
//! in turns.
//!
//! Ours must never lead beside anybody. client-go may by its own rules lead until a renew deadline
//! and a retry period after it sent its last renewal; what it does beyond that is its own
//! violation, told in the report and drawn as a fault.

mod listener;

use std::rc::Rc;

use leasehold::Token;

use crate::candidate::Candidate;
use crate::fixture::{Fixture, Foreign, Peer, Tls};
use crate::judge::spans;
use crate::link::{Network, Outage};
use crate::proxy::Protocol;
use crate::stores::kubernetes::ClientGo;
use crate::verdict::{Finding, Outcome, Problem, must};
use crate::world::{LEASE, World, setup};
use listener::{Told, listen};

/// Longer than anything takes, on a slow machine with other work.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(40);

/// What becomes of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is asked to go, and releases.
    Resigned,
    /// SIGKILL.
    Killed,
    /// SIGSTOP, and SIGCONT once another leads.
    Stopped,
    /// Its requests are held until another leads. Ours are cut off in cases of their own.
    Stalled,
}

const OURS: &[End] = &[End::Resigned, End::Killed, End::Stopped];
const THEIRS: &[End] = &[End::Resigned, End::Stopped, End::Stalled, End::Killed];

/// One of client-go's.
struct Theirs {
    peer: Peer,
    network: Network,
    told: Rc<Told>,
}

/// Everybody on the lock.
struct Fleet<'a> {
    world: &'a World,
    servers: &'a dyn Fixture,
    url: String,
    ours: Vec<Candidate>,
    theirs: Vec<Theirs>,
    /// How many there ever were.
    started: usize,
}

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    Ours(usize, Token),
    Theirs(usize),
}

/// UP2 for a Lease, UP4 for Endpoints.
pub(super) async fn mixed_fleet(world: &World) -> Outcome {
    let servers = world.servers(1, Tls::Off).await?;
    world.disturb("candidates are killed, stopped and asked to go");
    // A client-go of Endpoints waits as long as it is configured itself.
    let url = servers.url(&servers.endpoints(), "fleet");
    let url = format!("{url}&peer_lease_duration={}", LEASE.as_secs());
    let (ours, theirs) = (Vec::new(), Vec::new());
    let mut fleet = Fleet { world, servers: servers.as_ref(), url, ours, theirs, started: 0 };
    for _ in 0..3 {
        fleet.one_of_ours().await?;
    }
    for _ in 0..2 {
        fleet.one_of_theirs()?;
    }
    let (mut ours, mut theirs) = (0, 0);
    let rounds = world.turns(30, 8);
    for round in 0..rounds {
        let leader = fleet.leader(|_| true).await?;
        // Ours are told of a release and theirs look for it, so ours nearly always come first.
        let theirs_next = round % 2 == 0;
        if theirs_next {
            fleet.stand_back(leader).await?;
        }
        match leader {
            Leader::Ours(who, _) => {
                fleet.end_ours(leader, who, OURS[ours % OURS.len()]).await?;
                ours += 1;
            }
            Leader::Theirs(who) => {
                fleet.end_theirs(leader, who, THEIRS[theirs % THEIRS.len()]).await?;
                theirs += 1;
            }
        }
        fleet.ours.iter().for_each(|one| one.elector().resume());
    }
    must(ours >= OURS.len() && theirs >= THEIRS.len(), || {
        format!("{ours} terms of ours and {theirs} of theirs were ended, which is not every way")
    })?;
    world.say(format!("{ours} terms of ours and {theirs} of client-go's were ended"));
    fleet.disband().await
}

impl Fleet<'_> {
    async fn one_of_ours(&mut self) -> Result<(), Problem> {
        self.started += 1;
        let name = format!("ours{}", self.started);
        let candidate = self.world.candidate_at(&self.url, &name, setup()).await?;
        candidate.run();
        self.ours.push(candidate);
        Ok(())
    }

    fn one_of_theirs(&mut self) -> Result<(), Problem> {
        self.started += 1;
        let name = format!("go{}", self.started);
        let endpoints = self.servers.endpoints();
        let server = endpoints[0].parse().map_err(Problem::violated)?;
        let network = Network::start(&[server], Protocol::Bytes, |_| None);
        let network = network.map_err(Problem::violated)?;
        let through: Vec<String> = network.addresses().map(|one| one.to_string()).collect();
        let mut peer = self.servers.peers()?.peer(Foreign::Library, &through, "fleet", &name)?;
        let told = listen(&name, peer.lines(), self.world.history(), ClientGo::FAST.bound());
        self.theirs.push(Theirs { peer, network, told });
        Ok(())
    }

    /// Waits until somebody leads who is wanted.
    async fn leader(&self, wanted: impl Fn(Leader) -> bool) -> Result<Leader, Problem> {
        let mut found = None;
        let leads = || {
            let ours = self.ours.iter().enumerate();
            let ours = ours.filter_map(|(who, one)| Some(Leader::Ours(who, one.leads()?)));
            let theirs = self.theirs.iter().enumerate();
            let now = self.world.now();
            let theirs = theirs.filter(|(_, one)| one.told.leads(now));
            let theirs = theirs.map(|(who, _)| Leader::Theirs(who));
            found = ours.chain(theirs).find(|leader| wanted(*leader));
            found.is_some()
        };
        self.world.until("somebody else leads", PATIENCE, leads).await?;
        found.ok_or_else(|| Problem::Late("nobody leads".to_owned()))
    }

    /// All of ours but the leader leave the next term to client-go.
    async fn stand_back(&self, leader: Leader) -> Result<(), Problem> {
        for (who, one) in self.ours.iter().enumerate() {
            if !matches!(leader, Leader::Ours(it, _) if it == who) {
                one.elector().pause();
            }
        }
        // A take may be on its way.
        self.world.sleep(LEASE / 10).await;
        Ok(())
    }

    async fn end_ours(&mut self, leader: Leader, who: usize, end: End) -> Result<(), Problem> {
        let another = |next: Leader| !matches!(next, Leader::Ours(it, _) if it == who);
        match end {
            End::Resigned => {
                self.ours[who].elector().step_down();
                self.leader(|next| next != leader).await?;
            }
            End::Killed => {
                self.ours[who].kill();
                self.leader(another).await?;
                self.ours.remove(who);
                self.one_of_ours().await?;
            }
            End::Stopped | End::Stalled => {
                self.ours[who].freeze();
                self.leader(another).await?;
                self.ours[who].thaw();
            }
        }
        Ok(())
    }

    async fn end_theirs(&mut self, leader: Leader, who: usize, end: End) -> Result<(), Problem> {
        let another = |next: Leader| next != leader;
        match end {
            End::Resigned => {
                self.theirs[who].peer.ask_to_end();
                self.leader(another).await?;
            }
            End::Killed => {
                self.theirs[who].peer.kill();
                self.theirs[who].told.died();
                self.leader(another).await?;
            }
            End::Stopped => {
                self.theirs[who].peer.freeze();
                self.theirs[who].told.stopped(true);
                let next = self.leader(another).await?;
                self.returns(who, next, |it| {
                    it.told.stopped(false);
                    it.peer.thaw();
                })
                .await?;
            }
            End::Stalled => {
                // The more often it comes back to a leader of ours.
                self.ours.iter().for_each(|one| one.elector().resume());
                let network = &self.theirs[who].network;
                let held = leasehold_testing::link::Network::strike(network, Outage::Held);
                let next = self.leader(another).await?;
                self.returns(who, next, move |_| drop(held)).await?;
            }
        }
        // Its process ended with its term.
        self.replace(who)
    }

    /// One of theirs comes back to another leader, works on for a while, and its release may erase
    /// that one's claim.
    async fn returns(
        &self,
        who: usize,
        next: Leader,
        wake: impl FnOnce(&Theirs),
    ) -> Result<(), Problem> {
        // client-go takes a Lease without holder at once, also one that client-go erased, and then
        // leads beside ours until those read of it. Nobody but client-go can mend that: here the
        // other one is away until the claim is back.
        let other = matches!(next, Leader::Ours(..)).then(|| &self.theirs[1 - who]);
        if let Some(other) = other {
            other.peer.freeze();
            other.told.stopped(true);
        }
        wake(&self.theirs[who]);
        self.gives_up(who).await?;
        if self.theirs[who].told.has_erased() {
            self.survives(next).await?;
        }
        if let Some(other) = other {
            other.told.stopped(false);
            other.peer.thaw();
        }
        Ok(())
    }

    /// The leader whose claim was erased asserts it again, and goes on under its token.
    async fn survives(&self, leader: Leader) -> Result<(), Problem> {
        let Leader::Ours(who, token) = leader else { return Ok(()) };
        let lock = leasehold::connect(&self.url).await?;
        let end = self.world.now() + PATIENCE;
        loop {
            let seen = lock.read().await?;
            let record = seen.record();
            let is_back = record.is_some_and(|it| it.token == token && it.holder.is_some());
            let leads = self.ours[who].leads();
            must(leads == Some(token), || {
                format!("an erased claim ended the term: {leads:?}, not {token}")
            })?;
            if is_back {
                return Ok(());
            }
            if self.world.now() > end {
                return Err(Problem::Late("an erased claim is not asserted again".to_owned()));
            }
            self.world.sleep(LEASE / 100).await;
        }
    }

    /// It works on for a while after another took over; what for is said in the end.
    async fn gives_up(&self, who: usize) -> Result<(), Problem> {
        let told = self.theirs[who].told.clone();
        self.world.until("client-go gives up", PATIENCE, || !told.works()).await
    }

    fn replace(&mut self, who: usize) -> Result<(), Problem> {
        self.theirs.remove(who);
        self.one_of_theirs()
    }

    /// Ends them all, and tells what client-go did against its own rules.
    async fn disband(self) -> Outcome {
        self.ours.iter().for_each(|one| one.elector().shutdown());
        let freed = || self.ours.iter().all(|one| one.leads().is_none());
        self.world.until("ours release", PATIENCE, freed).await?;
        let theirs =
            listener::violations(&spans(&self.world.history().events()), self.world.history());
        let count = theirs.len();
        theirs.into_iter().for_each(|line| self.world.say(line));
        self.world.say(format!(
            "{count} times client-go broke its own rules; ours never led beside it within them"
        ));
        Ok(Finding::Holds)
    }
}
