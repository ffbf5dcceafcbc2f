//! Where in a segment each topic's records are.
//!
//! Made while a segment is written, and kept in a file beside one that is full:
//!
//! ```text
//! "microidx" version:u32 crc:u32 base:u64 length:u64 next:u64 time:u64, then for each topic
//! topic_length:u16 topic count:u32, then `count` times sequence-base:u32 offset:u32
//! ```
//!
//! It can be made again from the segment, so one that does not read is no loss.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use super::format::{Record, u32_at};

const MAGIC: &[u8; 8] = b"microidx";
const VERSION: u32 = 1;
const HEAD: usize = 48;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Its sequence number, less that of the segment's first.
    pub(super) number: u32,
    /// Of its first byte in the segment.
    pub(super) offset: u32,
}

/// What else is known of a segment that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Sequence number of its first record.
    pub(super) base: u64,
    /// Its bytes.
    pub(super) length: u64,
    /// Sequence number behind that of its last record.
    pub(super) next: u64,
    /// Time of its last record.
    pub(super) time: u64,
}

/// Positions by topic, each in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    topics: BTreeMap<Bytes, Vec<Position>>,
}

impl Index {
    /// Adds a record behind all others.
    pub(super) fn add(&mut self, topic: &Bytes, position: Position) {
        match self.topics.get_mut(topic) {
            Some(positions) => positions.push(position),
            // What was read shares memory with a whole window.
            None => {
                self.topics.insert(Bytes::copy_from_slice(topic), vec![position]);
            }
        }
    }

    /// As [`add`](Self::add), of a record that was read.
    pub(super) fn add_record(&mut self, base: u64, offset: u32, record: &Record) {
        let number = (record.sequence - base) as u32;
        self.add(&record.topic, Position { number, offset });
    }

    /// Where all records are, in order.
    pub(super) fn offsets(&self) -> Vec<u32> {
        let positions = self.topics.values().flatten();
        let mut offsets: Vec<_> = positions.map(|position| position.offset).collect();
        offsets.sort_unstable();
        offsets
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.topics.values().map(Vec::len).sum()
    }

    /// Every topic, with the number of its last record.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&Bytes, u32)> {
        self.topics.iter().filter_map(|(topic, positions)| Some((topic, positions.last()?.number)))
    }

    /// Up to `most` positions of `topic`, from the first whose number is `number` or higher.
    pub(super) fn find(&self, topic: &[u8], number: u32, most: usize) -> &[Position] {
        let Some(positions) = self.topics.get(topic) else { return &[] };
        let start = positions.partition_point(|position| position.number < number);
        &positions[start..positions.len().min(start.saturating_add(most))]
    }

    /// As a file, of a segment of that extent.
    pub(super) fn write(&self, extent: Extent) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(0);
        out.put_u64_le(extent.base);
        out.put_u64_le(extent.length);
        out.put_u64_le(extent.next);
        out.put_u64_le(extent.time);
        for (topic, positions) in &self.topics {
            out.put_u16_le(topic.len() as u16);
            out.put_slice(topic);
            out.put_u32_le(positions.len() as u32);
            for position in positions {
                out.put_u32_le(position.number);
                out.put_u32_le(position.offset);
            }
        }
        let crc = crc32fast::hash(&out[16..]);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// How many records of each topic have one of these numbers.
    pub(super) fn count_within(&self, base: u64, numbers: Range<u64>) -> BTreeMap<Bytes, u64> {
        let is_within =
            |position: &&Position| numbers.contains(&(base + u64::from(position.number)));
        let count = |positions: &Vec<Position>| positions.iter().filter(is_within).count() as u64;
        let counts = self.topics.iter().map(|(topic, positions)| (topic.clone(), count(positions)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// The index in a file, if it is one of the segment with that base and length.
    pub(super) fn read(bytes: Bytes, base: u64, length: u64) -> Option<(Self, Extent)> {
        Self::read_any(bytes).filter(|(_, extent)| (extent.base, extent.length) == (base, length))
    }

    /// The index in a file, of whichever segment.
    pub(super) fn read_any(mut bytes: Bytes) -> Option<(Self, Extent)> {
        let head = bytes.get(..HEAD)?;
        if &head[..8] != MAGIC
            || u32_at(head, 8) != VERSION
            || u32_at(head, 12) != crc32fast::hash(&bytes[16..])
        {
            return None;
        }
        bytes.advance(16);
        let extent = Extent {
            base: bytes.get_u64_le(),
            length: bytes.get_u64_le(),
            next: bytes.get_u64_le(),
            time: bytes.get_u64_le(),
        };
        let mut topics = BTreeMap::new();
        while !bytes.is_empty() {
            let len = bytes.try_get_u16_le().ok()?.into();
            if bytes.len() < len {
                return None;
            }
            let topic = Bytes::copy_from_slice(&bytes.split_to(len));
            let count = bytes.try_get_u32_le().ok()?;
            if bytes.len() / 8 < count as usize {
                return None;
            }
            let positions = (0..count)
                .map(|_| Position { number: bytes.get_u32_le(), offset: bytes.get_u32_le() });
            topics.insert(topic, positions.collect());
        }
        Some((Self { topics }, extent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for number in 0..10 {
            let topic = if number % 3 == 0 { "a" } else { "b" };
            index.add(&topic.into(), Position { number, offset: number * 100 });
        }
        index
    }

    #[test]
    fn positions_are_found_from_a_number_on() {
        let index = index();
        let numbers = |topic: &str, from, most| -> Vec<u32> {
            index.find(topic.as_bytes(), from, most).iter().map(|at| at.number).collect()
        };
        assert_eq!(numbers("a", 0, 9), [0, 3, 6, 9]);
        assert_eq!(numbers("a", 4, 1), [6]);
        assert!(numbers("a", 10, 9).is_empty());
        assert!(numbers("c", 0, 9).is_empty());
    }

    #[test]
    fn a_file_reads_as_it_was_written_and_a_broken_one_not_at_all() {
        let extent = Extent { base: 5, length: 1000, next: 15, time: 7 };
        let bytes = index().write(extent);
        assert_eq!(Index::read(bytes.clone().into(), 5, 1000), Some((index(), extent)));
        assert_eq!(Index::read(bytes.clone().into(), 5, 1001), None);
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 4;
            assert_eq!(Index::read(broken.into(), 5, 1000), None, "byte {at}");
            assert_eq!(Index::read(bytes[..at].to_vec().into(), 5, 1000), None, "cut at {at}");
        }
    }
}
