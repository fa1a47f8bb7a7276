//! How long a read and a write take, in the directory `PACE` (or the one for temporary files).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{adopt, change, take, written};
use leasehold_core::{Intent, LockBackend};
use leasehold_file::FileLock;

#[tokio::main]
async fn main() {
    let directory = std::env::var_os("PACE").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(directory).unwrap();
    let lock = FileLock::open(dir.path().join("jobs")).unwrap();
    let adopted = adopt(&lock).await;
    let mut seen = take(&lock, &adopted.version, 7, 1).await;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        let start = Instant::now();
        let renewal = change(Intent::Renew, Some(7), 1);
        seen = written(lock.write(&seen.version, &renewal).await.unwrap());
        writes.push(start.elapsed());
        let start = Instant::now();
        assert_eq!(lock.read().await.unwrap(), seen);
        reads.push(start.elapsed());
    }
    println!("read {}; write {}", quantiles(reads), quantiles(writes));
}

fn quantiles(mut all: Vec<Duration>) -> String {
    all.sort();
    let [p50, p99] = [50, 99].map(|percent| all[all.len() * percent / 100]);
    format!("p50 {p50:.1?}, p99 {p99:.1?}")
}
