//! `leasehold list`: the locks in a place, and who holds each.

use leasehold::{Listed, list};

use crate::args::{Colour, ListArgs, OutputFormat};
use crate::exit;
use crate::output::{Paint, answer, print_error};
use crate::status;

/// What its help says behind the flags.
pub const HELP: &str = "\
What is listed:
  file:DIRECTORY               the files in it that are locks
  etcd://host:2379/jobs        the elections whose names begin with jobs/, and jobs itself
  k8s://namespace/             every Lease there
  k8s+endpoints://namespace/   the Endpoints there with an election

One read of each lock, which says what `leasehold status` says. Elections of other programs are shown too. Needs the \
right to read all of the prefix, or the verb list, which no candidate needs.";

/// Prints them. Returns the exit code.
#[must_use]
pub fn main(args: &ListArgs, quiet: bool, colour: Colour) -> u8 {
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
    if found.is_empty() && !quiet && args.output.output == OutputFormat::Text {
        print_error(&"there is no lock");
    }
    answer(&told(&found, args.output.output, Paint::stdout(colour)), 0)
}

/// What is printed of them.
#[must_use]
pub fn told(found: &[Listed], form: OutputFormat, paint: Paint) -> String {
    let told = |listed: &Listed| match form {
        OutputFormat::Text => {
            format!("{}\n    {}", listed.name, status::told(&listed.observed, paint))
        }
        OutputFormat::Json => format!("{}\n", status::told_json(&listed.observed, &listed.name)),
    };
    found.iter().map(told).collect()
}
