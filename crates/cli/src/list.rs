//! `leasehold list`: the locks in a place, and who holds each.

use leasehold::doctor::{Listed, list, listable};
use leasehold::status::printable;

use crate::args::{Colour, ListArgs, OutputFormat};
use crate::output::{Paint, answer, json, print_error};
use crate::{exit, runtime, status};

/// The help text after the flags, with the places that this build can list.
#[must_use]
pub fn help() -> String {
    let places = listable().map(|(form, found)| format!("  {form:28} {found}\n"));
    format!("What is listed:\n{}\n{HELP}", places.collect::<String>())
}

const HELP: &str = "\
One read of each lock, which says what `leasehold status` says. Elections of other programs are shown too. Needs the \
right to read all of the prefix, or the verb list, which no candidate needs.

Exits with 0 if each could be read, 78 if one is broken, and else with 69 or 77 if one could not be read.";

/// Prints them. Returns the exit code.
#[must_use]
pub fn main(args: &ListArgs, quiet: bool, colour: Colour) -> u8 {
    let runtime = match runtime::new() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let found = runtime.block_on(list(&args.lock));
    runtime.shutdown_background();
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            print_error(&error);
            return exit::of_error(&error);
        }
    };
    if found.is_empty() && !quiet && args.output.output == OutputFormat::Text {
        print_error(&"there is no lock");
    }
    let (text, code) = told(&found, args.output.output, Paint::stdout(colour));
    answer(&text, code)
}

/// What is printed of them, and the exit code.
#[must_use]
pub fn told(found: &[Listed], form: OutputFormat, paint: Paint) -> (String, u8) {
    let (mut text, mut codes) = (String::new(), Vec::new());
    for listed in found {
        let (line, object, code) = status::row(&listed.observed, &listed.name, paint);
        codes.extend(code);
        text.push_str(&match form {
            OutputFormat::Text => format!("{}\n    {line}", printable(&listed.name).at_most(1_000)),
            OutputFormat::Json => format!("{}\n", json(&object)),
        });
    }
    let broken = codes.contains(&exit::CONFIG).then_some(exit::CONFIG);
    (text, broken.or(codes.first().copied()).unwrap_or(0))
}
