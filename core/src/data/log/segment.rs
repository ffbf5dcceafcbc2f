//! One file of the log.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::format::{BATCH, HEAD, Head, Record};
use super::index::{Extent, Index, Position};
use super::scan::{Scanned, Unreadable, scan};
use crate::data::disk::{Blob, Disk};

/// Bytes read at once where the next record is near.
const NEAR: usize = 64 << 10;
/// Bytes read at once where it is not.
const FAR: usize = 4 << 10;

/// A file of the log that is read.
pub(super) struct Segment {
    pub(super) head: Head,
    pub(super) blob: Arc<dyn Blob>,
}

/// Why a record that was acknowledged cannot be read.
#[derive(Debug)]
pub(super) enum Lost {
    Io(io::Error),
    /// It is damaged at this offset of the segment with this base.
    Damaged(u64, u64),
}

/// Name of the segment with this base.
pub(in crate::data) fn name(base: u64) -> String {
    format!("{base:020}.log")
}

/// Name of the file that has its index.
pub(in crate::data) fn index_name(base: u64) -> String {
    format!("{base:020}.index")
}

/// Name of what is to take the place of the segment with this base.
pub(super) fn compact_name(base: u64) -> String {
    format!("{base:020}.compact")
}

/// The base of the segment or index with this name.
pub(in crate::data) fn base(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

impl Segment {
    /// Makes one, of which a power cut leaves nothing or all.
    pub(super) fn create(disk: &dyn Disk, base: u64) -> io::Result<Arc<Self>> {
        let head = Head { salt: fastrand::u32(..), base };
        let blob = disk.create(&name(base))?;
        let mut bytes = Vec::with_capacity(HEAD);
        head.write(&mut bytes);
        blob.write_at(&bytes, 0)?;
        blob.sync()?;
        disk.sync()?;
        Ok(Arc::new(Self { head, blob }))
    }

    /// Reads all of one.
    pub(super) fn scan(
        disk: &dyn Disk,
        base: u64,
    ) -> Result<(Arc<Self>, Scanned, Index), Unreadable> {
        let blob = disk.open(&name(base))?;
        let mut index = Index::default();
        let scanned = scan(&*blob, |offset, record| index.add_record(base, offset, record))?;
        if scanned.head.base != base {
            return Err(Unreadable::Damaged(0));
        }
        Ok((Arc::new(Self { head: scanned.head, blob }), scanned, index))
    }

    /// One that is full, believing its index; none where that cannot be believed.
    pub(super) fn open(
        disk: &dyn Disk,
        base: u64,
    ) -> io::Result<Option<(Arc<Self>, Extent, Index)>> {
        let blob = disk.open(&name(base))?;
        let mut head = [0; HEAD];
        blob.read_at(&mut head, 0)?;
        let Ok(head) = Head::read(&head) else { return Ok(None) };
        let found = read_index(disk, base, blob.len()?)?;
        Ok(found.map(|(index, extent)| (Arc::new(Self { head, blob }), extent, index)))
    }

    /// Records at `positions`, which are in order, until they have `most` bytes; at least one.
    pub(super) fn read(&self, positions: &[Position], most: usize) -> Result<Vec<Record>, Lost> {
        let len = self.blob.len().map_err(Lost::Io)?;
        let mut records = Vec::new();
        let mut chunk = (0, Bytes::new());
        let mut bytes = 0;
        for (nth, position) in positions.iter().enumerate() {
            let offset = u64::from(position.offset);
            let lost = || Lost::Damaged(self.head.base, offset);
            let is_near = positions
                .get(nth + 1)
                .is_some_and(|next| (next.offset - position.offset) as usize <= NEAR / 2);
            let mut get = |least: usize| -> Result<Bytes, Lost> {
                let (start, held) = &chunk;
                let end = start + held.len() as u64;
                if offset < *start || offset + least as u64 > end {
                    let left = len.checked_sub(offset).filter(|left| *left >= least as u64);
                    let left = left.ok_or_else(lost)? as usize;
                    let mut fresh = vec![0; least.max(if is_near { NEAR } else { FAR }).min(left)];
                    self.blob.read_at(&mut fresh, offset).map_err(Lost::Io)?;
                    chunk = (offset, fresh.into());
                }
                Ok(chunk.1.slice((offset - chunk.0) as usize..))
            };
            let length = Record::length(&get(super::format::RECORD)?).ok_or_else(lost)?;
            if offset + length as u64 > len {
                return Err(lost());
            }
            let sequence = self.head.base + u64::from(position.number);
            let record = Record::read(self.head.salt, sequence, &get(length)?).ok_or_else(lost)?;
            bytes += length;
            if bytes > most && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }
}

impl Segment {
    /// The first of `positions` whose record is of `time` or later.
    pub(super) fn search(
        &self,
        positions: &[Position],
        time: u64,
    ) -> Result<Option<Position>, Lost> {
        let (mut low, mut high) = (0, positions.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let record = self.read(&positions[middle..=middle], 0)?;
            match record.first().is_some_and(|record| record.time < time) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(positions.get(low).copied())
    }
}

/// Keeps an index beside its segment, where it need not survive a power cut.
pub(super) fn write_index(disk: &dyn Disk, index: &Index, extent: Extent) -> io::Result<()> {
    let name = index_name(extent.base);
    match disk.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.create(&name)?.write_at(&index.write(extent), 0)
}

/// The index beside the segment with that base and length, if it is there and whole.
pub(super) fn read_index(
    disk: &dyn Disk,
    base: u64,
    length: u64,
) -> io::Result<Option<(Index, Extent)>> {
    let blob = match disk.open(&index_name(base)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = vec![0; blob.len()? as usize];
    blob.read_at(&mut bytes, 0)?;
    Ok(Index::read(bytes.into(), base, length))
}

/// What an index says of a segment that is not as it was.
pub(in crate::data) struct Remembered {
    index: Index,
    extent: Extent,
}

impl Remembered {
    /// None where `bytes` are no index.
    pub(in crate::data) fn read(bytes: Bytes) -> Option<Self> {
        Index::read_any(bytes).map(|(index, extent)| Self { index, extent })
    }

    /// Bytes that the segment had.
    pub(in crate::data) fn length(&self) -> u64 {
        self.extent.length
    }

    /// Numbers that it had.
    pub(in crate::data) fn numbers(&self) -> Range<u64> {
        self.extent.base..self.extent.next
    }

    /// How many records of each topic had one of these numbers.
    pub(in crate::data) fn topics(&self, numbers: Range<u64>) -> BTreeMap<Bytes, u64> {
        self.index.count_within(self.extent.base, numbers)
    }
}

/// Bytes that a batch with records of `sizes` takes.
pub(super) fn batch_size(sizes: impl Iterator<Item = usize>) -> usize {
    BATCH + sizes.sum::<usize>()
}
