//! Takes away what can never matter again.

use leasehold_core::model::{Atom, Visit};
use leasehold_core::{Input, Intent, Outcome, Version};

use super::register::Write;
use super::world::{Node, Reply, Wire, World};

impl World {
    /// Forgets what can never matter again.
    pub(crate) fn prune(&mut self) {
        let Self { nodes, register, deletes, .. } = self;
        register.prune();
        let stored = register.record.as_ref().map(|record| record.nonce);
        register.leases.retain(|lease| {
            // To revoke what no Take will use changes nothing.
            let names = |write: &Write| {
                write.change.intent == Intent::Take && write.change.record.nonce == lease.nonce
            };
            let asks = |node: &Node| matches!(&node.wire, Wire::Asked(write) if names(write));
            let haunts = |node: &Node| node.zombie.as_ref().is_some_and(names);
            Some(lease.nonce) == stored || nodes.iter().any(|node| asks(node) || haunts(node))
        });
        let again = *deletes > 0;
        for node in nodes.iter_mut() {
            node.zombie = node.zombie.take().filter(|zombie| {
                let sent_again = node.election.awaits(zombie.change.record.nonce);
                register.may_apply(zombie, again, sent_again)
            });
            if let Wire::Asked(write) = &node.wire
                && !register.may_apply(write, again, true)
                && write.change.intent != Intent::Revoke
            {
                node.wire = Wire::Answered(Reply::Wrote(Outcome::Conflict));
            }
            if node.working && node.election.leadership(node.now).is_none() {
                let mut drained = node.election.clone();
                drained.handle(node.now, Input::Drained);
                node.working = drained != node.election;
            }
        }
        self.forget();
        for x in 0..2 {
            self.forget_term(x);
        }
    }

    /// Forgets which term of a candidate is over, once nothing names it or an earlier one. Tokens
    /// that are minted later are greater, unless a process starts again after a deletion, which no
    /// run contains.
    fn forget_term(&mut self, x: usize) {
        let Some(over) = self.nodes[x].over else { return };
        let mut named = false;
        let mut note = |atom: Atom<'_>| {
            if let Atom::Token(token) | Atom::Minted(token) = atom {
                named |= (1..=over).contains(token);
            }
        };
        self.register.visit(&mut note);
        let mode = self.register.mode;
        self.nodes.iter_mut().for_each(|node| node.visit(mode, &mut note));
        if !named {
            self.nodes[x].over = None;
        }
    }

    /// Lets the candidates forget names that are not stored or on the way any more.
    fn forget(&mut self) {
        let (mut nonces, mut versions) = (Vec::with_capacity(8), Vec::with_capacity(8));
        let mut note = |atom: Atom<'_>| match atom {
            Atom::Nonce(nonce) => nonces.push(*nonce),
            Atom::Version(version) => versions.push(version.clone()),
            _ => {}
        };
        self.register.visit(&mut note);
        let mode = self.register.mode;
        for node in &mut self.nodes {
            node.wire.visit(mode, &mut note);
            if let Some(zombie) = &mut node.zombie {
                zombie.visit(mode, &mut note);
            }
        }
        for node in &mut self.nodes {
            // Absent is the same version again and again.
            let is_stored = |version: &Version| version.is_absent() || versions.contains(version);
            node.election.forget(&|nonce| nonces.contains(&nonce), &is_stored);
        }
    }
}
