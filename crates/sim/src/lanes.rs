//! A schedule as a picture: a lane for every candidate and for the store, time from left to right.

use leasehold_core::printable;
use svg::Document;
use svg::node::element::{Circle, Group, Line, Rectangle, Text, Title};

use crate::case::{Case, Fault, MS, Nanos};
use crate::story::name;

/// How a bar is drawn, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A candidate believes that it leads.
    Belief,
    /// The work of a term runs.
    Work,
    /// The process stands still.
    Paused,
    /// The process does not run.
    Down,
    /// The store names a holder.
    Held,
    /// The store names none.
    Free,
    /// A fault lasts.
    Fault,
    /// Two believe, or two works run.
    Overlap,
    /// A request that was done as asked.
    Done,
    /// A request that the store refused.
    Refused,
    /// A request whose outcome its sender does not know.
    Unknown,
}

impl Style {
    const LEGEND: [(Self, &str); 11] = [
        (Self::Belief, "believes"),
        (Self::Work, "work runs"),
        (Self::Done, "request done"),
        (Self::Refused, "refused"),
        (Self::Unknown, "outcome unknown"),
        (Self::Paused, "stands still"),
        (Self::Down, "not running"),
        (Self::Held, "record names a holder"),
        (Self::Free, "record names none"),
        (Self::Fault, "fault"),
        (Self::Overlap, "overlap"),
    ];

    fn fill(self) -> &'static str {
        match self {
            Self::Belief => "#2b6cb0",
            Self::Work => "#90cdf4",
            Self::Paused => "#d6bcfa",
            Self::Down => "#a0aec0",
            Self::Held => "#68a47c",
            Self::Free => "#e2e8f0",
            Self::Fault => "#fbd38d",
            Self::Overlap => "#e53e3e",
            Self::Done => "#4a5568",
            Self::Refused => "#dd6b20",
            Self::Unknown => "#ffffff",
        }
    }

    fn stroke(self) -> &'static str {
        match self {
            Self::Unknown => "#4a5568",
            _ => "none",
        }
    }

    fn ink(self) -> &'static str {
        match self {
            Self::Belief | Self::Overlap | Self::Held | Self::Done => "#ffffff",
            _ => "#1a202c",
        }
    }
}

/// Something that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// When it begins.
    pub from: Nanos,
    /// When it ends.
    pub to: Nanos,
    /// What it is.
    pub style: Style,
    /// What is written on it.
    pub label: String,
}

/// One lane: rows of bars that do not overlap within a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Whose.
    pub name: String,
    /// From top to bottom.
    pub rows: Vec<Vec<Bar>>,
}

impl Lane {
    /// An empty lane.
    #[must_use]
    pub fn new(name: impl Into<String>, rows: usize) -> Self {
        Self { name: name.into(), rows: vec![Vec::new(); rows] }
    }

    /// The row shows this from now on; what it showed before ends.
    pub(crate) fn show(&mut self, row: usize, now: Nanos, shown: Option<(Style, String)>) {
        let row = &mut self.rows[row];
        let last = row.last_mut().filter(|bar| bar.to == Nanos::MAX);
        match (last, shown) {
            (Some(bar), Some((style, label))) if bar.style == style && bar.label == label => {}
            (Some(bar), shown) => {
                bar.to = now;
                row.extend(shown.map(|(style, label)| open(now, style, label)));
            }
            (None, shown) => row.extend(shown.map(|(style, label)| open(now, style, label))),
        }
    }
}

fn bar(fault: &Fault, case: &Case) -> Bar {
    let kind = fault.kind;
    let whom = fault.node.map_or_else(|| "the leader".to_owned(), name);
    let lasts = if kind.is_instant() { 0 } else { fault.for_ms };
    let to = (fault.at_ms + lasts).min(case.chaos_ms).max(fault.at_ms);
    let label =
        if kind.is_of_store() { format!("{kind:?}") } else { format!("{kind:?} at {whom}") };
    Bar { from: fault.at_ms * MS, to: to * MS, style: Style::Fault, label }
}

fn open(from: Nanos, style: Style, label: String) -> Bar {
    Bar { from, to: Nanos::MAX, style, label }
}

/// The picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// What is written above.
    pub title: String,
    /// Where the picture ends.
    pub end: Nanos,
    /// From top to bottom.
    pub lanes: Vec<Lane>,
}

const LEFT: f64 = 110.0;
const TOP: f64 = 70.0;
const WIDTH: f64 = 1500.0;
const ROW: f64 = 16.0;
const GAP: f64 = 14.0;
/// More than these rows make a picture that viewers refuse.
const MOST_FAULTS: usize = 100;

impl Lanes {
    /// The faults of a case, and empty lanes for overlaps, the store and a foreign client.
    #[must_use]
    pub(crate) fn new(case: &Case) -> Self {
        let mut faults = Lane::new("faults", 0);
        faults.rows = case.faults.iter().take(MOST_FAULTS).map(|f| vec![bar(f, case)]).collect();
        if let Some(more) = case.faults.len().checked_sub(MOST_FAULTS + 1) {
            faults.name = format!("faults, {} more", more + 1);
        }
        let defect = case.mutant.map(|mutant| format!(", defect {}", mutant.name()));
        Self {
            title: format!(
                "seed {}, store {:?}{}",
                case.seed,
                case.store,
                defect.unwrap_or_default()
            ),
            end: case.end_ms * MS,
            lanes: vec![
                faults,
                Lane::new("overlap", 1),
                Lane::new("store", 1),
                Lane::new("foreign client", 1),
            ],
        }
    }

