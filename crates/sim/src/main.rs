//! `leasehold-sim`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use leasehold_sim::{generate, run};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let from: u64 = args[1].parse().expect("a number");
    let count: u64 = args[2].parse().expect("a number");
    let tell = args.len() > 3;
    let begun = Instant::now();
    let mut violations = 0u64;
    let mut by_rule = std::collections::BTreeMap::new();
    let mut events = 0;
    let mut total = leasehold_sim::Coverage::default();
    for seed in from..from + count {
        let case = generate(seed);
        let report = run(&case, tell).expect("valid");
        events += report.cover.events;
        total.terms += report.cover.terms;
        total.conflicts += report.cover.conflicts;
        total.unknown += report.cover.unknown;
        total.zombies += report.cover.zombies;
        total.reasserted += report.cover.reasserted;
        total.released += report.cover.released;
        total.adopted += report.cover.adopted;
        total.copies += report.cover.copies;
        total.excused += report.cover.excused;
        if tell {
            println!("{}", serde_json::to_string(&case).expect("json"));
            for line in &report.story { println!("{line}"); }
        }
        if let Some(v) = report.violation {
            violations += 1;
            let e = by_rule.entry((format!("{:?}", case.store), v.rule)).or_insert((0u64, Vec::new()));
            e.0 += 1;
            e.1.push((case.faults.len(), seed, v.what));
        }
    }
    for (k, (n, mut v)) in by_rule {
        v.sort();
        println!("{k:?} {n}");
        for (f, s, w) in v.iter().take(4) { println!("   faults {f} seed {s}: {w}"); }
    }
    let t = begun.elapsed().as_secs_f64();
    println!("{total:?}");
    println!("{count} schedules, {violations} violations, {} per second and core; {} events each", (count as f64 / t) as u64, events / count);
}
