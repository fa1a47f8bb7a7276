//! `leasehold demo`: three candidates for one lock, and what becomes of them when things go wrong.

mod past;
pub mod plain;
mod screen;
mod stage;
mod story;
mod tell;
mod terminal;

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::Duration;

use leasehold::TimingSettings;

use crate::args::{Colour, DemoArgs};
use crate::output::{Paint, print_error};
use crate::{exit, explain, output};

/// What its help says behind the flags.
pub const HELP: &str = "\
Three candidates in this process contend for one lock, each on a way of its own to the store; keys kill, freeze and cut \
them off. Two resources are written to by whoever leads: one takes all it is given, one compares fencing tokens.

A candidate that is killed here ends within this process, so that the lock is free when its lease is over, also on \
file:, where the end of a process frees it at once.

The lease duration is 5 s here unless one is given, short enough to watch.

It ends with what a checker says of all that happened. Exits with 0 if nothing is wrong with it, and else with 80; with 69 or 77 at once if the store cannot be read.";

/// The lease of the demonstration, if none is chosen: short enough to watch.
const LEASE: Duration = Duration::from_secs(5);

/// Runs it. Returns the exit code.
#[must_use]
pub fn main(args: &DemoArgs, colour: Colour) -> u8 {
    let settings = settings(args);
    if let Err(invalid) = settings.build() {
        let refused = explain::refused(&invalid, Paint(false));
        // On one line: nothing of it was chosen by others, and the flags can be copied from it.
        print_error(&refused.split_whitespace().collect::<Vec<_>>().join(" "));
        return exit::CONFIG;
    }
    // Before a story that takes its time.
    if let Some(path) = &args.svg
        && let Err(error) = OpenOptions::new().create(true).append(true).open(path)
    {
        return unwritten(path, &error);
    }
    if !args.plain {
        return terminal::main(args.lock.as_deref(), settings, colour);
    }
    let story = plain::Story {
        lock: args.lock.clone(),
        settings,
        seed: args.seed,
        length: Duration::from_secs(args.seconds),
    };
    let paint = Paint::stdout(colour);
    let told = plain::tell(
        &story,
        |builder| builder,
        |line| {
            // A closed pipe ends nothing: the exit code still tells.
            let _ = output::write(&format!("{}\n", line.painted(paint)));
        },
    );
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            print_error(&error);
            return exit::of_error(&error);
        }
    };
    if let Some(path) = &args.svg
        && let Err(error) = std::fs::write(path, told.picture())
    {
        return unwritten(path, &error);
    }
    if told.violations.is_empty() { 0 } else { exit::INTERNAL }
}

fn unwritten(path: &Path, error: &io::Error) -> u8 {
    print_error(&format!("cannot write {}: {error}", path.display()));
    exit::INTERNAL
}

fn settings(args: &DemoArgs) -> TimingSettings {
    let settings = TimingSettings::from(&args.timing);
    TimingSettings { lease_duration: settings.lease_duration.or(Some(LEASE)), ..settings }
}
