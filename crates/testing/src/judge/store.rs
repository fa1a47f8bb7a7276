//! What the store was asked to apply, and what others were told of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use leasehold_core::{Intent, Token};

use crate::history::{Event, Stamp, What};

use super::{Findings, Property};

pub(super) fn judge(events: &[Event], found: &mut Findings) {
    tokens(events, found);
    identity(events, found);
    effects(events, found);
    observers(events, found);
}

fn tokens(events: &[Event], found: &mut Findings) {
    let mut highest: Option<Token> = None;
    let mut owners: HashMap<Token, &Arc<str>> = HashMap::new();
    for event in events {
        match &event.what {
            What::Applied { intent: Intent::Take, token, .. } => {
                if highest.is_some_and(|highest| *token <= highest) {
                    let text = format!("{} took with {token} after {highest:?}", event.node);
                    found.add(Property::TokensGrow, text);
                }
                highest = highest.max(Some(*token));
            }
            What::Up { token, .. } => {
                let other = owners.insert(*token, &event.node).filter(|node| **node != event.node);
                if let Some(other) = other {
                    let text = format!("{token} names a term of {other} and one of {}", event.node);
                    found.add(Property::TokensGrow, text);
                }
            }
            _ => {}
        }
    }
}

/// A renewal or a release replaces this very term's record. A leader may assert a record again that
/// vanished, was erased or went back: then what it replaces carries no greater token.
fn identity(events: &[Event], found: &mut Findings) {
    let takers: HashMap<_, _> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Applied { intent: Intent::Take, holder, token, .. } => {
                Some((*token, (event.node.clone(), *holder)))
            }
            _ => None,
        })
        .collect();
    for event in events {
        let What::Applied { intent, token, replaced: Some(replaced), .. } = &event.what else {
            continue;
        };
        let Stamp { holder, token: before } = *replaced;
        let owner = takers.get(&before).filter(|_| holder.is_some());
        let foreign = owner.is_some_and(|(node, _)| *node != event.node);
        let greater = owner.is_none() && before > *token;
        let verb = match intent {
            Intent::Renew if foreign || greater => "renewed",
            Intent::Release if foreign || greater && *token > 0 => "released",
            _ => continue,
        };
        let text = format!("{} {verb} over another's term {before}", event.node);
        found.add(Property::Identity, text);
    }
}

fn effects(events: &[Event], found: &mut Findings) {
    let mut highest = 0;
    for event in events {
        let What::Effect { token, fenced: true, accepted: true } = event.what else { continue };
        if token < highest {
            let text = format!("{} let {token} in after {highest}", event.node);
            found.add(Property::FencedEffects, text);
        }
        highest = highest.max(token);
    }
}

fn observers(events: &[Event], found: &mut Findings) {
    let mut took: HashSet<(&str, Token)> = HashSet::new();
    for event in events {
        match &event.what {
            What::Applied { intent: Intent::Take, token, .. } | What::Up { token, .. } => {
                let name = event.node.rsplit('/').next().unwrap_or_default();
                took.insert((name, *token));
            }
            _ => {}
        }
    }
    let mut told: HashMap<&Arc<str>, Token> = HashMap::new();
    for event in events {
        let What::Told { leader: Some((leader, Some(token))) } = &event.what else { continue };
        let before = told.insert(&event.node, *token).unwrap_or_default();
        if *token < before {
            let text = format!("{} was told of token {token} after {before}", event.node);
            found.add(Property::Observers, text);
        }
        if !took.contains(&(leader.as_str(), *token)) {
            let text =
                format!("{} was told that {leader} leads under {token}: it never took", event.node);
            found.add(Property::Observers, text);
        }
    }
}
