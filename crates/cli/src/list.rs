//! `leasehold list`: the locks in a place, and who holds each.

use leasehold::doctor::{Listed, list};
use leasehold::status::printable;

use crate::args::{Colour, ListArgs, OutputFormat};
use crate::output::{Paint, answer, json, print_error};
use crate::{exit, runtime, status};

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
