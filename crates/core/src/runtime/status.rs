//! What an elector or an observer knows, for people and for metrics.

use std::time::Duration;

use futures_core::Stream;
use tokio::sync::watch;

#[cfg(doc)]
use crate::backend::Capabilities;
use crate::backend::Observed;
use crate::election::{Election, View};
use crate::error::Error;
use crate::record::{Incarnation, Token};
use crate::time::{Time, Wall};

/// What an elector or an observer knows now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// What this candidate is.
    pub role: Role,
    /// Who leads, as far as is known.
    pub leader: Leader,
    /// The incarnation in use.
    pub incarnation: Incarnation,
    /// Why the last request failed; `None` once one succeeded.
    pub store_error: Option<Error>,
    /// Why this candidate could not take the lock, were it free now: the store says that its
    /// credentials may not, or did when it was asked last (once a minute, or once a lease if that
    /// is longer, and after a denied write). `None` also where the store cannot tell, and of an
    /// observer. A program that reports whether it is ready should not be while this is set: see
    /// [`may_lead`](Self::may_lead).
    pub standby_error: Option<Error>,
    /// The store may have forgotten who led ([`Capabilities::forgets`]), and so nobody is known to
    /// lead: whoever did may believe yet. At this moment, on the clock of the elector, a candidate
    /// leads at the latest, but for its requests, unless another is first; an observer only knows
    /// by it that the store cannot vouch for the past. `None` otherwise.
    pub forgotten_until: Option<Time>,
    /// What happened so far.
    pub counters: Counters,
    /// Nobody looks after this any more.
    ended: bool,
    /// When the role stops being true by itself.
    role_until: Time,
    /// When the leader is known no longer, by itself.
    leader_until: Time,
}

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Does not contend now: an observer, a candidate that nobody has asked to campaign, or an
    /// elector that has ended.
    Observer,
    /// Contends.
    Candidate,
    /// Leads, with this token.
    Leader(Token),
    /// Leads, and its work has been told to stop.
    Draining(Token),
}

/// Who leads, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leader {
    /// Nothing was read, or too long ago.
    Unknown,
    /// Nobody.
    Nobody,
    /// This holder.
    Held(LeaderInfo),
}

/// A holder, as its record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaderInfo {
    /// Its chosen name.
    pub identity: String,
    /// Its fencing token; a foreign client has one only where the store mints it.
    pub token: Option<Token>,
    /// Where it can be reached, if it said so.
    pub advertise: Option<String>,
    /// Whether it is this very elector.
    pub is_me: bool,
    /// When its term began, by its own wall clock. `None`: a foreign client that does not tell, nor
    /// how long its lease is.
    pub since: Option<Wall>,
    /// When it last renewed, by its own wall clock. `None` where that is not stored: see
    /// [`Observed::renewed`].
    pub renewed: Option<Wall>,
    /// How long its lease lasts without a renewal.
    pub lease_duration: Duration,
}

/// Counts since the elector was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Reads sent.
    pub reads: u64,
    /// Writes sent.
    pub writes: u64,
    /// Requests that failed or whose outcome stayed unknown.
    pub failures: u64,
    /// Writes that lost a race.
    pub conflicts: u64,
    /// Terms begun.
    pub terms: u64,
    /// Terms that ended without being asked to.
    pub losses: u64,
}

impl Status {
    pub(crate) fn of(
        election: &Election,
        now: Time,
        store_error: Option<Error>,
        counters: Counters,
    ) -> Self {
        let role = match election.leadership(now) {
            Some(term) if term.draining => Role::Draining(term.token),
            Some(term) => Role::Leader(term.token),
            None if election.standing() => Role::Candidate,
            None => Role::Observer,
        };
        let incarnation = election.incarnation();
        let leader = Leader::of(election, now);
        let role_until = election.leadership(now).map_or(Time::NEVER, |term| term.until);
        let leader_until = election.view_until();
        Self {
            role,
            leader,
            incarnation,
            store_error,
            standby_error: None,
            forgotten_until: election.forgotten_until(now),
            counters,
            ended: false,
            role_until,
            leader_until,
        }
    }

    /// Whether nothing is known that would keep this candidate from leading once the lock is free.
    /// `false` for good once the elector has ended. An [`Observer`](crate::Observer) never leads;
    /// this says nothing of it.
    #[must_use]
    pub fn may_lead(&self) -> bool {
        self.standby_error.is_none() && !self.ended
    }

    /// What of it is still true at `now`, also if the driver has been stalled since.
    pub(crate) fn still_true(mut self, now: Time) -> Self {
        if now >= self.role_until {
            self.role = Role::Candidate;
        }
        if now >= self.leader_until {
            self.leader = Leader::Unknown;
            self.forgotten_until = None;
        }
        self
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&mut self) {
        self.role = Role::Observer;
        self.leader = Leader::Unknown;
        self.forgotten_until = None;
        self.ended = true;
    }

    /// Whether somebody who watches changes wants to hear of this one: renewals alone are none.
    pub(crate) fn is_news_after(&self, before: &Self) -> bool {
        let told = |status: &Self| {
            let leader = match &status.leader {
                Leader::Held(leading) => {
                    Leader::Held(LeaderInfo { renewed: None, ..leading.clone() })
                }
                other => other.clone(),
            };
            let error = status.store_error.as_ref().map(Error::kind);
            let forgotten = status.forgotten_until.is_some();
            (status.role, leader, forgotten, status.incarnation, error, status.may_lead())
        };
        told(self) != told(before)
    }
}

impl Leader {
    fn of(election: &Election, now: Time) -> Self {
        let record = match election.view(now) {
            View::Unknown => return Self::Unknown,
            View::Nobody => return Self::Nobody,
            View::Held(record) => record,
        };
        let Some(holder) = &record.holder else { return Self::Nobody };
        Self::Held(LeaderInfo {
            identity: holder.identity.clone(),
            token: election.holders_token(),
            advertise: holder.advertise.clone(),
            is_me: holder.incarnation == Some(election.incarnation()),
            since: record.since(),
            renewed: election.observed().and_then(Observed::renewed),
            lease_duration: record.lease_duration,
        })
    }
}

/// The present status and every change of it; renewals are none.
pub(crate) fn changes(
    mut status: watch::Receiver<Status>,
) -> impl Stream<Item = Status> + Send + 'static {
    status.mark_changed();
    futures_util::stream::unfold(status, |mut status| async move {
        status.changed().await.ok()?;
        let now = status.borrow_and_update().clone();
        Some((now, status))
    })
}
