//! The bounds of what a server may send.
//!
//! The client library keeps a reply whole, and makes room for a string as soon as it is announced.
//! So the bytes are looked at before it gets them: only how long each reply is, not what it says.

use std::io;

/// The longest reply, in bytes. A lock is at most 1 MiB, and all else is shorter.
const LONGEST: u64 = 16 << 20;

/// The most parts of a reply. The slots of a large cluster are some ten thousand.
const MOST: u64 = 500_000;

/// The longest line that only announces, or is a number or a short text.
const LINE: u64 = 64 << 10;

/// Counts along with what a server sends.
#[derive(Debug)]
pub(crate) struct Bounds {
    state: State,
    /// Parts of this reply that are still to come, this one included.
    pending: u64,
    /// Bytes of this reply.
    length: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A part begins.
    Kind,
    /// The first line of a part.
    Line { kind: u8, number: u64, is_null: bool, length: u64 },
    /// What is left of a string, with the end of its line.
    Text { left: u64 },
}

impl Default for Bounds {
    fn default() -> Self {
        Self { state: State::Kind, pending: 1, length: 0 }
    }
}

impl Bounds {
    /// Takes in what came next.
    ///
    /// # Errors
    /// It is more than a server has to say, or nothing that a server says.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            if let State::Text { left } = self.state {
                let taken = left.min(bytes.len() as u64);
                let (_, rest) = bytes.split_at(usize::try_from(taken).expect("within the bytes"));
                bytes = rest;
                self.count(taken)?;
                self.state = State::Text { left: left - taken };
                if left == taken {
                    self.ends();
                }
                continue;
            }
            bytes = rest;
            self.count(1)?;
            self.byte(first)?;
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> io::Result<()> {
        let State::Line { kind, number, is_null, length } = self.state else {
            if !b"+-:$*_#,(!=%~>|".contains(&byte) {
                let what = "what answers is not a server of Redis or Valkey";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            self.state = State::Line { kind: byte, number: 0, is_null: false, length: 0 };
            return Ok(());
        };
        if byte == b'\n' {
            return self.announced(kind, number, is_null);
        }
        if length >= LINE {
            return Err(too_long());
        }
        let number = match byte {
            b'0'..=b'9' => number.saturating_mul(10).saturating_add(u64::from(byte - b'0')),
            _ => number,
        };
        let (is_null, length) = (is_null || byte == b'-', length + 1);
        self.state = State::Line { kind, number, is_null, length };
        Ok(())
    }

    /// The first line of a part is over.
    fn announced(&mut self, kind: u8, number: u64, is_null: bool) -> io::Result<()> {
        let parts = match kind {
            b'$' | b'=' | b'!' if !is_null => {
                if number > LONGEST {
                    return Err(too_long());
                }
                self.state = State::Text { left: number + 2 };
                return Ok(());
            }
            b'*' | b'~' | b'>' if !is_null => number,
            b'%' => number.saturating_mul(2),
            // Attributes precede what they are of.
            b'|' => number.saturating_mul(2).saturating_add(1),
            _ => 0,
        };
        self.pending = self.pending.saturating_add(parts);
        if self.pending > MOST {
            return Err(too_long());
        }
        self.ends();
        Ok(())
    }

    /// A part is over, and with the last one the reply.
    fn ends(&mut self) {
        self.state = State::Kind;
        self.pending -= 1;
        if self.pending == 0 {
            (self.pending, self.length) = (1, 0);
        }
    }

    fn count(&mut self, bytes: u64) -> io::Result<()> {
        self.length += bytes;
        if self.length > LONGEST + LINE { Err(too_long()) } else { Ok(()) }
    }
}

fn too_long() -> io::Error {
    let what = format!("what it sends is longer than {} MiB", LONGEST >> 20);
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes it whole and byte by byte.
    fn pass(bytes: &[u8]) -> io::Result<Bounds> {
        let mut whole = Bounds::default();
        let passed = whole.pass(bytes);
        let mut single = Bounds::default();
        let apart = bytes.iter().try_for_each(|byte| single.pass(&[*byte]));
        assert_eq!(passed.is_ok(), apart.is_ok());
        passed.map(|()| whole)
    }

    #[test]
    fn each_reply_is_counted_by_itself() {
        for reply in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":-12\r\n",
            "$3\r\na\nb\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*3\r\n$1\r\na\r\n*2\r\n:1\r\n+x\r\n$-1\r\n",
            "%1\r\n+a\r\n*1\r\n:1\r\n",
            "|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n",
            ">3\r\n+message\r\n$1\r\nc\r\n$5\r\nhello\r\n",
            "_\r\n",
            "#t\r\n",
            ",1.5\r\n",
            "(123456789012345678901234567890\r\n",
            "=7\r\ntxt:abc\r\n",
        ] {
            let many = reply.repeat(3);
            let bounds = pass(many.as_bytes()).unwrap();
            assert_eq!((bounds.pending, bounds.length), (1, 0), "{reply:?}");
            assert!(matches!(bounds.state, State::Kind), "{reply:?}");
        }
    }

    #[test]
    fn a_reply_that_is_too_long_ends_before_there_is_room_for_it() {
        for reply in [
            "$9999999999\r\n",
            "$99999999999999999999999999\r\n",
            "*9999999999\r\n",
            "%300000\r\n",
            "*400000\r\n*400000\r\n",
            ">1\r\n$16777217\r\n",
        ] {
            assert!(pass(reply.as_bytes()).is_err(), "{reply:?}");
        }
        assert!(pass(format!("+{}", "x".repeat(1 << 17)).as_bytes()).is_err());
        let text = format!("$1048576\r\n{}\r\n", "x".repeat(1 << 20));
        assert!(pass(format!("*15\r\n{}", text.repeat(15)).as_bytes()).is_ok());
        assert!(pass(format!("*17\r\n{}", text.repeat(17)).as_bytes()).is_err());
        assert!(pass(text.repeat(17).as_bytes()).is_ok(), "as many replies");
    }

    #[test]
    fn what_is_no_reply_ends_at_once() {
        for said in ["HTTP/1.1 400 Bad Request\r\n", "\u{15}\u{3}", "\r\n", "SSH-2.0"] {
            let error = pass(said.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("not a server of Redis"), "{error}");
        }
    }
}
