//! Where the supervisor posts the instants and the guard reads them, and where the guard says that
//! it works.
//!
//! A message would wait behind older ones, and a guard that thaws would find the newest last, or
//! not at all if the socket had been full. So the instants are not sent but posted: a small file in
//! memory that both have open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, pread, pwrite};

use super::Instants;
use crate::boot::Time;

/// The size of what one of them posts, and where the guard's beats begin.
const SIZE: usize = 32;

/// Where the guard says when it was last awake.
const AWAKE: usize = 2 * SIZE;

/// How often a reading that met a writer is repeated.
const READINGS: u32 = 100;

/// The instants in force.
#[derive(Debug)]
pub(super) struct Board {
    file: OwnedFd,
}

impl Board {
    /// A board on which these instants are posted.
    pub(super) fn new(instants: Instants) -> rustix::io::Result<Self> {
        let board = Self::open(memfd_create(c"leasehold-instants", MemfdFlags::CLOEXEC)?);
        board.post(instants)?;
        Ok(board)
    }

    /// The board of another process.
    pub(super) fn open(file: OwnedFd) -> Self {
        Self { file }
    }

    /// Replaces what is posted.
    pub(super) fn post(
        &self,
        Instants { stop_at, kill_at, dead_by }: Instants,
    ) -> rustix::io::Result<()> {
        self.write(0, [stop_at, kill_at, dead_by])
    }

    /// The guard works: it is killing at `at`, and something of CMD was last known to live at
    /// `alive_at`.
    pub(super) fn beat(&self, at: Time, alive_at: Time) {
        // Without it the supervisor kills in the guard's place.
        let _ = self.write(SIZE, [at, alive_at, Time(0)]);
    }

    /// The last such word, and of what moment it is; `None` if there was none.
    pub(super) fn beaten(&self) -> Option<(Time, Time)> {
        let [at, alive_at, _] = self.words(SIZE)?;
        Some((at, alive_at))
    }

    /// The guard makes a turn of its loop at this moment.
    pub(super) fn wake(&self, at: Time) {
        // Without it the supervisor takes the guard for frozen once CMD has ended.
        let _ = self.write(AWAKE, [at, Time(0), Time(0)]);
    }

    /// When it last said so.
    pub(super) fn awake(&self) -> Option<Time> {
        self.words(AWAKE).map(|[at, ..]| at)
    }

    fn write(&self, place: usize, [a, b, c]: [Time; 3]) -> rustix::io::Result<()> {
        let mut bytes = [0; SIZE];
        let words = [a.0, b.0, c.0, check(a.0, b.0, c.0)];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        let place = u64::try_from(place).map_err(|_wide| Errno::INVAL)?;
        if pwrite(&self.file, &bytes, place)? == SIZE { Ok(()) } else { Err(Errno::IO) }
    }

    /// What is posted. `None` if it stays half-written: its writer died or is stopped in the
    /// middle.
    pub(super) fn read(&self) -> Option<Instants> {
        let [stop_at, kill_at, dead_by] = self.words(0)?;
        Some(Instants { stop_at, kill_at, dead_by })
    }

    fn words(&self, place: usize) -> Option<[Time; 3]> {
        let place = u64::try_from(place).ok()?;
        for _ in 0..READINGS {
            let mut bytes = [0; SIZE];
            if pread(&self.file, &mut bytes, place) != Ok(SIZE) {
                return None;
            }
            let mut words = [0; 4];
            for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_ne_bytes(*chunk);
            }
            let [a, b, c, sum] = words;
            if sum == check(a, b, c) {
                return Some([a, b, c].map(Time));
            }
        }
        None
    }
}

impl AsFd for Board {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Tells a whole reading from one that met a writer.
fn check(stop_at: u64, kill_at: u64, dead_by: u64) -> u64 {
    stop_at.wrapping_mul(3)
        ^ kill_at.rotate_left(21)
        ^ dead_by.rotate_left(42)
        ^ 0x6c65_6173_6568_6f6c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_never_sees_half_of_what_was_posted() {
        let of = |n: u64| Instants { stop_at: Time(n), kill_at: Time(n * 2), dead_by: Time(n * 3) };
        let board = Board::new(of(1)).unwrap();
        let reader = Board::open(board.file.try_clone().unwrap());
        let writer = std::thread::spawn(move || {
            for n in 1..200_000 {
                board.post(of(n)).unwrap();
            }
        });
        let mut last = 0;
        while !writer.is_finished() {
            if let Some(instants) = reader.read() {
                assert_eq!(instants, of(instants.stop_at.0));
                assert!(instants.stop_at.0 >= last);
                last = instants.stop_at.0;
            }
        }
        writer.join().unwrap();
        assert_eq!(reader.beaten(), None);
        reader.beat(Time(7), Time(5));
        assert_eq!(reader.beaten(), Some((Time(7), Time(5))));
        assert_eq!(reader.awake(), None);
        reader.wake(Time(9));
        assert_eq!(reader.awake(), Some(Time(9)));
        assert_eq!(reader.beaten(), Some((Time(7), Time(5))));
        assert_eq!(reader.read(), Some(of(199_999)));
    }
}
