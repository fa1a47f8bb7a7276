//! One schedule, told and drawn.

use std::path::Path;

use leasehold_sim::{Case, generate_at, run};

use super::Outcome;

/// Tells a failure file, and draws it beside the file unless `svg` names another place.
pub(super) fn file(file: &Path, svg: Option<&Path>) -> Outcome {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let case: Case = serde_json::from_str(&text)
        .map_err(|error| format!("{shown} is not a schedule: {error}"))?;
    case.check().map_err(|error| format!("{shown}: {error}"))?;
    let beside = file.with_extension("svg");
    tell(&case, Some(svg.unwrap_or(&beside)))
}

/// Tells the schedule of a seed, and draws it if `svg` names a place.
pub(super) fn seed(seed: u64, rates: u32, svg: Option<&Path>) -> Outcome {
    tell(&generate_at(seed, rates), svg)
}

fn tell(case: &Case, svg: Option<&Path>) -> Outcome {
    let report = run(case, true)?;
    println!("{}", serde_json::to_string_pretty(case)?);
    for line in &report.story {
        println!("{line}");
    }
    if let (Some(svg), Some(lanes)) = (svg, &report.lanes) {
        let shown = svg.display();
        std::fs::write(svg, lanes.to_svg()).map_err(|error| format!("{shown}: {error}"))?;
        println!("drawn: {shown}");
    }
    Ok(report.violation.is_none())
}
