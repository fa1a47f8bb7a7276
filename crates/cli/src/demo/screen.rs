//! One frame: the lease as a fuse, a lane for each candidate and each resource, and what was told.

use std::collections::VecDeque;
use std::time::Duration;

use leasehold::status::printable;
use leasehold::status::{Leader, LeaderInfo, Role};
use leasehold::timing::Time;
use leasehold_testing::history::{Event, What};
use leasehold_testing::judge::{Span as Belief, spans};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::past::{Past, Standing, Tally, WINDOW};
use super::stage::{FENCED, Health, NAMES, Stage, UNFENCED};
use super::tell::{Line, Tone};
use crate::output::{Paint, flag};

/// Columns before a lane, and behind it.
const NAME: usize = 12;
const STATE: usize = 24;

/// What a frame shows.
pub(super) struct View<'a> {
    pub(super) lock: &'a str,
    pub(super) stage: &'a Stage<'a>,
    pub(super) past: &'a Past,
    /// Those of it.
    pub(super) events: &'a [Event],
    pub(super) lines: &'a VecDeque<Line>,
    pub(super) chosen: usize,
    pub(super) paint: Paint,
}

/// What it takes to show all of it, and the latest that was told.
const LEAST: (u16, u16) = (80, 18);

pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (columns, rows) = LEAST;
        let text = format!(
            "The demonstration needs {columns}x{rows}.\nThis terminal has {}x{}.\nIt goes on \
             meanwhile; q quits.",
            area.width, area.height
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let heights = [2, 3, 1, 3, 2, 2, 0, 2].map(Constraint::Length);
    let mut heights = heights.to_vec();
    heights[6] = Constraint::Min(0);
    let [title, fuse, axis, lanes, resources, legend, told, keys] =
        Layout::vertical(heights).areas(frame.area());
    let width = usize::from(frame.area().width);
    let scale = Scale::new(view, width.saturating_sub(NAME + STATE).max(8));
    frame.render_widget(head(view), title);
    frame.render_widget(ratatui::text::Text::from(lease(view, width)), fuse);
    frame.render_widget(scale.axis(), axis);
    let rows: Vec<Row<'_>> = (0..NAMES.len()).map(|at| lane(view, &scale, at)).collect();
    frame.render_widget(ratatui::text::Text::from(rows), lanes);
    let rows: Vec<Row<'_>> = [UNFENCED, FENCED].map(|name| resource(view, &scale, name)).into();
    frame.render_widget(ratatui::text::Text::from(rows), resources);
    let text = " █ believes it leads   ▓ the same, but stands still   ▒ stands still   ~ cut off";
    frame.render_widget(Row::from(vec![dim(view, text)]), legend);
    frame.render_widget(ratatui::text::Text::from(told_rows(view, told)), told);
    frame.render_widget(ratatui::text::Text::from(help(view)), keys);
}

fn style(view: &View<'_>, tone: Tone) -> Style {
    let coloured = |colour| if view.paint.0 { Style::new().fg(colour) } else { Style::new() };
    // Three colours that are readable on light and on dark ground.
    match tone {
        Tone::Good => coloured(Color::Green),
        Tone::Bad => coloured(Color::Red),
        Tone::Doubtful => coloured(Color::Magenta),
        Tone::Plain => Style::new(),
    }
}

fn dim<'a>(view: &View<'_>, text: impl Into<String>) -> Span<'a> {
    let style = if view.paint.0 { Style::new().add_modifier(Modifier::DIM) } else { Style::new() };
    Span::styled(text.into(), style)
}

fn head<'a>(view: &View<'a>) -> Row<'a> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    Row::from(vec![
        Span::styled(" leasehold demo", bold),
        Span::raw(format!("  {}", printable(view.lock))),
    ])
}

