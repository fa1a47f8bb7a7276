//! Shows the model checker every value of an election that grows without end.

use std::time::Duration;

use crate::backend::{Intent, Version};
use crate::model::{Atom, Visit};
use crate::record::Nonce;
use crate::timing::Timing;

use super::mutant::Mutant;
use super::{Attempt, Election, Flight, Halt, Own, OwnTerm, Phase, Rival, Seen};

impl Election {
    /// Whether this is the nonce of a write of ours whose outcome is unknown.
    #[must_use]
    pub fn awaits(&self, nonce: Nonce) -> bool {
        self.own.attempt(nonce).is_some()
    }

    /// Forgets names that nothing will ever be compared with again: `stored` tells what is stored
    /// or on the way, to or from this candidate. It goes on as if nothing had been forgotten.
    pub fn forget(
        &mut self,
        nonce_is_stored: &dyn Fn(Nonce) -> bool,
        version_is_stored: &dyn Fn(&Version) -> bool,
    ) {
        let seen = self.seen.as_ref().map(|seen| &seen.observed);
        let seen_nonce = seen.and_then(|seen| seen.record()).map(|record| record.nonce);
        let recurs = |nonce: &Nonce| seen_nonce == Some(*nonce) || nonce_is_stored(*nonce);
        // A Take is sent again, and a Release that was sent once is paced.
        let matters =
            |attempt: &Attempt| attempt.change.intent != Intent::Renew || recurs(&attempt.nonce());
        self.own.unresolved.retain(matters);
        self.own.acknowledged = self.own.acknowledged.filter(recurs);
        self.own.previous = self.own.previous.filter(recurs);
        self.own.earlier.retain(recurs);
        let named = |version: &Version| {
            let flight = match &self.flight {
                Some(Flight::Write { attempt, .. }) => Some(&**attempt),
                Some(Flight::Read { .. }) | None => None,
            };
            let attempts = self.own.unresolved.iter().chain(&self.ghost).chain(flight);
            version_is_stored(version)
                || seen.is_some_and(|seen| seen.version == *version)
                || attempts.into_iter().any(|attempt| attempt.expected == *version)
        };
        if self.refused.as_ref().is_some_and(|version| !named(version)) {
            self.refused = None;
        }
        // Of a version in a reign only the reign is compared.
        self.own.version = match self.own.version.as_ref().map(Version::reign) {
            _ if !self.forgets => None,
            Some(Some(reign)) => Some(Version::absent().in_reign(reign)),
            _ => self.own.version.take(),
        };
    }

    /// The longest that belief rests on a write that was sent.
    fn belief_horizon(&self) -> Duration {
        if self.is(Mutant::NoDeadline) {
            return Duration::MAX;
        }
        if self.is(Mutant::NoMargin) {
            return self.timing.lease_duration();
        }
        self.timing.renew_deadline()
    }

    /// The longest that anything waits which counts from the send of a read.
    fn read_horizon(&self) -> Duration {
        if self.is(Mutant::WaitsFromSend) {
            return Timing::wait(self.timing.lease_duration()) + self.jitter;
        }
        self.timing.retry_period()
    }
}

impl Visit for Election {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        let (belief, read) = (self.belief_horizon(), self.read_horizon());
        let by_server = self.is_by_server();
        let Self {
            me,
            incarnation,
            timing,
            jitter,
            hand_over_wait,
            by_server: _,
            floor_is_history: _,
            forgets: _,
            standing: _,
            push: _,
            phase,
            flight,
            seen,
            held,
            trust: _,
            read_at,
            write_at,
            refused,
            cool_until,
            own,
            // There are few, and they only grow.
            reign: _,
            ghost,
            copied: _,
            highest,
            floor,
            longest: _,
            failure,
            ended,
            released: _,
            #[cfg(feature = "mutants")]
                mutant: _,
        } = self;
        me.visit(see);
        see(Atom::Incarnation(incarnation));
        phase.show(see, belief);
        if let Some(flight) = flight {
            flight.show(see, by_server, belief, read, timing.retry_period());
        }
        if let Some(seen) = seen {
            seen.show(see, *hand_over_wait);
        }
        if let Some(held) = held {
            held.show(see, *jitter, by_server);
        }
        see(Atom::Deadline(read_at));
        see(Atom::Deadline(write_at));
        see(Atom::Deadline(cool_until));
        refused.visit(see);
        own.show(see, by_server, belief);
        if let Some(ghost) = ghost {
            // Its revocation counts from its own send.
            ghost.show(see, by_server, Duration::ZERO);
        }
        see(Atom::Mark(highest));
        if let Some(floor) = floor {
            see(Atom::Mark(floor));
        }
        if let Some(failure) = failure {
            failure.show(see);
        }
        if let Some((token, _)) = ended {
            see(Atom::Token(token));
        }
    }
}

