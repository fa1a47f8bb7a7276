//! Overlaps that are expected, each by its cause and no wider than it.
//!
//! A term may be believed in for D after the record last named it: a renewal was sent before it was
//! stored. So a term whose record somebody took away without its doing (it is *displaced*) overlaps
//! whatever is written over that, and for D at most; its work for D + G. This is expected of a pair
//! of terms, the displaced one and the one that was written next, and only if what took the record
//! away is a [`Cause`], and if who wrote had not seen enough to be bound to wait. Two causes add
//! up: of two terms that overlap already, each may displace the other once more (a forgetful store
//! brings one back, a leader asserts its record again).

use std::time::Duration;

use leasehold_core::Token;

use crate::case::{Case, Nanos};
use crate::cause::Cause;
use crate::node::Node;
use crate::scene::Scene;
use crate::store::Writer;
use crate::store_kind::{Floor, StoreKind};
use crate::term::{Bound, FOREIGN};

/// A term whose record is gone, not by its own doing.
#[derive(Clone, Copy, Debug)]
struct Displaced {
    term: Token,
    at: Nanos,
    /// What did it, if it explains an overlap.
    cause: Option<Cause>,
    /// Of a deletion: who is bound to wait this term out.
    bound: Bound,
}

/// Two terms whose overlap is expected for a while.
#[derive(Clone, Copy, Debug)]
struct Pair {
    displaced: Token,
    by: Token,
    at: Nanos,
    cause: Cause,
    counted: bool,
}

/// Two copies of a process.
#[derive(Clone, Copy, Debug)]
struct Copies {
    nodes: [usize; 2],
    at: Nanos,
    /// The operations that both know of.
    shared: u64,
    counted: bool,
}

/// What explains overlaps in a schedule.
#[derive(Debug)]
pub(crate) struct Excuses {
    /// How long the foreign client believes after a write.
    foreign: Nanos,
    /// The longest time that work lasts once its term is displaced.
    longest_term: Nanos,
    displaced: Vec<Displaced>,
    pairs: Vec<Pair>,
    copies: Vec<Copies>,
    /// The state that an administrator left last.
    touched: u64,
    /// What was expected, each once.
    counted: Vec<Cause>,
}

/// What is compared: belief or work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Belief,
    Work,
}

/// One side of an overlap: a node, or the foreign client, and its term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub node: Option<usize>,
    pub term: Token,
}

impl Side {
    /// The foreign client's.
    pub(crate) const FOREIGN: Self = Self { node: None, term: FOREIGN };

    /// A node's.
    #[must_use]
    pub(crate) fn of(node: usize, term: Token) -> Self {
        Self { node: Some(node), term }
    }
}

impl Excuses {
    /// None so far. The foreign client believes for so long after a write.
    #[must_use]
    pub(crate) fn new(case: &Case, nodes: &[Node], foreign: Nanos) -> Self {
        let works = nodes.iter().map(|node| node.longest_term(case).1);
        Self {
            foreign,
            longest_term: works.fold(foreign, Nanos::max),
            displaced: Vec::new(),
            pairs: Vec::new(),
            copies: Vec::new(),
            touched: 0,
            counted: Vec::new(),
        }
    }

    /// What was expected so far.
    #[must_use]
    pub(crate) fn counted(&self) -> &[Cause] {
        &self.counted
    }