/// The lease of whoever leads, or led last, burning down.
fn lease<'a>(view: &View<'_>, width: usize) -> Vec<Row<'a>> {
    let timing = view.stage.timing;
    let last = view.events.iter().rev().find_map(|event| match event.what {
        What::Up { token, until } | What::Extended { token, until } => {
            Some((event.node.clone(), token, until))
        }
        _ => None,
    });
    let over = |token| {
        view.events
            .iter()
            .rev()
            .any(|event| matches!(event.what, What::Resigned { token: it } if it == token))
    };
    let now = view.stage.clock.now();
    if let Some(leading) = stranger(view) {
        return strangers(&leading, width).into_iter().map(Row::raw).collect();
    }
    let Some((node, _, until)) = last.filter(|(_, token, _)| !over(*token)) else {
        return vec![Row::raw(" lease  nobody has one")];
    };
    let (lease, deadline) = (timing.lease_duration(), timing.renew_deadline());
    let begin = Time(until.0.saturating_sub(u64::try_from(deadline.as_nanos()).unwrap_or(0)));
    let gone = now.since(begin);
    let left = lease.saturating_sub(gone);
    let columns = width.saturating_sub(10).min(60);
    let share = left.as_secs_f64() / lease.as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "columns of a terminal"
    )]
    let lit = ((columns as f64) * share).round() as usize;
    let rest = |until: Duration| format!("{:.1}s", until.saturating_sub(gone).as_secs_f64());
    let (stops, killed) = (rest(deadline), rest(deadline + timing.stop_grace()));
    let number = NAMES.iter().position(|name| **name == *node);
    let dead = number.is_some_and(|at| view.stage.health(at) == Health::Dead);
    let (tone, phase) = match gone {
        gone if gone >= lease => (Tone::Bad, "leads no more".to_owned()),
        _ if dead => (Tone::Bad, "is dead".to_owned()),
        gone if gone < deadline => {
            (Tone::Good, format!("believes: stop in {stops}, kill in {killed}"))
        }
        gone if gone < deadline + timing.stop_grace() => {
            (Tone::Doubtful, format!("was told to stop: kill in {killed}"))
        }
        _ => (Tone::Bad, "is killed".to_owned()),
    };
    let bar = vec![
        Span::raw(" lease  "),
        Span::styled("█".repeat(lit), style(view, tone)),
        dim(view, "░".repeat(columns - lit)),
    ];
    let passes = match gone < lease {
        true => format!("the lease may pass in {}", rest(lease)),
        false => "the lease has run out".to_owned(),
    };
    let words = format!("        {node} {phase}; {passes}");
    vec![Row::from(bar), Row::raw(words)]
}

/// Who leads that is none of ours, as those of ours know that reach the store.
fn stranger(view: &View<'_>) -> Option<LeaderInfo> {
    let well = (0..NAMES.len()).filter(|at| view.stage.health(*at) == Health::Well);
    let known: Vec<_> = well.filter_map(|at| view.stage.status(at)).collect();
    if known.iter().any(|status| matches!(status.role, Role::Leader(_) | Role::Draining(_))) {
        return None;
    }
    let leading = known.into_iter().find_map(|status| match status.leader {
        Leader::Held(leading) if !leading.is_me => Some(leading),
        _ => None,
    })?;
    // One that was killed leads in the eyes of the others until its lease is over.
    let is_ours = |event: &Event| match event.what {
        What::Up { token, .. } => leading.token == Some(token) && *event.node == *leading.identity,
        _ => false,
    };
    (!view.events.iter().any(is_ours)).then_some(leading)
}

/// What is known of the lease of a stranger, whose renewals nobody here sees.
fn strangers(leading: &LeaderInfo, width: usize) -> Vec<String> {
    let token = leading.token.map(|token| format!(", token {}", short(token))).unwrap_or_default();
    let length = match leading.since {
        Some(_) => {
            format!("its lease of {} begins anew with each renewal", flag(leading.lease_duration))
        }
        None => "it does not tell how long its lease is".to_owned(),
    };
    let room = width.saturating_sub(8 + token.chars().count());
    vec![
        format!(" lease  {}{token}", fitted(&printable(&leading.identity).to_string(), room)),
        format!("        leads, and is none of these three; {length}"),
    ]
}

