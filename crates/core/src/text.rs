//! Text that somebody else wrote, made fit to be shown.
//!
//! Identities, keys, messages of a store and of client libraries are chosen by others. Printed raw they could move a
//! terminal's cursor, hide text, or forge a line of a log. Everything foreign goes through [`printable`] on its way to
//! a terminal, a log, an error, a report or a picture.

use std::fmt::{self, Write};

/// The longest foreign text that is shown whole, in characters, unless [`at_most`](Printable::at_most) says otherwise.
const LIMIT: usize = 256;

/// Shows `text` on one line: control characters, line separators, invisible and direction-changing characters are
/// escaped as in Rust's literals (`\n`, `\u{1b}`), and what is longer than 256 characters is cut, with the number of
/// characters that are left out.
///
/// Nothing else is changed, so that ordinary names, of whatever script, look as they are. The result is meant for
/// people: it cannot be turned back, since a backslash stays as it is.
///
/// ```
/// # use leasehold_core::printable;
/// assert_eq!(printable("node-ä").to_string(), "node-ä");
/// assert_eq!(printable("a\u{1b}[2Jb\n").to_string(), r"a\u{1b}[2Jb\n");
/// assert_eq!(printable("abcdef").at_most(4).to_string(), "abcd… (2 more characters)");
/// ```
#[must_use]
pub fn printable(text: &str) -> Printable<'_> {
    Printable { text, limit: LIMIT }
}

/// Foreign text as it may be shown; see [`printable`].
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a> {
    text: &'a str,
    limit: usize,
}

impl Printable<'_> {
    /// The same, cut after this many characters of the original.
    #[must_use]
    pub fn at_most(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text.chars();
        for character in rest.by_ref().take(self.limit) {
            match character {
                '\n' | '\r' | '\t' => write!(f, "{}", character.escape_default())?,
                _ if is_hidden(character) => write!(f, "{}", character.escape_unicode())?,
                _ => f.write_char(character)?,
            }
        }
        match rest.count() {
            0 => Ok(()),
            1 => f.write_str("… (1 more character)"),
            left => write!(f, "… ({left} more characters)"),
        }
    }
}

/// Not seen, or changes how what stands around it is seen.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_hides_or_breaks_a_line_comes_through() {
        for hostile in [
            "\u{1b}[31m",
            "\u{7}",
            "\r",
            "\n",
            "\u{9b}2J",
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
            "\0",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{e0041}",
            "\u{ad}",
        ] {
            let shown = printable(&format!("a{hostile}b")).to_string();
            assert!(!shown.contains(hostile), "{shown:?}");
            assert!(shown.starts_with('a') && shown.ends_with('b'), "{shown:?}");
            assert!(shown.chars().all(|shown| !is_hidden(shown)), "{shown:?}");
        }
    }

    #[test]
    fn ordinary_names_look_as_they_are() {
        for name in ["node-a", "worker 7", "näyttö", "节点", "узел", r"C:\x", "a/b.c_d@e"] {
            assert_eq!(printable(name).to_string(), name);
        }
    }

    #[test]
    fn what_is_long_is_cut_and_counted() {
        let long = "x".repeat(1000);
        let shown = printable(&long).to_string();
        assert_eq!(shown, format!("{}… (744 more characters)", "x".repeat(256)));
        assert_eq!(printable("äbc").at_most(2).to_string(), "äb… (1 more character)");
        assert_eq!(printable("").to_string(), "");
    }
}
