//! What a candidate remembers: its phase, the request in flight, what it saw, and its own writes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backend::{Change, Intent, Observed, Version};
use crate::record::{Nonce, Token};
use crate::time::Time;

/// So many writes of a term are remembered: 64 KiB, and more than two hours at the default timing.
const REMEMBERED: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Following,
    /// Our Take is stored but was learnt of too late: a renewal must be acknowledged before we
    /// lead.
    Claiming {
        token: Token,
    },
    Leading(OwnTerm),
    /// A term of ours is over, but the record may still be ours.
    Ended {
        token: Token,
        work_stopped: bool,
        release_until: Option<Time>,
        /// Nobody else leads before this moment, whatever the store has forgotten. Zero where that
        /// is not known or not asked.
        alone_until: Time,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct OwnTerm {
    pub(super) token: Token,
    /// When the last acknowledged write was sent.
    pub(super) sent: Time,
    pub(super) renew_at: Time,
    pub(super) draining: bool,
}

/// How far the last observation is good enough to write over. Nothing is written before it is
/// fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Trust {
    Fresh,
    /// The watch showed something that a read must decide, at once.
    Look,
    /// A write was refused or its outcome is unknown: a read decides, or what is pushed if it
    /// moved.
    Doubt,
    /// The last candidacy ended by a failure: only the answer to a read decides.
    MustRead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flight {
    Read {
        sent: Time,
        /// What was known of the store's past when it was sent: an answer may be overtaken by the
        /// watch.
        floor: Option<Token>,
        /// The watch moved what we know since.
        overtaken: bool,
        /// The watch showed something since that another read must decide.
        again: bool,
    },
    Write {
        attempt: Box<Attempt>,
        sent: Time,
    },
}

impl Flight {
    pub(super) fn read(sent: Time, floor: Option<Token>) -> Self {
        Self::Read { sent, floor, overtaken: false, again: false }
    }
}

/// A logical write: may be sent more than once, and counts from the first time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    pub(super) expected: Version,
    pub(super) change: Change,
    pub(super) first_sent: Time,
    /// The store said that it did not apply the last request. An earlier one, or one that something
    /// on the way sent twice, may still have been.
    pub(super) refused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub(super) observed: Observed,
    /// When this version was first received.
    pub(super) received: Time,
    /// When the store was last heard.
    pub(super) heard: Time,
}

/// The last sign of life of a holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rival {
    pub(super) nonce: Nonce,
    pub(super) token: Token,
    pub(super) lease_duration: Duration,
    pub(super) received: Time,
    /// The record is gone without a release. The holder may have renewed unseen before that: the
    /// timer has started anew.
    pub(super) vanished: bool,
    /// The state was `Suspended`: the timer starts from zero once it no longer is.
    pub(super) suspended: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Own {
    pub(super) acknowledged: Option<Nonce>,
    /// The version of that write.
    pub(super) version: Option<Version>,
    /// The one before, so that a late watch event of it is recognised.
    pub(super) previous: Option<Nonce>,
    /// The nonces of writes before that, newest last: somebody may put an old copy of our record
    /// back.
    pub(super) earlier: VecDeque<Nonce>,
    pub(super) unresolved: Vec<Attempt>,
    /// A record of ours that no longer proves anything, since the store may have forgotten who came
    /// after.
    pub(super) disowned: Option<Nonce>,
}

impl Attempt {
    pub(super) fn nonce(&self) -> Nonce {
        self.change.record.nonce
    }
}

impl Own {
    /// Nothing of ours is stored any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn acknowledge(&mut self, nonce: Option<Nonce>, forgets: bool) {
        self.recognise(nonce);
        self.resolve(forgets, |_| false);
    }

    /// The last write of ours that is known to have been stored is this one.
    pub(super) fn recognise(&mut self, nonce: Option<Nonce>) {
        if self.acknowledged != nonce {
            let past = std::mem::replace(&mut self.previous, self.acknowledged);
            past.into_iter().for_each(|past| self.remember(past));
            self.acknowledged = nonce;
        }
    }

    /// Keeps the unresolved attempts that may still be recognised as such. The others may have been
    /// stored, or be stored yet over what somebody puts back. A Take among them is seen again only
    /// where the store `forgets` what refuted it.
    pub(super) fn resolve(&mut self, forgets: bool, keep: impl Fn(&Attempt) -> bool) {
        for attempt in std::mem::take(&mut self.unresolved) {
            let comes_back = match attempt.change.intent {
                Intent::Renew => true,
                Intent::Take => forgets,
                Intent::Adopt | Intent::Release | Intent::Revoke => false,
            };
            if keep(&attempt) {
                self.unresolved.push(attempt);
            } else if comes_back && self.acknowledged != Some(attempt.nonce()) {
                self.remember(attempt.nonce());
            }
        }
    }

    fn remember(&mut self, nonce: Nonce) {
        if self.earlier.len() == REMEMBERED {
            self.earlier.pop_front();
        }
        self.earlier.push_back(nonce);
    }

    /// Whether this is the nonce of a write of ours that newer ones have replaced.
    pub(super) fn wrote_before(&self, nonce: Nonce) -> bool {
        self.earlier.contains(&nonce)
    }

    /// Whether this is the nonce of an acknowledged write, or of an unresolved one.
    pub(super) fn recognises(&self, nonce: Nonce) -> bool {
        self.acknowledged == Some(nonce)
            || self.previous == Some(nonce)
            || self.attempt(nonce).is_some()
    }

    pub(super) fn attempt(&self, nonce: Nonce) -> Option<&Attempt> {
        self.unresolved.iter().find(|attempt| attempt.nonce() == nonce)
    }
}