/// In so many columns, with an ellipsis if something is missing.
fn fitted(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Which column shows which moment.
struct Scale {
    begin: u64,
    columns: usize,
    /// Nanoseconds of a column.
    step: u64,
    beliefs: Vec<Belief>,
}

impl Scale {
    fn new(view: &View<'_>, columns: usize) -> Self {
        let window = u64::try_from(WINDOW.as_nanos()).unwrap_or(u64::MAX);
        let step = window / columns as u64;
        // Whole columns, so that what was drawn moves and does not flicker.
        let end = (view.stage.clock.now().0 / step + 1) * step;
        let begin = end.saturating_sub(step * columns as u64);
        let mut beliefs = spans(view.events);
        // They reach up to the last event; who leads believes now, too.
        for (at, name) in NAMES.iter().enumerate() {
            let runs = matches!(view.stage.health(at), Health::Well | Health::CutOff);
            let role = view.stage.status(at).filter(|_| runs).map(|status| status.role);
            let Some(Role::Leader(token)) = role else { continue };
            let own = |belief: &&mut Belief| *belief.node == **name && belief.token == token;
            if let Some(belief) = beliefs.iter_mut().find(own) {
                belief.end = belief.end.max(view.stage.clock.now());
            }
        }
        Self { begin, columns, step, beliefs }
    }

    fn moment(&self, column: usize) -> (Time, Time) {
        let from = self.begin + self.step * column as u64;
        (Time(from), Time(from + self.step))
    }

    fn axis<'a>(&self) -> Row<'a> {
        let mut text = " ".repeat(NAME);
        let parts = 4;
        for part in 0..=parts {
            let seconds = WINDOW.as_secs() * (parts - part) / parts;
            let label = if part == parts { "now".to_owned() } else { format!("-{seconds}s") };
            let column = NAME + self.columns * usize::try_from(part).unwrap_or(0) / 4;
            let column = column.saturating_sub(if part == 0 { 0 } else { label.len() });
            text.push_str(&" ".repeat(column.saturating_sub(text.len())));
            text.push_str(&label);
        }
        Row::raw(text)
    }
}

fn lane<'a>(view: &View<'_>, scale: &Scale, at: usize) -> Row<'a> {
    let name = NAMES[at];
    let mut mark = Style::new();
    if at == view.chosen {
        mark = mark.add_modifier(Modifier::BOLD | Modifier::REVERSED);
    }
    let mut row =
        vec![Span::raw(" "), Span::styled(format!("{} {name}", at + 1), mark), Span::raw("   ")];
    let mut cells = cells(view.past, scale, name);
    tokens(scale, name, &mut cells);
    row.extend(runs(view, cells));
    row.push(Span::raw("  "));
    let (text, tone) = state(view, at);
    row.push(Span::styled(text, style(view, tone)));
    Row::from(row)
}

type Cell = (char, Tone);

/// What the candidate did in each column.
fn cells(past: &Past, scale: &Scale, name: &str) -> Vec<Cell> {
    let mut own = past.recent(name).peekable();
    let beliefs: Vec<&Belief> = scale.beliefs.iter().filter(|it| &*it.node == name).collect();
    let mut standing = past.standing(name);
    let mut cells = Vec::new();
    for column in 0..scale.columns {
        let (from, to) = scale.moment(column);
        let mut died = false;
        while let Some(event) = own.next_if(|event| event.at < to) {
            standing.add(&event.what);
            died |= event.what == What::Died && event.at >= from;
        }
        let Standing { frozen, dead, cuts } = standing;
        let leads = beliefs.iter().any(|belief| belief.begin < to && from < belief.end);
        cells.push(match (leads, frozen) {
            _ if died => ('X', Tone::Bad),
            _ if dead => (' ', Tone::Plain),
            (true, true) => ('▓', Tone::Doubtful),
            (true, false) => ('█', Tone::Good),
            (false, true) => ('▒', Tone::Doubtful),
            (false, false) if cuts > 0 => ('~', Tone::Bad),
            (false, false) => ('·', Tone::Plain),
        });
    }
    cells
}

/// Writes the token into each stretch of belief that has room for it.
fn tokens(scale: &Scale, name: &str, cells: &mut [Cell]) {
    let shown = |belief: &&Belief| &*belief.node == name && belief.end.0 > scale.begin;
    for belief in scale.beliefs.iter().filter(shown) {
        let text = short(belief.token);
        let first = (0..scale.columns).find(|column| scale.moment(*column).1 > belief.begin);
        let Some(first) = first else { continue };
        let lit = cells[first..].iter().take_while(|(cell, _)| *cell == '█').count();
        if lit >= text.chars().count() + 2 {
            for (at, letter) in text.chars().enumerate() {
                cells[first + 1 + at] = (letter, Tone::Good);
            }
        }
    }
}

/// The end of a long token: where these are times, only it differs.
fn short(token: u64) -> String {
    let text = token.to_string();
    match text.len() {
        0..=6 => text,
        long => format!("…{}", &text[long - 5..]),
    }
}

/// Neighbours alike are one piece of text.
fn runs<'a>(view: &View<'_>, cells: Vec<Cell>) -> Vec<Span<'a>> {
    let mut spans: Vec<(String, Tone)> = Vec::new();
    for (cell, tone) in cells {
        match spans.last_mut() {
            Some((text, last)) if *last == tone => text.push(cell),
            _ => spans.push((cell.to_string(), tone)),
        }
    }
    spans.into_iter().map(|(text, tone)| Span::styled(text, style(view, tone))).collect()
}

