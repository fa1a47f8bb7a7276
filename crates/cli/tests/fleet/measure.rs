//! When things happened, and how late this host is by itself.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// Random enough to pick moments; the seed is printed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let seed = wall().subsec_nanos();
        println!("seed {seed}");
        Self(u64::from(seed) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// How late a sleeping thread wakes on this host: what a bound must allow for.
pub(crate) struct Canary {
    worst: std::sync::Arc<Mutex<Duration>>,
    stop: std::sync::mpsc::Sender<()>,
}

impl Canary {
    pub(crate) fn start() -> Self {
        let worst = std::sync::Arc::new(Mutex::new(Duration::ZERO));
        let (stop, stopped) = std::sync::mpsc::channel();
        let seen = worst.clone();
        std::thread::spawn(move || {
            let nap = Duration::from_millis(10);
            let mut last = Instant::now();
            while stopped.recv_timeout(nap) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let late = last.elapsed().saturating_sub(nap);
                let mut worst = seen.lock().unwrap();
                *worst = worst.max(late);
                last = Instant::now();
            }
        });
        Self { worst, stop }
    }

    pub(crate) fn worst(&self) -> Duration {
        *self.worst.lock().unwrap()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = self.stop.send(());
    }
}

/// Median and maximum, for people.
pub(crate) fn spread(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}