impl Phase {
    fn show(&mut self, see: &mut dyn FnMut(Atom<'_>), belief: Duration) {
        match self {
            Self::Following => {}
            Self::Claiming { token } => see(Atom::Token(token)),
            Self::Leading(OwnTerm { token, sent, renew_at, draining: _ }) => {
                see(Atom::Token(token));
                see(Atom::Origin { time: sent, horizon: belief });
                see(Atom::Deadline(renew_at));
            }
            Self::Ended { token, work_stopped: _, release_until, alone_until } => {
                see(Atom::Token(token));
                see(Atom::Deadline(alone_until));
                if let Some(until) = release_until {
                    see(Atom::Deadline(until));
                }
            }
        }
    }
}

impl Flight {
    fn show(
        &mut self,
        see: &mut dyn FnMut(Atom<'_>),
        by_server: bool,
        belief: Duration,
        read: Duration,
        pace: Duration,
    ) {
        match self {
            Self::Read { sent, floor, overtaken: _, again: _ } => {
                see(Atom::Origin { time: sent, horizon: read });
                if let Some(floor) = floor {
                    see(Atom::Mark(floor));
                }
            }
            // Whether this is the first time it is sent must stay visible: equal moments stay
            // equal, and others differ, since the pace is shorter than any belief.
            Self::Write { attempt, sent } if attempt.first_sent == *sent => {
                let leads = matches!(attempt.change.intent, Intent::Take | Intent::Renew);
                attempt.show(see, by_server, if leads { belief } else { pace });
                *sent = attempt.first_sent;
            }
            Self::Write { attempt, sent } => {
                attempt.show(see, by_server, belief);
                see(Atom::Origin { time: sent, horizon: pace });
            }
        }
    }
}

impl Attempt {
    fn show(&mut self, see: &mut dyn FnMut(Atom<'_>), by_server: bool, horizon: Duration) {
        let Self { expected, change, first_sent, refused: _ } = self;
        expected.visit(see);
        change.visit(by_server, see);
        see(Atom::Origin { time: first_sent, horizon });
    }
}

impl Seen {
    fn show(&mut self, see: &mut dyn FnMut(Atom<'_>), hand_over_wait: Duration) {
        let Self { observed, received, heard } = self;
        observed.visit(see);
        see(Atom::Origin { time: received, horizon: hand_over_wait });
        see(Atom::Shown(heard));
    }
}

impl Rival {
    fn show(&mut self, see: &mut dyn FnMut(Atom<'_>), jitter: Duration, by_server: bool) {
        let Self { nonce, token, lease_duration, received, vanished: _, suspended: _ } = self;
        nonce.visit(see);
        see(Atom::Mark(token));
        // A store that ends leases itself is never waited for, and is not replaced by one that does
        // not.
        let wait = Timing::wait(*lease_duration) + jitter;
        see(Atom::Origin {
            time: received,
            horizon: if by_server { Duration::ZERO } else { wait },
        });
    }
}

impl Own {
    fn show(&mut self, see: &mut dyn FnMut(Atom<'_>), by_server: bool, belief: Duration) {
        let Self { acknowledged, version, previous, earlier, unresolved, disowned } = self;
        acknowledged.visit(see);
        version.visit(see);
        previous.visit(see);
        earlier.iter_mut().for_each(|nonce| nonce.visit(see));
        for attempt in unresolved {
            // Only a Take is sent again, and counts from its first send.
            let take = attempt.change.intent == Intent::Take;
            attempt.show(see, by_server, if take { belief } else { Duration::ZERO });
        }
        disowned.visit(see);
    }
}

impl Halt {
    fn show(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        match self {
            Self::Rewound { floor, before } => {
                if let Some(floor) = floor {
                    see(Atom::Mark(floor));
                }
                see(Atom::Mark(before));
            }
            Self::Corrupt(_) | Self::Replaced | Self::Denied | Self::Invalid => {}
        }
    }
}
