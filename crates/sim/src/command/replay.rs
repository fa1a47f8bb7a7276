//! One schedule, told and drawn.

use std::path::Path;

use leasehold_sim::{Case, Mutant, generate_at, run};

use super::{Outcome, Output, at, is_writable};

/// Tells a failure file, and draws it beside the file unless `svg` names another place.
pub(super) fn file(file: &Path, svg: Option<&Path>, output: &Output) -> Outcome {
    let text = std::fs::read_to_string(file).map_err(|error| at(file, error))?;
    let case: Case = serde_json::from_str(&text)
        .map_err(|error| format!("{} is not a schedule: {error}", file.display()))?;
    case.check().map_err(|error| at(file, error))?;
    let beside = file.with_extension("svg");
    let svg = svg.unwrap_or(&beside);
    let same = |path: &Path| path.canonicalize().ok();
    if same(svg).is_some_and(|svg| same(file) == Some(svg)) {
        return Err(at(
            svg,
            "the picture would overwrite the schedule: name another file by --svg",
        )
        .into());
    }
    tell(&case, Some(svg), output)
}

/// Tells the schedule of a seed, and draws it if `svg` names a place.
pub(super) fn seed(
    seed: u64,
    rates: u32,
    mutant: Option<Mutant>,
    svg: Option<&Path>,
    output: &Output,
) -> Outcome {
    tell(&Case { mutant, ..generate_at(seed, rates) }, svg, output)
}

fn tell(case: &Case, svg: Option<&Path>, output: &Output) -> Outcome {
    if let Some(svg) = svg {
        is_writable(svg)?;
    }
    let report = run(case, true)?;
    output.line(serde_json::to_string_pretty(case)?)?;
    for line in &report.story {
        output.line(line)?;
    }
    if let (Some(svg), Some(lanes)) = (svg, &report.lanes) {
        std::fs::write(svg, lanes.to_svg()).map_err(|error| at(svg, error))?;
        output.line(format_args!("drawn: {}", svg.display()))?;
    }
    Ok(report.violation.is_none())
}
