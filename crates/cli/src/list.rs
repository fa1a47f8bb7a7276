//! `leasehold list`: the locks in a place, and who holds each.

use leasehold::list;

use crate::args::{ListArgs, OutputFormat};
use crate::exit;
use crate::output::{answer, print_error};
use crate::status;

/// What its help says behind the flags.
pub const HELP: &str = "\
One read of each lock, which says what `leasehold status` says. A file that is no lock is not shown.";

/// Prints them. Returns the exit code.
#[must_use]
pub fn main(args: &ListArgs) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return exit::INTERNAL };
    let found = runtime.block_on(list(&args.lock));
    runtime.shutdown_background();
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            print_error(&error);
            return exit::of_error(&error);
        }
    };
    let text: String = found
        .iter()
        .map(|listed| match args.output.output {
            OutputFormat::Text => {
                format!("{}\n    {}", listed.name, status::told(&listed.observed))
            }
            OutputFormat::Json => {
                format!("{}\n", status::told_json(&listed.observed, &listed.name))
            }
        })
        .collect();
    answer(&text, 0)
}
