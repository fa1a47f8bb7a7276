//! Threads without async: one of three leads at a time, and counts.

#![allow(clippy::print_stdout, reason = "an example")]

use std::thread;

use leasehold::blocking::Elector;

/// Three threads take turns.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let url = format!("file:{}", directory.path().join("counter.lock").display());
    let workers = ["a", "b", "c"].map(|name| {
        let url = url.clone();
        thread::spawn(move || -> Result<u64, leasehold::Error> {
            let elector = Elector::open(&url, |builder| builder.identity(name))?;
            let held = elector.campaign()?; // waits for its turn
            println!("{name} leads with token {}", held.token());
            let token = held.token();
            held.resign()?;
            Ok(token)
        })
    });
    let mut tokens = Vec::new();
    for worker in workers {
        tokens.push(worker.join().map_err(|_panic| "a worker panicked")??);
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 3, "no two terms have one token");
    Ok(())
}
