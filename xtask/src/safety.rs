//! `cargo xtask safety`: runs the proof and writes what it said into docs/SAFETY.md.

use std::fs;

use crate::cargo;
use crate::{Outcome, model, sim};

const PAGE: &str = "docs/SAFETY.md";
const PLOT: &str = "docs/safety/clock-rates.svg";
const REPLAY: &str = "docs/safety/early-lease.svg";
const ACCEPTED: &str = "crates/core/mutants-accepted.txt";
const BEGIN: &str = "<!-- run: begin -->";
const END: &str = "<!-- run: end -->";

/// How many schedules are run without a defect.
const SCHEDULES: &str = "2000000";

/// Runs everything, then rewrites the page.
pub(crate) fn run() -> Outcome {
    let schedules = tee(sim::command(["--from", "3000000000", "--seeds", SCHEDULES]))?;
    let mutants = tee(sim::command(["--mutants", "--budget", "180"]))?;
    let plot = tee(sim::command(["--plot", PLOT]))?;
    let mutant = "crates/sim/tests/mutants/early-lease.json";
    // A replay of a failure fails.
    let _ = tee(sim::command(["--replay", mutant, "--svg", REPLAY]));
    let model = tee(model::command::<[&str; 0]>([]))?;
    let commit =
        cargo::capture(std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]))?;
    let mut text = format!("Counts of one run, at commit {}:\n", commit.trim());
    for (command, said) in [
        (format!("cargo xtask sim --from 3000000000 --seeds {SCHEDULES}"), &schedules),
        ("cargo xtask sim --mutants".to_owned(), &last_line(&mutants)),
        (format!("cargo xtask sim --plot {PLOT}"), &plot),
        ("cargo xtask model".to_owned(), &model),
    ] {
        let said = said.trim_end();
        text.push_str(&format!("\n```console\n$ {command}\n{said}\n```\n"));
    }
    let survivors = fs::read_to_string(cargo::root().join(ACCEPTED))
        .map_err(|error| format!("{ACCEPTED}: {error}"))?;
    text.push_str(&survivors_of_blind_mutation(&survivors));
    write(&text)
}

/// The accepted survivors, each under its reason.
fn survivors_of_blind_mutation(list: &str) -> String {
    let mut text = format!(
        "\nBlind mutation (`cargo xtask mutants`) changes the election and its timing one \
         operator, arm or guard at a time. These mutants pass every test, each for the reason \
         above it (`{ACCEPTED}`):\n\n```text\n"
    );
    for line in list.lines().skip_while(|line| !line.is_empty()).skip(1) {
        text.push_str(line.trim_start_matches("crates/core/src/"));
        text.push('\n');
    }
    text + "```\n"
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().to_owned()
}

/// Runs a command, prints what it says, and returns it.
fn tee(mut command: std::process::Command) -> Result<String, String> {
    let said = cargo::capture(&mut command)?;
    print!("{said}");
    Ok(said)
}

fn write(text: &str) -> Outcome {
    let path = cargo::root().join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let page = replace(&page, text)?;
    fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))?;
    println!("written: {PAGE}, {PLOT}, {REPLAY}");
    Ok(())
}

/// Puts `text` between the marks.
fn replace(page: &str, text: &str) -> Result<String, String> {
    let marks = || Some((page.find(BEGIN)? + BEGIN.len(), page.find(END)?));
    match marks() {
        Some((begin, end)) if begin <= end => {
            Ok(format!("{}\n{text}{}", &page[..begin], &page[end..]))
        }
        _ => Err(format!("{PAGE} lacks the marks {BEGIN} and {END}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        assert_eq!(replace(&page, "new\n"), Ok(format!("a\n{BEGIN}\nnew\n{END}\nz\n")));
        assert!(replace("a", "new").is_err());
        assert!(replace(&format!("{END}{BEGIN}"), "new").is_err());
    }
}
