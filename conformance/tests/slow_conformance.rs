//! Every case of the fast tier, on the locks that need no server. One that nobody has built fails.
//!
//! This is a program and not a set of test functions: a case that kills a process starts this
//! program again as a candidate. It prints what a test harness prints, so that whoever counts tests
//! counts these.

#![expect(clippy::print_stdout, reason = "it stands for a test harness")]

use std::process::ExitCode;
use std::sync::Arc;

use leasehold_conformance::expected::Expected;
use leasehold_conformance::options::Options;
use leasehold_conformance::process::candidate_if_asked;
use leasehold_conformance::runner;
use leasehold_conformance::stores::{FileTarget, MemoryTarget, Target};

fn main() -> ExitCode {
    if let Some(ended) = candidate_if_asked() {
        return ended;
    }
    // Words are a filter; options of a harness mean nothing here.
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    words.retain(|word| !word.starts_with('-') && word.parse::<u64>().is_err());
    if std::env::args().any(|word| word == "--list") {
        println!("fast_tier: test");
        return ExitCode::SUCCESS;
    }
    let filter = (!words.is_empty()).then(|| words.join(","));
    let options = Options { filter, parallel: 24, ..Options::default() };
    let file = FileTarget::new().expect("there is room for a temporary directory");
    let targets: [Arc<dyn Target>; 5] = [
        Arc::new(MemoryTarget::new()),
        Arc::new(MemoryTarget::with_server_expiry()),
        Arc::new(MemoryTarget::polled()),
        Arc::new(MemoryTarget::forgetful()),
        Arc::new(file),
    ];
    let failed = targets.iter().map(|target| one(target, &options)).sum::<usize>();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many of the target's cases are not as expected.
fn one(target: &Arc<dyn Target>, options: &Options) -> usize {
    let expected = Expected::of(target.backend()).expect("its expectations are in order");
    let report = runner::run(target, &expected, options, |_| {});
    println!("\nrunning {} tests", report.lines.len());
    print!("{}", report.table());
    for fault in report.faults() {
        println!("NOT AS EXPECTED  {fault}");
    }
    println!("worst oversleep of the host {:?}", report.oversleep);
    println!("{}", report.closing());
    let failed = report.faults().len();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; \
         finished in {:.2}s",
        report.lines.len().saturating_sub(failed),
        report.took.as_secs_f64()
    );
    failed
}
