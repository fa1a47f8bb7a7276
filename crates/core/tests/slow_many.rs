//! Ten thousand electors in one process, in real time. What they cost is read from /proc.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::{BootClock, Clock, Elector, MemoryLock};

const ELECTORS: usize = 10_000;

/// What all of them may take, their locks included.
const MOST_KIB: u64 = 200 * 1024;

const MINUTE: Duration = Duration::from_secs(60);

/// No term is lost in a minute, and memory is bounded. Prints what it costs.
#[test]
fn ten_thousand_electors_lose_no_term_in_a_minute() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let clock = BootClock::new();
        let before = resident_kib();
        let mut held = Vec::new();
        for n in 0..ELECTORS {
            let lock = Arc::new(MemoryLock::new(format!("lock-{n}")));
            let elector = Elector::builder(lock)
                .identity(format!("elector-{n}"))
                .clock(clock.clone())
                .build()
                .unwrap();
            held.push((elector.campaign().await.unwrap(), elector));
        }
        let (cpu, started) = (cpu_ticks(), clock.now());
        clock.sleep_until(started + MINUTE).await;
        let passed = clock.now().since(started);
        let ticks = cpu_ticks() - cpu;
        for (held, elector) in &held {
            assert_eq!(held.check(), Ok(held.token()));
            let counters = elector.status().counters;
            assert_eq!((counters.terms, counters.losses), (1, 0));
            assert!(counters.writes >= 25, "renewals every two seconds: {counters:?}");
        }
        let resident = resident_kib() - before;
        assert!(resident <= MOST_KIB, "{resident} KiB");
        println!(
            "{ELECTORS} electors for {:.0?}: {} KiB resident in all ({:.1} each), {:.1} % of one \
             core",
            passed,
            resident,
            f64::from(u32::try_from(resident).unwrap()) / ELECTORS as f64,
            f64::from(u32::try_from(ticks).unwrap()) / passed.as_secs_f64(),
        );
    });
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// User and system time, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
