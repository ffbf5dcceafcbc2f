//! Messages on lines: as they are while they are small, else as what they were made of.

use bytes::Bytes;

use crate::line::Line;

/// Messages up to this many bytes stand on a line as they are.
pub const INLINE: usize = 4096;

/// A message as a line tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// `payload=…`
    Inline(Bytes),
    /// `size=… sum=…`: how long it was and its [`adler32`].
    Large {
        /// Bytes.
        size: usize,
        /// Checksum of them.
        sum: u32,
    },
}

impl Payload {
    /// How a line tells `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE {
            Self::Inline(Bytes::copy_from_slice(bytes))
        } else {
            Self::Large { size: bytes.len(), sum: adler32(bytes) }
        }
    }

    /// Puts it on a line.
    pub fn onto(&self, line: Line) -> Line {
        match self {
            Self::Inline(bytes) => line.with_bytes("payload", bytes),
            Self::Large { size, sum } => line.with("size", size).with("sum", sum),
        }
    }

    /// What an answer tells; `None` when it tells of no message.
    pub fn told(line: &Line) -> Option<Self> {
        match (line.bytes("payload"), line.number("size"), line.number("sum")) {
            (Some(bytes), _, _) => Some(Self::Inline(Bytes::copy_from_slice(bytes))),
            (None, Some(size), Some(sum)) => Some(Self::Large {
                size: usize::try_from(size).ok()?,
                sum: u32::try_from(sum).ok()?,
            }),
            _ => None,
        }
    }

    /// The message a request asks for: `payload=…`, or `size=… fill=…` as [`pattern`] makes it; empty
    /// without either.
    pub fn wanted(line: &Line) -> Bytes {
        match (line.bytes("payload"), line.number("size")) {
            (Some(bytes), _) => Bytes::copy_from_slice(bytes),
            (None, Some(size)) => {
                let fill = line.number("fill").unwrap_or_default();
                pattern(usize::try_from(size).unwrap_or_default(), fill as u8)
            }
            (None, None) => Bytes::new(),
        }
    }
}

/// `size` bytes of which the one at index i is (`fill` + i) modulo 256.
pub fn pattern(size: usize, fill: u8) -> Bytes {
    (0..size).map(|index| fill.wrapping_add(index as u8)).collect()
}

/// The checksum of RFC 1950.
pub fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    // So many additions cannot overflow.
    for chunk in bytes.chunks(5552) {
        for &byte in chunk {
            a += u32::from(byte);
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_rfc() {
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
        assert_eq!(adler32(b""), 1);
        let (mut a, mut b) = (1_u64, 0_u64);
        let large = pattern(1_000_000, 7);
        for &byte in &large {
            a = (a + u64::from(byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!(u64::from(adler32(&large)), b << 16 | a);
    }

    #[test]
    fn a_pattern_counts_up_from_its_fill() {
        assert_eq!(pattern(3, 254)[..], [254, 255, 0]);
        let line = Line::parse("call size=3 fill=254").unwrap();
        assert_eq!(Payload::wanted(&line)[..], [254, 255, 0]);
    }

    #[test]
    fn only_small_messages_stand_on_a_line() {
        for (bytes, inline) in [(pattern(INLINE, 1), true), (pattern(INLINE + 1, 1), false)] {
            let payload = Payload::of(&bytes);
            assert_eq!(matches!(payload, Payload::Inline(_)), inline);
            let line = Line::parse(&payload.onto(Line::new("result")).to_string()).unwrap();
            assert_eq!(Payload::told(&line), Some(payload));
        }
        assert_eq!(Payload::told(&Line::new("result")), None);
    }
}
