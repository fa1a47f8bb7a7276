//! Every request ends in time.

use std::collections::HashMap;
use std::sync::Arc;

use leasehold_core::Time;

use crate::history::{Event, What, kind};

use super::{Findings, Property, Rules};

pub(super) fn judge(events: &[Event], rules: &Rules, found: &mut Findings) {
    let last = events.last().map_or(Time(0), |event| event.at);
    // What a stopped process waits for says nothing.
    let stopped: Vec<&Arc<str>> = events
        .iter()
        .filter(|event| matches!(event.what, What::Stopped(true) | What::Died))
        .map(|event| &event.node)
        .collect();
    let mut open = HashMap::new();
    let mut late = |node: &Arc<str>, intent, sent: Time, ended: Time| {
        let took = ended.since(sent);
        if took > rules.request_limit && !stopped.contains(&node) {
            let text = format!("a {} of {node} took {took:?}", kind(intent));
            found.add(Property::Termination, text);
        }
    };
    for event in events {
        match event.what {
            What::Sent { op, intent } => {
                open.insert(op, (&event.node, intent, event.at));
            }
            What::Answered { op, .. } | What::GivenUp { op } => {
                if let Some((node, intent, sent)) = open.remove(&op) {
                    late(node, intent, sent, event.at);
                }
            }
            _ => {}
        }
    }
    for (node, intent, sent) in open.into_values() {
        late(node, intent, sent, last);
    }
}
