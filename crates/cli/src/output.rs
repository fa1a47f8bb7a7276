//! What goes to standard output, and whether it is coloured.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use leasehold::status::{is_hidden, printable, redacted};
use serde_json::Value;

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
    out.write_all(safe(text).as_bytes())?;
    out.flush()
}

/// Says on standard error what is wrong: on one bounded line that is fit for a terminal, and
/// without secrets.
pub fn print_error(error: &impl fmt::Display) {
    let error = error.to_string();
    let error = redacted(&error);
    // A closed standard error is nobody's concern.
    let _ = writeln!(io::stderr(), "leasehold: {}", printable(&error).at_most(LONGEST));
}

/// Prints help or the version on standard output, and what is wrong with a command line on standard
/// error. Returns the exit code.
#[must_use]
pub fn print_usage(error: &clap::Error) -> u8 {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match printed {
        // A closed one is not our concern.
        _ if error.use_stderr() => exit::USAGE,
        Err(failure) if failure.kind() != io::ErrorKind::BrokenPipe => {
            print_error(&format!("cannot write the answer: {failure}"));
            exit::INTERNAL
        }
        _ => 0,
    }
}

/// The longest line of an error, in characters.
const LONGEST: usize = 4_000;

/// A value as JSON on one line, in which no character is hidden or moves a cursor. JSON itself
/// escapes but the oldest of these.
#[must_use]
pub fn json(value: &Value) -> String {
    let plain = value.to_string();
    if !plain.contains(is_hidden) {
        return plain;
    }
    let mut text = String::with_capacity(plain.len());
    // All of them stand inside strings.
    for character in plain.chars() {
        if is_hidden(character) {
            let units = character.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(character);
        }
    }
    text
}

/// Text of ours with colours of ours, whatever else got into it: the second net below those who
/// compose it.
fn safe(text: &str) -> Cow<'_, str> {
    let fine = |character: char| matches!(character, '\n' | '\t') || !is_hidden(character);
    if text.chars().all(fine) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if fine(character) || character == '\u{1b}' && is_colour(&text[at + 1..]) {
            safe.push(character);
        } else {
            safe.extend(character.escape_unicode());
        }
    }
    Cow::Owned(safe)
}

/// Whether this goes on as a colour does: `[`, digits, `m`.
fn is_colour(after: &str) -> bool {
    let digits = after.strip_prefix('[').and_then(|after| after.split_once('m'));
    digits.is_some_and(|(digits, _)| {
        digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
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

    const HOSTILE: &str = "a\u{1b}]0;x\u{7}\r\n\u{9b}2J\u{202e}\u{feff}\u{e0041}\0\u{7f}";

    #[test]
    fn json_is_the_same_for_programs_and_harmless_for_terminals() {
        let value = serde_json::json!({ "who": HOSTILE, "ä": "节点" });
        let text = json(&value);
        assert!(!text.contains(is_hidden), "{text:?}");
        assert!(text.contains("节点"));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_was_not_escaped_before_is_on_its_way_out() {
        let paint = Paint(true);
        let ours = format!("{}\tx\n{}\n", paint.good("leads"), paint.bold("│ ä"));
        assert_eq!(safe(&ours), ours);
        let shown = safe(HOSTILE);
        assert!(!shown.replace('\n', "").contains(is_hidden), "{shown:?}");
        for other in ["\u{1b}[2J", "\u{1b}[1;1H", "\u{1b}c", "\u{1b}", "\u{1b}[31"] {
            assert!(safe(other).starts_with("\\u{1b}"), "{other:?}");
        }
    }

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
