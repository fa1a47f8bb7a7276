//! How often two lead at once as clock rates differ more and more: never up to the bound, soon
//! beyond it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use leasehold_sim::{Rule, StoreKind, generate_at, run};
use plotters::prelude::{
    ChartBuilder, Circle, Color, EmptyElement, IntoDrawingArea, IntoFont, LineSeries, PathElement,
    RGBColor, Rectangle, SVGBackend, Text, WHITE,
};

use super::{Failure, Options, Outcome, Output, at, is_writable, on_cores};

/// The ratios, in percent of the bound.
const PERCENTS: [u32; 13] = [80, 90, 95, 98, 99, 100, 101, 102, 103, 105, 108, 112, 120];

/// Schedules for every ratio, unless the caller says.
const SCHEDULES: u64 = 200_000;

/// From here on overlaps must be found.
const FOUND_FROM: u32 = 105;

const OBSERVED: RGBColor = RGBColor(0x2b, 0x6c, 0xb0);
const SERVED: RGBColor = RGBColor(0xc0, 0x56, 0x21);
const SAFE: RGBColor = RGBColor(0xe6, 0xf4, 0xea);
const INK: RGBColor = RGBColor(0x1a, 0x20, 0x2c);

/// Schedules and overlaps at one ratio, for stores whose lease is timed by the observer and by the
/// server.
#[derive(Debug, Default)]
struct Point {
    percent: u32,
    schedules: [AtomicU64; 2],
    overlaps: [AtomicU64; 2],
    others: AtomicU64,
}

impl Point {
    fn per_thousand(&self, kind: usize) -> f64 {
        let [schedules, overlaps] = [&self.schedules[kind], &self.overlaps[kind]]
            .map(|count| as_f64(count.load(Ordering::Relaxed)));
        1000.0 * overlaps / schedules.max(1.0)
    }

    fn found(&self, kind: usize) -> u64 {
        self.overlaps[kind].load(Ordering::Relaxed)
    }
}

/// Measures, draws, and judges: nothing up to the bound, something from 5 % beyond it.
pub(super) fn plot(file: &Path, options: &Options, output: &Output) -> Outcome {
    is_writable(file)?;
    let count = options.seeds.unwrap_or(SCHEDULES);
    let mut points = Vec::new();
    let mut holds = true;
    output.line(
        "percent of the bound: overlaps in schedules, lease timed by the observer and by the \
         server",
    )?;
    for percent in PERCENTS {
        let point = measure(percent, count, options, output)?;
        let told = |kind: usize| {
            format!("{} in {}", point.found(kind), point.schedules[kind].load(Ordering::Relaxed))
        };
        output.line(format_args!("{percent:>4} %: {}, {}", told(0), told(1)))?;
        let others = point.others.load(Ordering::Relaxed);
        for kind in 0..2 {
            let found = point.found(kind);
            let expected =
                if percent <= 100 { found == 0 } else { percent < FOUND_FROM || found > 0 };
            if !expected {
                output.line("      not as the bound says")?;
            }
            holds &= expected;
        }
        if percent <= 100 && others > 0 {
            output.line(format_args!("      {others} schedules broke another invariant"))?;
            holds = false;
        }
        points.push(point);
    }
    draw(file, &points, count).map_err(|error| at(file, error))?;
    output.line(format_args!("drawn: {}", file.display()))?;
    Ok(holds)
}

fn measure(percent: u32, count: u64, options: &Options, output: &Output) -> Result<Point, Failure> {
    let point = Point { percent, ..Point::default() };
    let next = AtomicU64::new(0);
    let work = |stop: &AtomicBool| -> Result<(), Failure> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let case = generate_at(options.from + seed, percent);
            let kind = usize::from(case.store == StoreKind::Server);
            point.schedules[kind].fetch_add(1, Ordering::Relaxed);
            let Some(violation) = run(&case, false)?.violation else { continue };
            if matches!(violation.rule, Rule::Belief | Rule::Work) {
                point.overlaps[kind].fetch_add(1, Ordering::Relaxed);
            } else {
                point.others.fetch_add(1, Ordering::Relaxed);
            }
            if percent <= 100 {
                let (rule, what) = (violation.rule, violation.what);
                output.line(format_args!(
                    "      --rates {percent} --from {} --seeds 1: {rule:?}: {what}",
                    case.seed
                ))?;
            }
        }
    };
    on_cores(options.threads(), work)?;
    Ok(point)
}

fn draw(file: &Path, points: &[Point], count: u64) -> Result<(), Box<dyn std::error::Error>> {
    let most = points.iter().flat_map(|point| [point.per_thousand(0), point.per_thousand(1)]);
    let top = most.fold(1.0, f64::max) * 1.1;
    let root = SVGBackend::new(file, (760, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Two leaders at once, by how far clock rates differ", ("sans-serif", 17))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(58)
        .build_cartesian_2d(78.0..122.0, 0.0..top)?;
    let safe = Rectangle::new([(78.0, 0.0), (100.0, top)], SAFE.filled());
    chart.draw_series(std::iter::once(safe))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE.mix(0.0))
        .x_desc("ratio of the clock rates, in percent of the bound that the timing gives")
        .y_desc("schedules with an overlap, of 1000")
        .x_label_formatter(&|percent| format!("{percent:.0} %"))
        .draw()?;
    for (kind, colour, name) in
        [(0, OBSERVED, "lease timed by the observer"), (1, SERVED, "lease timed by the server")]
    {
        let line =
            || points.iter().map(|point| (f64::from(point.percent), point.per_thousand(kind)));
        chart
            .draw_series(LineSeries::new(line(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(line().map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    let note = format!("the bound; {count} schedules for every ratio");
    let ink = ("sans-serif", 13).into_font().color(&INK);
    chart.draw_series(std::iter::once(
        EmptyElement::at((79.0, top * 0.55)) + Text::new(format!("up to {note}"), (0, 0), ink),
    ))?;
    chart
        .configure_series_labels()
        .position(plotters::prelude::SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 13))
        .border_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a count in a plot")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
