//! Keys in commands that are pasted into a shell.

use leasehold_core::printable;

/// The longest command that a text carries, in characters.
const LONGEST_CURE: usize = 1_000;

/// For a shell, on one line that shows nothing but itself. `None`: no argument can be this, or it
/// would be too long to be pasted. What cannot be shown is spelled `$'\033'`, as bash and zsh read
/// it.
pub(crate) fn quoted(bytes: &[u8]) -> Option<String> {
    if bytes.contains(&0) || bytes.len() > LONGEST_CURE {
        return None;
    }
    let plain = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| printable(text).at_most(usize::MAX).to_string() == **text);
    let quoted = match plain {
        Some(text) => format!("'{}'", text.replace('\'', r"'\''")),
        None => {
            let spelled = bytes.iter().map(|byte| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                other => format!("\\{other:03o}"),
            });
            format!("$'{}'", spelled.collect::<String>())
        }
    };
    (quoted.chars().count() <= LONGEST_CURE).then_some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shell reads back exactly the bytes, from what shows nothing but itself.
    #[test]
    fn a_key_in_a_cure_is_for_pasting() {
        for key in [
            &b"jobs/1"[..],
            b"jobs/it's",
            b"jobs/\x1b[2J\n\r\t",
            b"jobs/\xff\xfe7",
            b"jobs/$(reboot)`reboot`!\\'\"",
            b"jobs/\x1b'\\$(x)",
            "jobs/\u{202e}\u{9b}ä节".as_bytes(),
            b"-rf",
        ] {
            let quoted = quoted(key).unwrap();
            assert_eq!(printable(&quoted).at_most(2000).to_string(), quoted, "{quoted}");
            let script = format!("printf %s {quoted}");
            let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(output.stdout, key, "{quoted}");
        }
        for no_argument in [&b"jobs/\0"[..], &[b'x'; 2000], &[0xff; 400]] {
            assert_eq!(quoted(no_argument), None);
        }
    }

    proptest::proptest! {
        /// Nothing in it moves a cursor or ends the line, whatever the key.
        #[test]
        fn any_key_is_one_visible_line(key: Vec<u8>) {
            if let Some(quoted) = quoted(&key) {
                let shown = printable(&quoted).at_most(usize::MAX).to_string();
                proptest::prop_assert_eq!(shown, quoted);
            } else {
                proptest::prop_assert!(key.contains(&0) || key.len() > 200);
            }
        }
    }
}
