//! Records that need not be kept, removed from among those that are.
//!
//! A segment that is full is written anew with what is kept of it, under the numbers and times that it had, and takes the place of the
//! old one at once: a power cut leaves one or the other. Where the new one would not be smaller, the old one stays.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::failure::{failure, unreadable};
use super::format::{BATCH, BatchHead, Head, Record};
use super::index::{Extent, Index, Position};
use super::segment::{self, Segment};
use super::state::Full;
use super::{Log, load_index};
use crate::error::Result;

/// Bytes that are read and written at once.
const CHUNK: usize = 1 << 20;

/// Which records are kept, by topic and number.
pub(crate) type Kept = BTreeMap<Bytes, BTreeSet<u64>>;

impl Log {
    /// Numbers of each full segment that ends at `before` or earlier, oldest first.
    pub(crate) fn full_before(&self, before: u64) -> Vec<Range<u64>> {
        let state = self.shared.state();
        let extents = state.full.values().map(|full| full.extent);
        extents.take_while(|full| full.next <= before).map(|full| full.base..full.next).collect()
    }

    /// Removes all records of the full segments within `range` but these; how many bytes that gave back. Blocks.
    ///
    /// # Errors
    ///
    /// `DATA_LOSS` where a record is damaged, and those of the disk. What could be removed is removed all the same.
    pub(crate) fn keep(&self, range: Range<u64>, kept: &Kept) -> Result<u64> {
        let (mut freed, mut failed) = (0, Ok(()));
        let segments: Vec<_> = {
            let state = self.shared.state();
            let within =
                state.full.range(range).map(|(_, full)| (full.segment.clone(), full.extent));
            within.collect()
        };
        for (segment, extent) in segments {
            match self.keep_of(&segment, extent, kept) {
                Ok(bytes) => freed += bytes,
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| freed)
    }

    fn keep_of(&self, segment: &Arc<Segment>, extent: Extent, kept: &Kept) -> Result<u64> {
        let index = load_index(&*self.disk, &self.shared, segment, extent);
        let index = index.map_err(|error| unreadable(&*self.disk, extent.base, error))?;
        let number = |position: &&Position| extent.base + u64::from(position.number);
        let mut positions: Vec<Position> = Vec::new();
        for (topic, numbers) in kept {
            let all = index.find(topic, 0, usize::MAX).iter();
            positions.extend(all.filter(|position| numbers.contains(&number(position))));
        }
        if positions.is_empty() {
            self.remove(extent.base)?;
            return Ok(extent.length);
        }
        if positions.len() == index.len() {
            return Ok(0);
        }
        positions.sort_unstable_by_key(|position| position.number);
        let written = self.rewrite(segment, extent, &positions);
        if !matches!(written, Ok(Some(_))) {
            // What was begun only takes room.
            let _ = self.disk.remove(&segment::compact_name(extent.base));
        }
        let Some((full, index)) = written? else { return Ok(0) };
        let left = full.extent;
        // Without, it is made again from the segment.
        let _ = segment::write_index(&*self.disk, &index, left);
        self.shared.state().replace(full);
        let mut indexes = self.shared.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.retain(|(held, _)| held.base != left.base);
        Ok(extent.length - left.length)
    }

    /// The segment with these records alone, in the place of the one with all; none where that would not be smaller.
    fn rewrite(
        &self,
        segment: &Segment,
        extent: Extent,
        positions: &[Position],
    ) -> Result<Option<(Full, Index)>> {
        let (base, name) = (extent.base, segment::compact_name(extent.base));
        let failed = |what: &str, error| failure(&*self.disk, what, &name, &error);
        // One that was not finished.
        match self.disk.remove(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("remove", error));
            }
            _ => {}
        }
        let blob = self.disk.create(&name).map_err(|error| failed("create", error))?;
        let head = Head { salt: fastrand::u32(..), base };
        let (mut bytes, mut at, mut time) = (Vec::new(), 0, 0);
        let mut index = Index::default();
        head.write(&mut bytes);
        let mut rest = positions;
        while !rest.is_empty() {
            let records = segment.read(rest, CHUNK).map_err(|lost| self.lost(lost))?;
            rest = &rest[records.len()..];
            for run in records.chunk_by(|one, next| one.sequence + 1 == next.sequence) {
                let start = begin_batch(&mut bytes);
                for record in run {
                    index.add_record(base, (at as usize + bytes.len()) as u32, record);
                    let body = std::slice::from_ref(&record.body);
                    let Record { sequence, topic, .. } = record;
                    Record::write(head.salt, *sequence, record.time, topic, body, &mut bytes);
                    time = record.time;
                }
                end_batch(head, run[0].sequence, run.len(), at, &mut bytes[start..], start);
            }
            // The end of it is to come.
            if at + (bytes.len() + BATCH) as u64 >= extent.length {
                return Ok(None);
            }
            blob.write_at(&bytes, at).map_err(|error| failed("write", error))?;
            at += bytes.len() as u64;
            bytes.clear();
        }
        // Numbers of those that were last are not given again.
        let start = begin_batch(&mut bytes);
        end_batch(head, extent.next, 0, at, &mut bytes[start..], start);
        let extent = Extent { length: at + bytes.len() as u64, time, ..extent };
        let written = blob.write_at(&bytes, at).and_then(|()| blob.sync());
        written.map_err(|error| failed("write", error))?;
        let moved = self.disk.rename(&name, &segment::name(base)).and_then(|()| self.disk.sync());
        moved.map_err(|error| failed("rename", error))?;
        Ok(Some((Full { segment: Arc::new(Segment { head, blob }), extent }, index)))
    }

    /// Removes a segment that is full. Blocks.
    pub(super) fn remove(&self, base: u64) -> Result<()> {
        let name = segment::name(base);
        let removed = self.disk.remove(&name);
        removed.map_err(|error| failure(&*self.disk, "remove", &name, &error))?;
        // Of no use alone, and nothing looks for it.
        let _ = self.disk.remove(&segment::index_name(base));
        self.shared.state().forget(base);
        Ok(())
    }
}

/// Leaves room for the head of a batch; where it is.
fn begin_batch(bytes: &mut Vec<u8>) -> usize {
    let start = bytes.len();
    bytes.resize(start + BATCH, 0);
    start
}

/// Writes the head of a batch of `count` records, which begins at `start` behind `at`: all before it is on the disk before it is read.
fn end_batch(head: Head, first: u64, count: usize, at: u64, batch: &mut [u8], start: usize) {
    let length = (batch.len() - BATCH) as u32;
    let synced = at + start as u64;
    BatchHead { length, count: count as u32, first, synced }.write(head.salt, batch);
}
