//! As much of HTTP/2 as the proxy needs: frames, their streams, and the replies that are to be
//! lost.
//!
//! A lost header block would leave the two ends of a connection with unlike compression tables. So
//! the proxy tells the server, in the client's own settings, that the table is empty: every block
//! then stands for itself. And the bytes of a lost reply are credited to the server, or its window
//! would shrink for good.

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;

/// The setting `SETTINGS_HEADER_TABLE_SIZE`, as zero.
const NO_TABLE: [u8; 6] = [0, 1, 0, 0, 0, 0];

/// One frame, with its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame(Vec<u8>);

/// Bytes on their way to become frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    begun: bool,
}

impl Frame {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn kind(&self) -> u8 {
        self.0[3]
    }

    pub(super) fn stream(&self) -> u32 {
        u32::from_be_bytes([self.0[5] & 0x7f, self.0[6], self.0[7], self.0[8]])
    }

    /// Whether it begins a request; from the client only.
    pub(super) fn begins_request(&self) -> bool {
        self.kind() == HEADERS
    }

    /// Whether it is part of a reply, and not of the keeping of stream and connection.
    pub(super) fn is_reply(&self) -> bool {
        matches!(self.kind(), DATA | HEADERS | CONTINUATION)
    }

    /// What the client would tell the server for having taken this frame's bytes.
    pub(super) fn credit(&self) -> Option<Self> {
        let length = u32::try_from(self.0.len() - HEADER).ok().filter(|length| *length > 0)?;
        if self.kind() != DATA {
            return None;
        }
        let mut credit = vec![0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0];
        credit.extend(length.to_be_bytes());
        Some(Self(credit))
    }

    /// Whether these bytes are part of it.
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        self.0[HEADER..].windows(bytes.len()).any(|window| window == bytes)
    }

    /// Settings, with an empty compression table.
    fn without_table(mut self) -> Self {
        let is_settings = self.kind() == SETTINGS && self.0[4] & ACK == 0;
        if is_settings {
            self.0.extend(NO_TABLE);
            let length = u32::try_from(self.0.len() - HEADER).unwrap_or_default().to_be_bytes();
            self.0[..3].copy_from_slice(&length[1..]);
        }
        self
    }
}

impl Frames {
    /// Bytes from the client: what can go on now. The preface goes with the first frame.
    pub(super) fn of_client(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<Frame>) {
        self.bytes.extend(bytes);
        let mut preface = Vec::new();
        if !self.begun {
            if self.bytes.len() < PREFACE.len() {
                return (preface, Vec::new());
            }
            self.begun = true;
            preface = self.bytes.drain(..PREFACE.len()).collect();
        }
        (preface, self.whole().into_iter().map(Frame::without_table).collect())
    }

    /// Bytes from the server: the frames that are whole now.
    pub(super) fn of_server(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.bytes.extend(bytes);
        // So that a request, too, refers to no earlier one, and shows its path.
        self.whole().into_iter().map(Frame::without_table).collect()
    }

    fn whole(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while self.bytes.len() >= HEADER {
            let length = u32::from_be_bytes([0, self.bytes[0], self.bytes[1], self.bytes[2]]);
            let Some(end) = usize::try_from(length).ok().map(|length| HEADER + length) else {
                break;
            };
            if self.bytes.len() < end {
                break;
            }
            frames.push(Frame(self.bytes.drain(..end).collect()));
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, stream], payload].concat()
    }

    #[test]
    fn frames_are_told_apart_however_they_arrive() {
        let bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, &[]), frame(HEADERS, 3, b"xyz")].concat();
        let mut frames = Frames::default();
        let mut seen = Vec::new();
        let mut preface = Vec::new();
        for byte in bytes {
            let (first, whole) = frames.of_client(&[byte]);
            preface.extend(first);
            seen.extend(whole);
        }
        assert_eq!(preface, PREFACE);
        assert_eq!(seen[0].bytes(), frame(SETTINGS, 0, &NO_TABLE));
        assert_eq!((seen[1].stream(), seen[1].begins_request()), (3, true));
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn only_data_is_credited() {
        let whole = |bytes: &[u8]| Frames::default().of_server(bytes).remove(0);
        let credit = whole(&frame(DATA, 5, b"abcd")).credit().unwrap();
        assert_eq!(credit.bytes(), frame(WINDOW_UPDATE, 0, &[0, 0, 0, 4]));
        assert_eq!(whole(&frame(HEADERS, 5, b"abcd")).credit(), None);
        assert_eq!(whole(&frame(DATA, 5, b"")).credit(), None);
        assert!(!whole(&frame(WINDOW_UPDATE, 0, &[0; 4])).is_reply());
    }
}
