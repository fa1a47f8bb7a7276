//! As much of Redis' protocol as the proxy needs: where a command and where an answer ends.

/// Bytes on their way to become whole values: commands of a client, or answers of a server.
#[derive(Debug, Default)]
pub(super) struct Values {
    bytes: Vec<u8>,
}

impl Values {
    /// The values that are whole now.
    pub(super) fn whole(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.bytes.extend(bytes);
        let mut whole = Vec::new();
        while let Some(end) = end_of_value(&self.bytes, 0) {
            whole.push(self.bytes.drain(..end).collect());
        }
        whole
    }
}

/// Whether a server says it unasked.
pub(super) fn is_push(value: &[u8]) -> bool {
    value.first() == Some(&b'>')
}

/// Where the value ends that begins there; `None` if it is not whole.
fn end_of_value(bytes: &[u8], begin: usize) -> Option<usize> {
    let length = bytes[begin..].windows(2).position(|two| two == b"\r\n")?;
    let (line, end) = (&bytes[begin..begin + length], begin + length + 2);
    let kind = *line.first()?;
    // There is none of a length below zero; what is no number is one line.
    let count = || std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse().ok());
    let parts: usize = match kind {
        b'$' | b'=' | b'!' => {
            let end = count().map_or(end, |length: usize| end + length + 2);
            return (end <= bytes.len()).then_some(end);
        }
        b'*' | b'~' | b'>' => count().unwrap_or(0),
        b'%' => 2 * count().unwrap_or(0),
        // What describes the value that follows it.
        b'|' => 2 * count().unwrap_or(0) + 1,
        _ => 0,
    };
    (0..parts).try_fold(end, |end, _| end_of_value(bytes, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_however_they_arrive() {
        let values: [&[u8]; 9] = [
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":7\r\n",
            b"$-1\r\n",
            b"$4\r\na\r\nb\r\n",
            b"*-1\r\n",
            b">2\r\n+message\r\n*1\r\n:1\r\n",
            b"%1\r\n+k\r\n|1\r\n+a\r\n:1\r\n,1.5\r\n",
        ];
        let all = values.concat();
        let mut at_once = Values::default();
        assert_eq!(at_once.whole(&all), values);
        let mut slowly = Values::default();
        let seen: Vec<_> = all.iter().flat_map(|byte| slowly.whole(&[*byte])).collect();
        assert_eq!(seen, values);
        assert_eq!(values.iter().filter(|value| is_push(value)).count(), 1);
    }
}
