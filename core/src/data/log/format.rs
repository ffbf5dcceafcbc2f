//! How a segment looks on the disk. All numbers are little-endian.
//!
//! ```text
//! segment   head batch batch …
//! head      "microlog" version:u32 salt:u32 base:u64 zero:u32 crc:u32
//! batch     marker:u32 crc:u32 length:u32 count:u32 first:u64 synced:u64, then `count` records in `length` bytes
//! record    length:u32 crc:u32 time:u64 topic_length:u16 flags:u16, then topic and body in `length` bytes
//! ```
//!
//! Sequence numbers of a batch's records follow each other from `first`. `synced` is how many bytes of the segment were known to
//! be on the disk when the batch was written, by which recovery tells a tail that was being written from one that was
//! acknowledged. Checksums begin with the segment's salt, so that nothing in a message looks like a batch, and those of records
//! with their sequence number, so that one is never taken for another.

use bytes::{BufMut, Bytes};

/// Length of a segment's head.
pub(super) const HEAD: usize = 32;
/// Length of what comes before a batch's records.
pub(super) const BATCH: usize = 32;
/// Length of what comes before a record's topic and body.
pub(super) const RECORD: usize = 20;

const MAGIC: &[u8; 8] = b"microlog";
const VERSION: u32 = 1;
/// First bytes of a batch: no text, and rare in numbers.
const MARKER: [u8; 4] = [0xb7, 0x01, 0xe5, 0xa9];

/// Head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) salt: u32,
    /// Sequence number of its first record.
    pub(super) base: u64,
}

/// What is wrong with bytes that should be a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoHead {
    /// They are none.
    Broken,
    /// They are, of a version that this one does not read.
    Version(u32),
}

impl Head {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(self.salt);
        out.put_u64_le(self.base);
        out.put_u32_le(0);
        let crc = crc32fast::hash(&out[start..]);
        out.put_u32_le(crc);
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, NoHead> {
        let bytes: &[u8; HEAD] =
            bytes.get(..HEAD).and_then(|head| head.try_into().ok()).ok_or(NoHead::Broken)?;
        if &bytes[..8] != MAGIC || crc32fast::hash(&bytes[..28]) != u32_at(bytes, 28) {
            return Err(NoHead::Broken);
        }
        match u32_at(bytes, 8) {
            VERSION => Ok(Self { salt: u32_at(bytes, 12), base: u64_at(bytes, 16) }),
            other => Err(NoHead::Version(other)),
        }
    }
}

/// What comes before the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHead {
    /// Bytes of its records.
    pub(super) length: u32,
    pub(super) count: u32,
    /// Sequence number of its first record.
    pub(super) first: u64,
    /// Bytes of the segment that were on the disk before.
    pub(super) synced: u64,
}

impl BatchHead {
    /// Writes over the [`BATCH`] bytes at the start of `out`, which were kept free.
    pub(super) fn write(self, salt: u32, out: &mut [u8]) {
        let mut rest = &mut out[8..BATCH];
        rest.put_u32_le(self.length);
        rest.put_u32_le(self.count);
        rest.put_u64_le(self.first);
        rest.put_u64_le(self.synced);
        let crc = salted(salt, &out[8..BATCH]);
        out[..4].copy_from_slice(&MARKER);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    pub(super) fn read(salt: u32, bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BATCH] = bytes.get(..BATCH)?.try_into().ok()?;
        let is_one = bytes[..4] == MARKER && salted(salt, &bytes[8..]) == u32_at(bytes, 4);
        is_one.then(|| Self {
            length: u32_at(bytes, 8),
            count: u32_at(bytes, 12),
            first: u64_at(bytes, 16),
            synced: u64_at(bytes, 24),
        })
    }

    /// Where in `bytes` the next head of a batch is, from `at` on.
    pub(super) fn find(salt: u32, bytes: &[u8], at: usize) -> Option<(usize, Self)> {
        let mut at = at;
        while at + BATCH <= bytes.len() {
            let found = bytes[at..].iter().position(|byte| *byte == MARKER[0])?;
            at += found;
            if let Some(head) = Self::read(salt, &bytes[at..]) {
                return Some((at, head));
            }
            at += 1;
        }
        None
    }
}