/// What it believes.
fn state(view: &View<'_>, at: usize) -> (String, Tone) {
    let health = match view.stage.health(at) {
        Health::Dead => return ("dead".to_owned(), Tone::Bad),
        Health::Frozen => "frozen: ",
        Health::CutOff => "cut: ",
        Health::Well => "",
    };
    let Some(status) = view.stage.status(at) else { return (String::new(), Tone::Plain) };
    let (text, tone) = match (status.role, status.leader) {
        (Role::Leader(token), _) => (format!("LEADS {}", short(token)), Tone::Good),
        (Role::Draining(token), _) => (format!("drains {}", short(token)), Tone::Doubtful),
        (_, Leader::Held(leading)) if leading.is_me => ("led until now".to_owned(), Tone::Plain),
        (_, Leader::Held(leading)) => {
            (format!("follows {}", printable(&leading.identity)), Tone::Plain)
        }
        (_, Leader::Nobody) => ("nobody leads".to_owned(), Tone::Doubtful),
        (_, Leader::Unknown) => ("leader unknown".to_owned(), Tone::Doubtful),
    };
    (fitted(&format!("{health}{text}"), STATE - 2), tone)
}

/// What a resource was given, and took.
fn resource<'a>(view: &View<'_>, scale: &Scale, name: &str) -> Row<'a> {
    let mut cells: Vec<Cell> = vec![(' ', Tone::Plain); scale.columns];
    let mut tally = view.past.tally(name);
    for event in view.past.recent(name) {
        let What::Effect { token, accepted, .. } = event.what else { continue };
        let is_late = tally.add(token, accepted);
        let Some(passed) = event.at.0.checked_sub(scale.begin) else { continue };
        let column = usize::try_from(passed / scale.step).unwrap_or(usize::MAX);
        let Some(cell) = cells.get_mut(column) else { continue };
        *cell = match (is_late, accepted) {
            (true, true) => ('!', Tone::Bad),
            (true, false) => ('x', Tone::Good),
            (false, _) if cell.0 == ' ' => ('|', Tone::Plain),
            (false, _) => *cell,
        };
    }
    let mut row = vec![Span::raw(format!("   {name:9}"))];
    row.extend(runs(view, cells));
    let Tally { taken, late, .. } = tally;
    let (text, tone) = match (name == FENCED, late) {
        (_, 0) => (format!("  {taken} writes"), Tone::Plain),
        (true, late) => (format!("  {late} late: refused"), Tone::Good),
        (false, late) => (format!("  {late} late: let in"), Tone::Bad),
    };
    row.push(Span::styled(text, style(view, tone)));
    Row::from(row)
}

/// The latest that fit.
fn told_rows<'a>(view: &View<'_>, area: Rect) -> Vec<Row<'a>> {
    let height = usize::from(area.height);
    let skip = view.lines.len().saturating_sub(height);
    let row = |line: &Line| {
        let at = format!("{:8.2}  {:8}  ", line.at.as_secs_f64(), line.who);
        Row::from(vec![Span::raw(at), Span::styled(line.text.clone(), style(view, line.tone))])
    };
    view.lines.iter().skip(skip).map(row).collect()
}

fn help<'a>(view: &View<'_>) -> Vec<Row<'a>> {
    let chosen = NAMES[view.chosen];
    let keys = " 1 2 3 choose   k kill   f freeze, thaw   x cut, join   r resign   b bring back";
    vec![
        Row::from(vec![dim(view, keys)]),
        Row::from(vec![Span::raw(format!(" strikes {chosen}; q quits"))]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn belief(token: u64, begin: u64, end: u64) -> Belief {
        Belief { node: "node-a".into(), token, begin: Time(begin), end: Time(end) }
    }

    /// What a lane of forty columns, one a unit of time, shows of these beliefs from `begin` on.
    fn drawn(begin: u64, beliefs: Vec<Belief>) -> String {
        let scale = Scale { begin, columns: 40, step: 1, beliefs };
        let mut cells = cells(&Past::default(), &scale, "node-a");
        tokens(&scale, "node-a", &mut cells);
        cells.into_iter().map(|(cell, _)| cell).collect()
    }

    #[test]
    fn what_does_not_fit_ends_with_an_ellipsis() {
        assert_eq!(fitted("follows node-a", 22), "follows node-a");
        assert_eq!(fitted("follows somebody-with-a-name", 22), "follows somebody-with…");
        assert_eq!(fitted("äöü", 3), "äöü");
    }

    #[test]
    fn a_term_that_ended_before_the_window_leaves_its_token_to_no_other() {
        let beliefs = || vec![belief(111, 0, 20), belief(222, 30, 200)];
        assert!(drawn(0, beliefs()).starts_with("█111█"));
        assert!(drawn(19, beliefs()).starts_with("█··········█222█"));
        for begin in [20, 50, 100] {
            let lane = drawn(begin, beliefs());
            assert!(lane.contains("█222█") && !lane.contains("111"), "from {begin}: {lane}");
        }
    }
}
