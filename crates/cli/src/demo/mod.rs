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
use crate::{exit, output, timing};

/// The lease of the demonstration, if none is chosen: short enough to watch.
const LEASE: Duration = Duration::from_secs(5);

/// Runs it. Returns the exit code.
#[must_use]
pub fn main(args: &DemoArgs, colour: Colour) -> u8 {
    let settings = settings(args);
    if let Err(invalid) = settings.build() {
        let refused = timing::refused(&invalid, Paint(false));
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
    let mut is_told = true;
    let told = plain::tell(
        &story,
        |builder| builder,
        // A closed pipe ends nothing, and the exit code still tells.
        |line| is_told = is_told && output::print(&format!("{}\n", line.painted(paint))),
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
    if is_told && told.violations.is_empty() { 0 } else { exit::INTERNAL }
}

fn unwritten(path: &Path, error: &io::Error) -> u8 {
    print_error(&format!("cannot write {}: {error}", path.display()));
    exit::INTERNAL
}

fn settings(args: &DemoArgs) -> TimingSettings {
    let settings = TimingSettings::from(&args.timing);
    TimingSettings { lease_duration: settings.lease_duration.or(Some(LEASE)), ..settings }
}