    /// The picture as SVG.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let lanes = self.lanes.iter().filter(|lane| lane.rows.iter().any(|row| !row.is_empty()));
        let mut drawing = Group::new();
        let mut y = TOP;
        for lane in lanes {
            drawing = drawing.add(self.lane(lane, y));
            y += height(lane) + GAP;
        }
        let total = LEFT + WIDTH + 40.0;
        Document::new()
            .set("viewBox", (0, 0, px(total), px(y + 20.0)))
            .set("font-family", "sans-serif")
            .set("font-size", 11)
            .add(Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "#ffffff"))
            .add(text(LEFT, 20.0, &self.title).set("font-size", 14))
            .add(legend())
            .add(self.seconds(y))
            .add(drawing)
            .to_string()
    }

    fn x(&self, at: Nanos) -> f64 {
        LEFT + WIDTH * ratio(at.min(self.end), self.end)
    }

    fn seconds(&self, bottom: f64) -> Group {
        let mut group = Group::new();
        let seconds = self.end / (1000 * MS);
        let step = (seconds / 15).max(1);
        for second in (0..=seconds).step_by(usize::try_from(step).unwrap_or(1)) {
            let x = self.x(second * 1000 * MS);
            let line = Line::new()
                .set("x1", px(x))
                .set("x2", px(x))
                .set("y1", TOP - 6.0)
                .set("y2", px(bottom))
                .set("stroke", "#e2e8f0");
            group = group.add(line).add(text(x + 2.0, bottom + 12.0, &format!("{second} s")));
        }
        group
    }

    fn lane(&self, lane: &Lane, top: f64) -> Group {
        let middle = top + height(lane) / 2.0 + 4.0;
        let mut group = Group::new().add(text(6.0, middle, &lane.name).set("font-weight", "bold"));
        for (row, bars) in lane.rows.iter().enumerate() {
            let y = top + ROW * count(row);
            for bar in bars.iter().filter(|bar| bar.from <= self.end) {
                group = group.add(self.bar(bar, y));
            }
        }
        group
    }

    fn bar(&self, bar: &Bar, y: f64) -> Group {
        let (from, to) = (self.x(bar.from), self.x(bar.to));
        let width = (to - from).max(1.5);
        let seconds = |at: Nanos| ratio(at, 1000 * MS);
        let told = format!(
            "{} {:.3} s to {:.3} s",
            bar.label,
            seconds(bar.from),
            seconds(bar.to.min(self.end))
        );
        let shape = Rectangle::new()
            .set("x", px(from))
            .set("y", px(y))
            .set("width", px(width))
            .set("height", ROW - 3.0)
            .set("fill", bar.style.fill())
            .set("stroke", bar.style.stroke())
            .add(Title::new(printable(&told).to_string()));
        let mut group = Group::new().add(shape);
        if bar.style == Style::Unknown {
            group = group.add(
                Circle::new()
                    .set("cx", px(to))
                    .set("cy", px(y + 6.5))
                    .set("r", 2)
                    .set("fill", "#4a5568"),
            );
        }
        // A label that does not fit is told when one points at the bar.
        let fits = 6.2 * count(bar.label.chars().count()) < width;
        if fits || bar.style == Style::Fault {
            group = group.add(text(from + 2.0, y + 10.0, &bar.label).set("fill", bar.style.ink()));
        }
        group
    }
}

fn height(lane: &Lane) -> f64 {
    ROW * count(lane.rows.len())
}

fn legend() -> Group {
    let mut group = Group::new();
    let mut x = LEFT;
    for (style, meaning) in Style::LEGEND {
        let swatch = Rectangle::new()
            .set("x", px(x))
            .set("y", 34)
            .set("width", 12)
            .set("height", 12)
            .set("fill", style.fill())
            .set("stroke", style.stroke());
        group = group.add(swatch).add(text(x + 16.0, 44.0, meaning));
        x += 34.0 + 6.2 * count(meaning.len());
    }
    group
}

fn text(x: f64, y: f64, words: &str) -> Text {
    Text::new(printable(words).to_string()).set("x", px(x)).set("y", px(y)).set("fill", "#1a202c")
}

/// Tenths of a pixel are enough.
fn px(at: f64) -> f64 {
    (at * 10.0).round() / 10.0
}

#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn ratio(at: Nanos, of: Nanos) -> f64 {
    at as f64 / of.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "places in a picture")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Kind;
    use crate::generate::generate;

    #[test]
    fn faults_are_drawn_as_long_as_they_last_and_not_too_many() {
        let fault = |kind| Fault { kind, node: None, at_ms: 100, for_ms: 500, strength: 50 };
        let mut case = generate(1);
        case.faults = vec![fault(Kind::AdminDelete), fault(Kind::Pause)];
        let rows = Lanes::new(&case).lanes.swap_remove(0).rows;
        let told = |row: &Vec<Bar>| (row[0].label.clone(), (row[0].to - row[0].from) / MS);
        assert_eq!(told(&rows[0]), ("AdminDelete".to_owned(), 0));
        assert_eq!(told(&rows[1]), ("Pause at the leader".to_owned(), 500));
        case.faults = vec![fault(Kind::Pause); 3000];
        let lane = Lanes::new(&case).lanes.swap_remove(0);
        assert_eq!((lane.rows.len(), lane.name.as_str()), (100, "faults, 2900 more"));
    }
}