    /// Whether no overlap is expected of anybody.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.copies.is_empty()
    }

    /// The store has a new state. `old` is the term that it named before.
    pub(crate) fn displaces(
        &mut self,
        scene: &Scene<'_>,
        old: Option<Bound>,
        cause: Option<Cause>,
    ) {
        let new = scene.store.named().map(|bound| bound.term);
        let Some(old) = old.filter(|old| Some(old.term) != new) else { return };
        let (now, longest, alike) = (scene.now, self.longest_term, terms_look_alike(scene));
        let bound = Bound { last: self.touched, ..old };
        let displaced = &mut self.displaced;
        displaced.retain(|displaced| now < displaced.at + longest);
        // Named again without having written since: nothing is believed for longer by that.
        match displaced.iter_mut().find(|displaced| displaced.term == old.term && !alike) {
            Some(known) => known.cause = known.cause.or(cause),
            None => displaced.push(Displaced { term: old.term, at: now, cause, bound }),
        }
    }

    /// An administrator has taken the record away: also whatever it still protected.
    pub(crate) fn touches(&mut self, scene: &Scene<'_>, old: Option<Bound>, cause: Cause) {
        self.displaces(scene, old, Some(cause));
        let Self { displaced, touched, .. } = self;
        displaced.iter_mut().for_each(|displaced| {
            displaced.cause.get_or_insert(cause);
        });
        *touched = scene.store.revision() - 1;
        for x in 0..scene.nodes.len() {
            self.copies_are_forgotten(scene, x);
        }
    }

    /// A term is written: taken, or asserted over another state. `told` is what its writer was
    /// bound to wait for.
    pub(crate) fn writes_term(
        &mut self,
        scene: &Scene<'_>,
        by: Token,
        told: Option<Bound>,
        takes: bool,
    ) {
        if self.displaced.is_empty() {
            return;
        }
        let now = scene.now;
        let mut displaced = std::mem::take(&mut self.displaced);
        // Who writes is displaced no more; the foreign client's terms all look alike.
        let alike = terms_look_alike(scene);
        if by == FOREIGN || !takes && !alike {
            displaced.retain(|displaced| displaced.term != by);
        }
        for Displaced { term, at, cause, bound } in &mut displaced {
            let waits =
                *cause == Some(Cause::Deleted) && told.is_some_and(|told| told.covers(bound));
            // Where nothing is known of the past, two terms may have one token.
            let own = cause.filter(|_| !waits && (*term != by || takes));
            let overlapping = || self.excuse_of(scene, *term, by).map(|pair| pair.cause);
            let Some(found) = own.or_else(overlapping) else { continue };
            // Whoever comes next overlaps it, too, and waits for the end of this one's term, not of
            // that one's.
            cause.get_or_insert(found);
            bound.lease = Duration::MAX;
            let cause = match (by, found) {
                (FOREIGN, Cause::Deleted) => Cause::Foreign,
                _ => found,
            };
            let pair = Pair { displaced: *term, by, at: *at, cause, counted: false };
            let known = self.pairs.iter().any(|known| {
                (known.displaced, known.by, known.at) == (pair.displaced, pair.by, pair.at)
            });
            if !known {
                self.pairs.push(pair);
            }
        }
        displaced.retain(|displaced| {
            (alike || displaced.term != by) && now < displaced.at + self.longest_term
        });
        self.displaced = displaced;
    }

    /// An assertion came true over a deletion after its sender had given up, or an administrator
    /// put an old copy back after one: that sign of life is an old one, and who knows it waits for
    /// nobody.
    pub(crate) fn brings_an_old_life(&mut self) {
        for displaced in &mut self.displaced {
            displaced.bound.lease = Duration::MAX;
        }
    }

    /// An administrator put an old copy of the record back. Of a term that lasts, who knew that
    /// copy waits for nobody, until its leader has written again. `old` is the term that the store
    /// named before.
    ///
    /// The copy also hides an earlier deletion: who knew it does not wait for the deleted term.
    pub(crate) fn shows_an_old_life(&mut self, scene: &Scene<'_>, old: Option<Bound>) {
        self.brings_an_old_life();
        let Some(named) =
            scene.store.named().filter(|named| old.is_some_and(|o| o.term == named.term))
        else {
            return;
        };
        let (at, cause, alike) = (scene.now, Some(Cause::Restored), terms_look_alike(scene));
        let displaced = &mut self.displaced;
        // Where nothing is known of the past, what is displaced already may be another term of this
        // token, of a store that was replaced, and the copy that one's.
        if alike || displaced.iter().all(|displaced| displaced.term != named.term) {
            let bound = Bound { lease: Duration::MAX, ..named };
            displaced.push(Displaced { term: named.term, at, cause, bound });
        }
    }

    /// Why these two terms overlap by now.
    fn excuse_of(&self, scene: &Scene<'_>, a: Token, b: Token) -> Option<&Pair> {
        let lives = |pair: &&Pair| scene.now < pair.at + self.longest_term;
        self.pairs
            .iter()
            .rev()
            .filter(lives)
            .find(|pair| (pair.displaced, pair.by) == (a, b) || (pair.displaced, pair.by) == (b, a))
    }

    /// A node was copied.
    pub(crate) fn copies(&mut self, scene: &Scene<'_>, x: usize, copy: usize) {
        let of_x = |copies: &&Copies| copies.nodes.contains(&x);
        let inherit = |copies: &Copies| {
            let [a, b] = copies.nodes;
            Copies { nodes: [if a == x { b } else { a }, copy], ..*copies }
        };
        let inherited: Vec<_> = self.copies.iter().filter(of_x).map(inherit).collect();
        self.copies.extend(inherited);
        let shared = scene.nodes[x].operations;
        let copies = Copies { nodes: [x, copy], at: scene.now, shared, counted: false };
        self.copies.push(copies);
    }

    /// Whether a copy of this node wrote this, and the node knows nothing of it.
    pub(crate) fn is_strange(&self, x: usize, writer: Writer) -> bool {
        self.copies.iter().any(|copies| {
            let [a, b] = copies.nodes;
            let both = (a, b) == (x, writer.node) || (b, a) == (x, writer.node);
            both && writer.renews && writer.operation >= copies.shared
        })
    }

    /// What a copy of this node wrote is gone: by an administrator, or because a forgetful store
    /// may have gone back. Both may assert themselves: a second cause, if they are expected to
    /// overlap by now.
    pub(crate) fn copies_are_forgotten(&mut self, scene: &Scene<'_>, x: usize) {
        let (now, lasts) = (scene.now, self.lasts(scene, Some(x), Of::Belief));
        for copies in &mut self.copies {
            if copies.nodes.contains(&x) && now < copies.at + lasts {
                copies.at = now;
            }
        }
    }

    /// Whether another copy of this process may be in a term of its own. What one copy sent may
    /// outlive it.
    pub(crate) fn has_copies(&self, scene: &Scene<'_>, x: usize, lineage: u64) -> bool {
        let lives = |y: &usize| scene.nodes[*y].alive && self.is_of(scene, *y, lineage);
        self.copies.iter().any(|copies| {
            let [a, b] = copies.nodes;
            a == x && lives(&b) || b == x && lives(&a)
        })
    }

    /// Whether a node is this process or a copy of it. One that noticed is another process from
    /// then on, but its last term is believed in, and its work runs, for a while.
    fn is_of(&self, scene: &Scene<'_>, x: usize, lineage: u64) -> bool {
        let node = &scene.nodes[x];
        let was = |(before, at): (u64, Nanos)| {
            before == lineage && scene.now < at + self.lasts(scene, Some(x), Of::Work)
        };
        node.lineage == lineage || node.parted.is_some_and(was)
    }

    /// Whether any process was ever copied.
    pub(crate) fn has_been_copied(&self) -> bool {
        !self.copies.is_empty()
    }

    fn are_copies(&self, scene: &Scene<'_>, x: usize, y: usize) -> bool {
        let now = scene.nodes[x].lineage;
        let before = scene.nodes[x].parted.map(|(before, _)| before);
        self.is_of(scene, y, now)
            || before.is_some_and(|it| self.is_of(scene, x, it) && self.is_of(scene, y, it))
    }

    /// Whether the overlap of two is expected now. Counts it once.
    pub(crate) fn excuses(&mut self, scene: &Scene<'_>, sides: [Side; 2], of: Of) -> bool {
        let [a, b] = sides;
        if a.term == b.term && a.node != b.node && self.excuses_copies(scene, a, b, of) {
            return true;
        }
        let now = scene.now;
        for index in 0..self.pairs.len() {
            let pair = self.pairs[index];
            let lasts = match (pair.displaced, pair.by) {
                // Two terms of one token: nobody can tell which was displaced.
                both if both == (b.term, a.term) && a.term == b.term => {
                    self.lasts(scene, a.node, of).max(self.lasts(scene, b.node, of))
                }
                both if both == (a.term, b.term) => self.lasts(scene, a.node, of),
                both if both == (b.term, a.term) => self.lasts(scene, b.node, of),
                _ => continue,
            };
            if now < pair.at + lasts {
                if !pair.counted {
                    self.counted.push(pair.cause);
                    self.pairs[index].counted = true;
                }
                return true;
            }
        }
        false
    }

    fn excuses_copies(&mut self, scene: &Scene<'_>, a: Side, b: Side, of: Of) -> bool {
        let (Some(x), Some(y)) = (a.node, b.node) else { return false };
        if !self.are_copies(scene, x, y) {
            return false;
        }
        let lasts = match scene.case.store {
            // A renewal that stores nothing is never refused.
            StoreKind::Server => Nanos::MAX / 2,
            _ => self.lasts(scene, a.node, of),
        };
        let now = scene.now;
        let copies = self.copies.iter_mut().find(|copies| {
            copies.nodes.contains(&x) && copies.nodes.contains(&y) && now < copies.at + lasts
        });
        let Some(copies) = copies else { return false };
        if !std::mem::replace(&mut copies.counted, true) {
            self.counted.push(Cause::Clone);
        }
        true
    }

    /// How long a displaced term is believed in, or worked in, in real time.
    fn lasts(&self, scene: &Scene<'_>, node: Option<usize>, of: Of) -> Nanos {
        let Some(x) = node else { return self.foreign };
        let (believes, works) = scene.nodes[x].longest_term(scene.case);
        if of == Of::Belief { believes } else { works }
    }
}

/// Where nothing is known of the past, another term may have the token of a displaced one.
fn terms_look_alike(scene: &Scene<'_>) -> bool {
    scene.case.floor == Floor::None
}
