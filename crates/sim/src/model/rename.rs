//! Makes states equal that differ in names only.
//!
//! Tokens, nonces, versions and times grow for ever; nothing depends on how large they are. Every
//! state is written in one form:
//!
//! - **Times**: both clocks show the same moment. An origin older than its horizon is exactly as
//!   old as that; a deadline that has passed is zero. ("Age counts" and "passed is passed" are told
//!   apart by the election itself, which shows its times as the one or the other.) Since a
//!   candidate is asked for its next request at every step, no two deadlines that have passed are
//!   ever compared with each other.
//! - **Tokens** keep their order and zero, and so does whether the next greater token is the
//!   successor: a successor is minted from the greatest token that a candidate knows, which may not
//!   be the greatest there is. (What nobody mints from, since it was only asked for, is followed at
//!   once by the next.)
//! - **Nonces, versions, incarnations** are numbered by their first occurrence.

use std::time::Duration;

use leasehold_core::model::{Atom, Visit};
use leasehold_core::{Incarnation, Nonce, Time, Token, Version};

use super::setup::incarnation;
use super::world::{BASE, Fresh, World};

impl World {
    /// The one form of all states that differ in names only.
    pub fn rename(&mut self) {
        self.prune();
        let mode = self.register.mode;
        let mut names = Names::new(self.tokens());
        for node in &mut self.nodes {
            let now = node.now;
            node.visit(mode, &mut |atom| names.rename(atom, now));
            node.now = BASE;
        }
        self.register.visit(&mut |atom| names.rename(atom, BASE));
        self.register.leases.sort_by_key(|lease| lease.nonce);
        self.fresh = names.fresh();
    }

    /// Every token in order, and whether somebody may mint its successor.
    fn tokens(&mut self) -> Vec<(Token, bool)> {
        let mode = self.register.mode;
        let mut tokens = Vec::with_capacity(32);
        let mut note = |atom: Atom<'_>| match atom {
            Atom::Minted(token) => tokens.push((*token, false)),
            Atom::Token(token) | Atom::Mark(token) => tokens.push((*token, true)),
            _ => {}
        };
        for node in &mut self.nodes {
            node.visit(mode, &mut note);
        }
        self.register.visit(&mut note);
        tokens.sort_unstable();
        // Of equal tokens the marked one comes last, and stays.
        tokens.reverse();
        tokens.dedup_by_key(|(token, _)| *token);
        tokens.reverse();
        tokens
    }
}

/// The new names of what has been shown so far.
struct Names {
    tokens: Vec<(Token, Token)>,
    nonces: Vec<Nonce>,
    versions: Vec<Version>,
    incarnations: Vec<Incarnation>,
}

impl Names {
    fn new(tokens: Vec<(Token, bool)>) -> Self {
        let (mut last, mut mints, mut name) = (0, true, 0);
        let tokens = tokens.into_iter().map(|(token, marked)| {
            name += (token - last).min(if mints { 2 } else { 1 });
            // A process that starts mints from zero.
            (last, mints) = (token, marked || token == 0);
            (token, name)
        });
        Self {
            tokens: tokens.collect(),
            nonces: Vec::with_capacity(16),
            versions: Vec::with_capacity(16),
            incarnations: Vec::with_capacity(4),
        }
    }

    fn rename(&mut self, atom: Atom<'_>, now: Time) {
        match atom {
            Atom::Origin { time, horizon } => *time = origin(*time, now, horizon),
            Atom::Deadline(time) if *time == Time::NEVER => {}
            Atom::Deadline(time) if *time <= now => *time = Time(0),
            Atom::Deadline(time) => *time = BASE + time.since(now),
            Atom::Shown(time) => *time = BASE,
            Atom::Token(token) | Atom::Mark(token) | Atom::Minted(token) => {
                let names = self.tokens.iter().find(|(old, _)| old == token);
                *token = names.map_or(0, |(_, name)| *name);
            }
            Atom::Spare(token) => *token = 0,
            Atom::Nonce(nonce) => *nonce = Nonce(u128::from(number(&mut self.nonces, nonce))),
            Atom::Version(version) if version.is_absent() => {}
            Atom::Version(version) => {
                let name = Version::number(number(&mut self.versions, version));
                *version = match version.reign() {
                    Some(reign) => name.in_reign(reign),
                    None => name,
                };
            }
            Atom::Incarnation(Incarnation(0)) => {}
            Atom::Incarnation(life) => *life = incarnation(number(&mut self.incarnations, life)),
        }
    }

    fn fresh(&self) -> Fresh {
        Fresh {
            nonce: next(&self.nonces),
            version: next(&self.versions),
            incarnation: next(&self.incarnations),
        }
    }
}

/// The number of `value`, which is its place among those shown so far, counted from 1.
fn number<T: PartialEq + Clone>(shown: &mut Vec<T>, value: &T) -> u64 {
    if let Some(place) = shown.iter().position(|known| known == value) {
        return place as u64 + 1;
    }
    shown.push(value.clone());
    shown.len() as u64
}

fn next<T>(shown: &[T]) -> u64 {
    shown.len() as u64 + 1
}

/// As old as before, but not older than `horizon`. A moment to come stays one.
fn origin(time: Time, now: Time, horizon: Duration) -> Time {
    if time > now { BASE + time.since(now) } else { BASE - now.since(time).min(horizon) }
}
