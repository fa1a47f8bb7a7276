//! What goes to standard output, and whether it is coloured.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::args::Colour;
use crate::exit;

/// Prints an answer. Whether that worked: a closed pipe is the reader's choice, not an error.
#[must_use]
pub fn print(text: &str) -> bool {
    match write(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            print_error(&format!("cannot write the answer: {error}"));
            false
        }
        _ => true,
    }
}

/// Prints an answer and keeps its exit code, unless it could not be printed.
#[must_use]
pub fn answer(text: &str, code: u8) -> u8 {
    if print(text) { code } else { exit::INTERNAL }
}

/// Writes to standard output, at once.
///
/// # Errors
/// It cannot be written to.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says on standard error what is wrong.
pub fn print_error(error: &impl std::fmt::Display) {
    // A closed standard error is nobody's concern.
    let _ = writeln!(io::stderr(), "leasehold: {error}");
}

impl Colour {
    /// Whether to colour what goes to this stream.
    #[must_use]
    pub fn applies_to(self, stream: &impl IsTerminal) -> bool {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        match self {
            Self::Auto => wanted && stream.is_terminal(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Text in colours that are readable on light and on dark ground, or plain.
#[derive(Clone, Copy, Debug)]
pub struct Paint(pub bool);

impl Paint {
    /// For standard output.
    #[must_use]
    pub fn stdout(colour: Colour) -> Self {
        Self(colour.applies_to(&io::stdout()))
    }

    /// As it should be.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Not as it should be.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Uncertain, or soon over.
    #[must_use]
    pub fn doubtful(self, text: &str) -> String {
        self.with("35", text)
    }

    /// A heading, or a name.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A duration as our flags take it: `1m30s`, `200ms`.
#[must_use]
pub fn flag(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_flags_take_it() {
        for ms in [1, 250, 15_215, 90_000, 3_600_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(humantime::parse_duration(&flag(duration)), Ok(duration));
        }
    }

    #[test]
    fn without_colour_text_stays_as_it_is() {
        assert_eq!(Paint(false).bad("x"), "x");
        assert_eq!(Paint(true).bad("x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
