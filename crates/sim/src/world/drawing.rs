//! What is drawn of a schedule while it runs.

use super::World;
use crate::case::Nanos;
use crate::coverage::Step;
use crate::lanes::{Bar, Lane, Style};
use crate::story::name;

/// The lanes before those of the candidates, after that of the faults.
const OVERLAP: usize = 1;
const STORE: usize = 2;
const FOREIGN: usize = 3;
const FIRST: usize = 4;

/// The rows of a candidate's lane.
const PROCESS: usize = 0;
const BELIEF: usize = 1;
const WORK: usize = 2;
const REQUESTS: usize = 3;

impl World<'_> {
    /// Draws what is so now, if a picture was asked for.
    pub(crate) fn draw(&mut self) {
        if self.lanes.is_some() {
            self.draw_now();
        }
    }

    fn draw_now(&mut self) {
        let Some(mut lanes) = self.lanes.take() else { return };
        let now = self.now;
        lanes.lanes.resize_with(FIRST + self.nodes.len(), || Lane::new("", REQUESTS + 1));
        let (mut believers, mut workers) = (0, 0);
        for (x, node) in self.nodes.iter().enumerate() {
            let lane = &mut lanes.lanes[FIRST + x];
            let observes = node.config >= self.case.candidates.len();
            lane.name = if observes { format!("{} (observer)", name(x)) } else { name(x) };
            let process = match node.alive {
                false => Some((Style::Down, "not running".to_owned())),
                true if node.paused > 0 => Some((Style::Paused, "stands still".to_owned())),
                true => None,
            };
            lane.show(PROCESS, now, process);
            let belief = node.belief.filter(|belief| belief.until > now);
            believers += usize::from(belief.is_some());
            lane.show(BELIEF, now, belief.map(|b| (Style::Belief, format!("token {}", b.token))));
            let work = node.work.filter(|work| work.end() > now);
            workers += usize::from(work.is_some());
            lane.show(WORK, now, work.map(|w| (Style::Work, format!("work {}", w.token))));
            // What ends by a clock ends then, not when somebody looks next.
            if let Some(belief) = node.belief {
                end_by(&mut lane.rows[BELIEF], belief.until);
            }
        }
        let holds = self.foreign.until > now;
        believers += usize::from(holds);
        lanes.lanes[FOREIGN].show(0, now, holds.then(|| (Style::Belief, "believes".to_owned())));
        let overlap = match (believers, workers) {
            (2.., _) => Some("two believe"),
            (_, 2..) => Some("two works run"),
            _ => None,
        };
        lanes.lanes[OVERLAP].show(0, now, overlap.map(|what| (Style::Overlap, what.to_owned())));
        lanes.lanes[STORE].show(0, now, Some(self.stored()));
        if self.judge.violation().is_some() {
            lanes.end = lanes.end.min(now + now / 20);
        }
        self.lanes = Some(lanes);
    }

    fn stored(&self) -> (Style, String) {
        let state = self.store.state();
        let suspended = if state.suspended { " (suspended)" } else { "" };
        match &state.record {
            None => (Style::Free, format!("nothing{suspended}")),
            Some(record) => match &record.holder {
                None => (Style::Free, format!("free, token {}{suspended}", record.token)),
                Some(holder) => {
                    let who = &holder.identity;
                    (Style::Held, format!("{who}, token {}{suspended}", record.token))
                }
            },
        }
    }

    /// A request begins.
    pub(crate) fn draw_request(&mut self, x: usize, step: Step) {
        let now = self.now;
        if let Some(lane) = self.lanes.as_mut().and_then(|lanes| lanes.lanes.get_mut(FIRST + x)) {
            let bar = Bar {
                from: now,
                to: Nanos::MAX,
                style: Style::Unknown,
                label: format!("{step:?}"),
            };
            lane.rows[REQUESTS].push(bar);
        }
    }

    /// It ends.
    pub(crate) fn draw_answer(&mut self, x: usize, style: Style) {
        let now = self.now;
        if let Some(lane) = self.lanes.as_mut().and_then(|lanes| lanes.lanes.get_mut(FIRST + x))
            && let Some(bar) = lane.rows[REQUESTS].last_mut()
        {
            bar.to = now;
            bar.style = style;
        }
    }
}

fn end_by(row: &mut [Bar], until: Nanos) {
    if let Some(bar) = row.last_mut()
        && bar.to != Nanos::MAX
    {
        bar.to = bar.to.min(until).max(bar.from);
    }
}
