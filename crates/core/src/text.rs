//! Text that somebody else wrote, made fit to be shown.
//!
//! Identities, keys, messages of a store and of client libraries are chosen by others. Printed raw
//! they could move a terminal's cursor, hide text, or forge a line of a log. Everything foreign
//! goes through [`printable`] on its way to a terminal, a log, an error, a report or a picture.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The longest foreign text that is shown whole, in characters, unless
/// [`at_most`](Printable::at_most) says otherwise.
const LIMIT: usize = 256;

/// Shows `text` on one line: control characters, line separators, invisible and direction-changing
/// characters are escaped as in Rust's literals (`\n`, `\u{1b}`), and what is longer than 256
/// characters is cut, with the number of characters that are left out.
///
/// Nothing else is changed, so that ordinary names, of whatever script, look as they are. The
/// result is meant for people: it cannot be turned back, since a backslash stays as it is.
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

/// Whether this character is not seen, or changes how its neighbours are seen: what [`printable`]
/// never shows raw.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{70f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{fffe}'..='\u{ffff}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The longest URL that is taken apart, in bytes; a longer one is taken out whole.
const LONGEST_URL: usize = 1024;

/// Words that a secret follows, in whatever case.
const BEFORE_SECRETS: [&str; 6] =
    ["password=", "passwd=", "passphrase=", "secret=", "bearer ", "authorization: basic "];

/// `text` without the secrets that can be told by their form: the logins of URLs
/// (`scheme://user:password@`, also where a reserved character in the password hides its end), and
/// what follows `password=`, `secret=` or `Bearer`.
///
/// This is the last net, for messages of client libraries, which quote what they cannot use. It
/// leaves `…` where something was, and may take more than the secret.
///
/// ```
/// # use leasehold_core::redacted;
/// let quoted = "invalid proxy http://me:s3cret@proxy:3128/: no route";
/// assert_eq!(redacted(quoted), "invalid proxy http://…@proxy:3128/: no route");
/// assert_eq!(redacted("https://10.0.0.1:6443: refused"), "https://10.0.0.1:6443: refused");
/// ```
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    let mut left = String::new();
    let (mut at, mut kept) = (0, 0);
    // One pass: a hostile server chooses the length.
    while let Some(next) = lower[at..].find([':', '=', ' ']).map(|found| at + found) {
        let (start, length) = if lower[next..].starts_with("://") {
            (next + 3, login_length(&text[next + 3..]))
        } else {
            (next + 1, value_length(&lower[..=next], &text[next + 1..]))
        };
        at = start + length;
        if length > 0 {
            left.push_str(&text[kept..start]);
            left.push('…');
            kept = at;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    left.push_str(&text[kept..]);
    Cow::Owned(left)
}

/// How much of `after` is the value of what `before` ends with, if that is named a secret.
fn value_length(before: &str, after: &str) -> usize {
    let ends = |character: char| ends_url(character) || "&,;)]}…".contains(character);
    if !BEFORE_SECRETS.iter().any(|word| before.ends_with(word)) {
        return 0;
    }
    after.find(ends).unwrap_or(after.len())
}

/// Separates a URL from the text around it.
fn ends_url(character: char) -> bool {
    character.is_whitespace() || "\"'`<>".contains(character)
}

/// How much of what follows `://` is a login; 0 also if it was taken out before.
fn login_length(after: &str) -> usize {
    if after.starts_with('…') {
        return 0;
    }
    let near = &after[..after.floor_char_boundary(LONGEST_URL)];
    let url = near.find(ends_url).map_or(near, |end| &near[..end]);
    if url.len() == near.len() && near.len() < after.len() && url.contains(['@', '%', ':']) {
        return after.find(ends_url).unwrap_or(after.len());
    }
    let encoded = url.match_indices("%40").last().map(|(at, _)| at);
    if let Some(length) = url.rfind('@').max(encoded) {
        return length;
    }
    // A login whose end is missing: what would be the port is no number.
    let authority = url.find(['/', '?', '#']).map_or(url, |end| &url[..end]);
    let is_login = authority.split(',').any(|host| {
        let host = host.rsplit_once(']').map_or(host, |(_, after)| after);
        let port = host.split_once(':').map_or("", |(_, port)| port);
        let port = port.trim_end_matches([')', '.', ';', ':', '}']);
        !port.bytes().all(|byte| byte.is_ascii_digit())
    });
    if is_login { authority.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_and_what_is_named_a_secret_are_taken_out() {
        for (text, shown) in [
            ("no secret at all", "no secret at all"),
            ("x redis://:S@h:1/k y", "x redis://…@h:1/k y"),
            ("\"etcd://u:S%40h/x\" is", "\"etcd://…%40h/x\" is"),
            ("etcd://u:S/S@h/x", "etcd://…@h/x"),
            ("etcd://u:S@S@h/x", "etcd://…@h/x"),
            ("etcd://u:S", "etcd://…"),
            ("etcd://a:1,u:S@h:1/x", "etcd://…@h:1/x"),
            ("a http://u:S@p, b http://u:S@p", "a http://…@p, b http://…@p"),
            ("https://[::1]:6443/x, https://h: no", "https://[::1]:6443/x, https://h: no"),
            ("(https://h:6443)", "(https://h:6443)"),
            ("Authorization: Bearer S.S-S", "Authorization: Bearer …"),
            ("--oidc-client-secret=S, x", "--oidc-client-secret=…, x"),
            ("?PASSWORD=S&x=1", "?PASSWORD=…&x=1"),
            ("leading token=7", "leading token=7"),
            ("ä://ü:S@ö", "ä://…@ö"),
        ] {
            assert_eq!(redacted(text), shown);
            assert_eq!(redacted(&redacted(text)), shown, "taken out once");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_too_odd_to_be_shown(text: String) {
            let shown = printable(&redacted(&text)).to_string();
            proptest::prop_assert!(!shown.contains(is_hidden));
        }

        #[test]
        fn a_login_never_comes_through(
            password in r"[ -~&&[^ '\x22`<>]]{0,12}S3CRET[ -~&&[^ '\x22`<>]]{0,12}",
            after in "[ -~]{0,9}",
        ) {
            let shown = format!("cannot use etcd://me:{password}@h:2379/x{after}");
            let shown = redacted(&shown).into_owned();
            proptest::prop_assert!(!shown.contains("S3CRET"), "{shown}");
        }
    }

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
