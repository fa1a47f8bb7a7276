//! For the model checker: every value that grows without end, shown one by one, so that states
//! which differ in nothing but such values can be made equal. Built in with the feature `model`
//! only.

use std::time::Duration;

use crate::backend::{Change, Contents, Intent, Observed, Outcome, Version};
use crate::record::{Holder, Incarnation, Nonce, Record, Token};
use crate::time::Time;

/// A value that may be replaced by another without changing what the election does from then on.
#[derive(Debug)]
pub enum Atom<'a> {
    /// A moment from which an age counts. Nothing asks how much older than `horizon` it is.
    Origin {
        /// The moment.
        time: &'a mut Time,
        /// The age from which all ages are alike.
        horizon: Duration,
    },
    /// A moment at which something is due. Once it has passed it does not matter when;
    /// [`Time::NEVER`] stays.
    Deadline(&'a mut Time),
    /// A moment that only [`Election::view`](crate::Election::view) asks for.
    Shown(&'a mut Time),
    /// A token of a term: compared by size with other tokens, and with zero.
    Token(&'a mut Token),
    /// A token that others are compared with, and whose successor is minted; no term is led by it.
    Mark(&'a mut Token),
    /// The token that a Take asks for: nobody mints its successor before it is stored.
    Minted(&'a mut Token),
    /// A token that the store replaces before anybody sees it.
    Spare(&'a mut Token),
    /// Compared for equality.
    Nonce(&'a mut Nonce),
    /// Compared for equality; an absent one stays absent.
    Version(&'a mut Version),
    /// Compared for equality; [`Holder::unknown`]'s stays.
    Incarnation(&'a mut Incarnation),
}

/// Shows every atom, always in the same order. Implementations name every field of what they take
/// apart, so that a field which is added later does not compile before it is shown.
pub trait Visit {
    /// Hands every atom to `see`.
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>));
}

impl<T: Visit> Visit for Option<T> {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        if let Some(value) = self {
            value.visit(see);
        }
    }
}

impl Visit for Version {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        see(Atom::Version(self));
    }
}

impl Visit for Nonce {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        see(Atom::Nonce(self));
    }
}

impl Visit for Holder {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        let Self { identity: _, incarnation, advertise: _ } = self;
        if let Some(incarnation) = incarnation {
            see(Atom::Incarnation(incarnation));
        }
    }
}

impl Visit for Record {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        let Self { holder, token, lease_duration: _, nonce, acquired: _, renewed: _, extra: _ } =
            self;
        holder.visit(see);
        see(Atom::Token(token));
        nonce.visit(see);
    }
}

impl Visit for Observed {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        let Self { version, contents, expiry: _, token_floor } = self;
        version.visit(see);
        match contents {
            Contents::Record(record) => record.visit(see),
            Contents::Absent | Contents::Unreadable(_) => {}
        }
        if let Some(floor) = token_floor {
            see(Atom::Mark(floor));
        }
    }
}

impl Change {
    /// Shows the atoms of a change on its way to a store that ends leases itself (`by_server`, and
    /// mints the token of a Take) or does not.
    pub fn visit(&mut self, by_server: bool, see: &mut dyn FnMut(Atom<'_>)) {
        let Self { intent, record } = self;
        let spare = by_server && matches!(intent, Intent::Take | Intent::Revoke);
        record.visit(&mut |atom| match atom {
            Atom::Token(token) if spare => see(Atom::Spare(token)),
            Atom::Token(token) if *intent == Intent::Take => see(Atom::Minted(token)),
            atom => see(atom),
        });
    }
}

impl Visit for Outcome {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        match self {
            Self::Written(observed) => observed.visit(see),
            Self::Conflict => {}
        }
    }
}
