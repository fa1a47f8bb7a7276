//! What the command prints: lines, and at a terminal a progress line that is gone before anything
//! else is printed.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the progress line is written anew.
const PROGRESS: Duration = Duration::from_millis(500);

/// As much of a progress line as fits into the narrowest terminal without a second row.
const COLUMNS: usize = 79;

/// Standard output, and the progress line on standard error; shared by all cores.
#[derive(Debug)]
pub(super) struct Output {
    /// Whether somebody looks at a progress line.
    watched: bool,
    state: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    shown: bool,
    told: Option<Instant>,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { watched: io::stderr().is_terminal(), state: Mutex::default() }
    }

    /// Prints a line.
    ///
    /// # Errors
    /// Nobody reads it any more, or it cannot be written.
    pub(super) fn line(&self, line: impl Display) -> io::Result<()> {
        let mut state = self.state();
        if std::mem::take(&mut state.shown) {
            clear();
        }
        writeln!(io::stdout(), "{line}")
    }

    /// Shows how far it is, for people at a terminal only.
    pub(super) fn progress(&self, line: impl FnOnce() -> String) {
        let mut state = self.state();
        if self.watched && state.told.is_none_or(|told| told.elapsed() >= PROGRESS) {
            *state = Progress { shown: true, told: Some(Instant::now()) };
            clear();
            let mut stderr = io::stderr();
            let _ = write!(stderr, "{}", cut(&line()));
            let _ = stderr.flush();
        }
    }

    fn state(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.state().shown {
            clear();
        }
    }
}

fn clear() {
    let _ = write!(io::stderr(), "\r\x1b[K");
}

fn cut(line: &str) -> String {
    line.chars().take(COLUMNS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_has_one_row() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(200)).len(), COLUMNS);
    }
}