/// A record as it is read: its body shares memory with its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Number of this record: one more than that of the record before it, whatever its topic.
    pub(crate) sequence: u64,
    /// When it was appended, in milliseconds since 1970; never less than that of the record before it.
    pub(crate) time: u64,
    pub(crate) topic: Bytes,
    pub(crate) body: Bytes,
}

impl Record {
    /// Bytes on the disk of a record with `topic` and `body`.
    pub(super) fn size(topic: usize, body: usize) -> usize {
        RECORD + topic + body
    }

    /// Writes one; its body is `parts`, one after the other.
    pub(super) fn write(
        salt: u32,
        sequence: u64,
        time: u64,
        topic: &[u8],
        parts: &[Bytes],
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let length = topic.len() + parts.iter().map(Bytes::len).sum::<usize>();
        out.put_u32_le(length as u32);
        out.put_u32_le(0);
        out.put_u64_le(time);
        out.put_u16_le(topic.len() as u16);
        out.put_u16_le(0);
        out.put_slice(topic);
        for part in parts {
            out.put_slice(part);
        }
        let crc = checksum(salt, sequence, &out[start..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The length of the record that begins with `bytes`, as it says itself: not to be trusted before [`read`](Self::read).
    pub(super) fn length(bytes: &[u8]) -> Option<usize> {
        Some(RECORD + u32_at(bytes.get(..4)?, 0) as usize)
    }

    /// The record `sequence` at the start of `bytes`, where it is whole.
    pub(super) fn read(salt: u32, sequence: u64, bytes: &Bytes) -> Option<Self> {
        let length = Self::length(bytes)?;
        let whole = bytes.get(..length)?;
        if checksum(salt, sequence, whole) != u32_at(whole, 4) {
            return None;
        }
        let body = RECORD + usize::from(u16_at(whole, 16));
        (body <= length).then(|| Self {
            sequence,
            time: u64_at(whole, 8),
            topic: bytes.slice(RECORD..body),
            body: bytes.slice(body..length),
        })
    }
}

/// Over all of a record but the checksum itself.
fn checksum(salt: u32, sequence: u64, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&sequence.to_le_bytes());
    hasher.update(&record[..4]);
    hasher.update(&record[8..]);
    hasher.finalize()
}

fn salted(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// The number at `at`, which is within.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap_or_default())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written_and_as_no_other() {
        let mut out = Vec::new();
        let parts = [Bytes::from_static(b"head"), Bytes::from_static(b"body")];
        Record::write(7, 42, 1000, b"orders", &parts, &mut out);
        assert_eq!(out.len(), Record::size(6, 8));
        let bytes = Bytes::from(out.clone());
        let record = Record::read(7, 42, &bytes).unwrap();
        assert_eq!((&record.topic[..], &record.body[..]), (&b"orders"[..], &b"headbody"[..]));
        assert_eq!((record.sequence, record.time), (42, 1000));
        assert_eq!(Record::read(7, 43, &bytes), None);
        assert_eq!(Record::read(8, 42, &bytes), None);
        for at in 0..out.len() {
            for bit in 0..8 {
                let mut broken = out.clone();
                broken[at] ^= 1 << bit;
                assert_eq!(Record::read(7, 42, &Bytes::from(broken)), None, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_batch_in_a_message_is_none() {
        let head = BatchHead { length: 5, count: 1, first: 9, synced: 32 };
        let mut bytes = vec![0; 100];
        head.write(1, &mut bytes[50..]);
        assert_eq!(BatchHead::find(1, &bytes, 0), Some((50, head)));
        assert_eq!(BatchHead::find(2, &bytes, 0), None);
        assert_eq!(BatchHead::find(1, &bytes, 51), None);
    }

    #[test]
    fn a_head_of_a_newer_version_is_told_apart_from_a_broken_one() {
        let mut bytes = Vec::new();
        let head = Head { salt: 3, base: 1 };
        head.write(&mut bytes);
        assert_eq!(Head::read(&bytes), Ok(head));
        bytes[8] = 2;
        assert_eq!(Head::read(&bytes), Err(NoHead::Broken));
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Head::read(&bytes), Err(NoHead::Version(2)));
        assert_eq!(Head::read(&bytes[..31]), Err(NoHead::Broken));
    }
}
