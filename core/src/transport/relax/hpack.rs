//! As much of HPACK (RFC 7541) as it takes to find a name that is written out in full.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, BytesMut};

/// Names `h2` refuses, with their place in HPACK's static table.
pub(super) const NAMES: [(&str, Option<u64>); 6] = [
    ("content-length", Some(28)),
    ("transfer-encoding", Some(57)),
    ("connection", None),
    ("keep-alive", None),
    ("proxy-connection", None),
    ("upgrade", None),
];

/// Names only go-micro clients send. Neither is in the static table, so the first block of a
/// connection that has one has it written out in full.
pub(super) const MARKS: [&str; 2] = ["x-content-type", "micro-from-service"];

static CODED_MARKS: LazyLock<[Vec<u8>; MARKS.len()]> = LazyLock::new(|| MARKS.map(huffman));

/// The names as they appear on the wire in HPACK's Huffman code.
static HUFFMAN: LazyLock<[Vec<u8>; NAMES.len()]> =
    LazyLock::new(|| NAMES.map(|(name, _)| huffman(name)));

/// Makes what this file shares in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&CODED_MARKS);
    LazyLock::force(&HUFFMAN);
}

/// HPACK's code for the characters of [`NAMES`] and [`MARKS`] (RFC 7541, appendix B).
pub(super) fn huffman(name: &str) -> Vec<u8> {
    let (mut bits, mut held, mut out) = (0u64, 0, Vec::new());
    for byte in name.bytes() {
        let (code, length) = match byte {
            b'-' => (0x16, 6),
            b'a' => (0x3, 5),
            b'c' => (0x4, 5),
            b'd' => (0x24, 6),
            b'e' => (0x5, 5),
            b'f' => (0x25, 6),
            b'g' => (0x26, 6),
            b'h' => (0x27, 6),
            b'i' => (0x6, 5),
            b'k' => (0x75, 7),
            b'l' => (0x28, 6),
            b'm' => (0x29, 6),
            b'n' => (0x2a, 6),
            b'o' => (0x7, 5),
            b'p' => (0x2b, 6),
            b'r' => (0x2c, 6),
            b's' => (0x8, 5),
            b't' => (0x9, 5),
            b'u' => (0x2d, 6),
            b'v' => (0x77, 7),
            b'x' => (0x79, 7),
            b'y' => (0x7a, 7),
            _ => return Vec::new(),
        };
        bits = bits << length | code;
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        out.push((bits << (8 - held)) as u8 | (0xff >> held));
    }
    out
}

/// One header field of a block, as far as it matters here.
pub(super) struct Representation<'a> {
    /// All its bytes.
    bytes: &'a [u8],
    /// Index in [`NAMES`] when the field has one of these names, written out or by static index.
    pub(super) renamed: Option<usize>,
    /// The name written out, and whether it is Huffman coded.
    name: Option<(bool, &'a [u8])>,
    /// First byte without the index, which keeps the kind of literal.
    pattern: u8,
    /// The bytes after the name.
    value: &'a [u8],
}

impl Representation<'_> {
    /// Bytes it takes.
    #[cfg(any(test, fuzzing))]
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Whether this field's name is one of [`MARKS`].
    pub(super) fn is_mark(&self) -> bool {
        match self.name {
            Some((true, name)) => CODED_MARKS.iter().any(|known| known == name),
            Some((false, name)) => MARKS.iter().any(|known| known.as_bytes() == name),
            None => false,
        }
    }
}

/// The fields of a header block; ends early where the block is malformed.
pub(super) fn representations(block: &[u8]) -> impl Iterator<Item = Representation<'_>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let start = rest;
        let first = *rest.first()?;
        let prefix = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = integer(&mut rest, prefix)?;
        let mut named = NAMES.iter().position(|(_, place)| *place == Some(index));
        let mut value = rest;
        let mut written = None;
        match prefix {
            // A whole static field: its value is empty.
            7 => value = &[0],
            // A change of the dynamic table's size.
            5 => named = None,
            _ => {
                if index == 0 {
                    let (coded, name) = string(&mut rest)?;
                    written = Some((coded, name));
                    named = if coded {
                        HUFFMAN.iter().position(|known| known == name)
                    } else {
                        NAMES.iter().position(|(known, _)| known.as_bytes() == name)
                    };
                    value = rest;
                }
                string(&mut rest)?;
                value = &value[..value.len() - rest.len()];
            }
        }
        // An indexed field becomes a literal that enters no table.
        let pattern = match prefix {
            7 => 0x00,
            6 => 0x40,
            _ => first & 0xf0,
        };
        let bytes = &start[..start.len() - rest.len()];
        Some(Representation { bytes, renamed: named, name: written, pattern, value })
    })
}

/// HPACK's integer with a prefix of `prefix` bits.
fn integer(rest: &mut &[u8], prefix: u32) -> Option<u64> {
    let limit = (1u64 << prefix) - 1;
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    let mut value = u64::from(*first) & limit;
    if value < limit {
        return Some(value);
    }
    for shift in (0..28).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// HPACK's string: whether it is Huffman coded, and its bytes.
fn string<'a>(rest: &mut &'a [u8]) -> Option<(bool, &'a [u8])> {
    let coded = rest.first()? & 0x80 != 0;
    let length = usize::try_from(integer(rest, 7)?).ok()?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some((coded, text))
}

/// The block with every name of [`NAMES`] renamed; what cannot be read stays as it is.
pub(super) fn rename(block: &[u8], renamed: &AtomicBool) -> BytesMut {
    let mut out = BytesMut::with_capacity(block.len() + 64);
    let mut read = 0;
    for field in representations(block) {
        read += field.bytes.len();
        let Some(index) = field.renamed else {
            out.extend_from_slice(field.bytes);
            continue;
        };
        let name = NAMES[index].0;
        out.put_u8(field.pattern);
        out.put_u8(name.len() as u8);
        out.put_u8(b'~');
        out.extend_from_slice(&name.as_bytes()[1..]);
        out.extend_from_slice(field.value);
        renamed.store(true, Ordering::Relaxed);
    }
    out.extend_from_slice(&block[read..]);
    out
}
