//! The one thread that writes: whatever came while the last sync ran is the next batch.

use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::failure::{failure, unreadable};
use super::format::{BATCH, BatchHead, HEAD, Record};
use super::inbox::Submission;
use super::index::{Extent, Index};
use super::scan::Unreadable;
use super::segment::{self, Segment};
use super::shared::Shared;
use super::state::{Full, Open};
use super::terms::{Append, Level, Settings};
use crate::data::disk::Disk;
use crate::error::{Error, Result};

/// Records of a segment, by which its index fits into memory.
const SEGMENT_RECORDS: u64 = 1 << 18;

/// Owns the segment that is written.
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) segment: Arc<Segment>,
    /// Where the next batch belongs.
    pub(super) end: u64,
    /// Bytes that are on the disk for sure.
    pub(super) synced: u64,
    /// Sequence number of the next record.
    pub(super) next: u64,
    /// Time of the last record.
    pub(super) time: u64,
    /// A write or sync failed, and what the segment holds after `synced` is not known.
    pub(super) is_in_doubt: bool,
}

impl Writer {
    /// Writes until the log is closed.
    pub(super) fn run(mut self) -> Result<()> {
        let mut sync_at = None;
        while let Some(batch) = self.shared.inbox.take(sync_at) {
            if batch.is_empty() {
                if let Err(error) = self.sync() {
                    tracing::error!(%error, "messages that were written, but not synced, are in doubt");
                }
            } else {
                self.append(batch);
            }
            sync_at = match self.end > self.synced && !self.is_in_doubt {
                true => Some(sync_at.unwrap_or_else(|| Instant::now() + self.settings.sync_within)),
                false => None,
            };
        }
        self.close()
    }

    /// Writes a batch and tells those who wait for it.
    fn append(&mut self, batch: Vec<Submission>) {
        let outcome = self.try_append(&batch);
        let mut next = match &outcome {
            Ok(first) => *first,
            Err(_) => 0,
        };
        for Submission { records, done, .. } in batch {
            let range = next..next + records.len() as u64;
            next = range.end;
            // A caller that has gone is no failure.
            let _ = done.send(outcome.clone().map(|_| range));
        }
    }

    /// Writes a batch; the sequence number of its first record.
    fn try_append(&mut self, batch: &[Submission]) -> Result<u64> {
        if self.is_in_doubt {
            self.mend()?;
        }
        let count: usize = batch.iter().map(|submission| submission.records.len()).sum();
        let size = segment::batch_size(
            batch.iter().flat_map(|submission| &submission.records).map(Append::size),
        );
        self.make_room(size, count as u64)?;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        // A clock that was set back does not make records go back.
        self.time = self.time.max(time as u64);
        let first = self.next;
        let (bytes, offsets) = self.encode(batch, size);
        if let Err(error) = self.segment.blob.write_at(&bytes, self.end) {
            // A part of it may be there. Without, nothing is in doubt, and a disk that is full has room again.
            self.is_in_doubt = self.segment.blob.set_len(self.end).is_err() || self.sync().is_err();
            return Err(self.failure("write", &error));
        }
        let start = self.end;
        self.end += bytes.len() as u64;
        self.next += count as u64;
        if batch.iter().any(|submission| submission.level == Level::Synced) {
            self.sync()?;
        }
        let salt = self.segment.head.salt;
        let records = offsets.into_iter().zip(first..).filter_map(|(offset, sequence)| {
            let record = Record::read(salt, sequence, &bytes.slice(offset..))?;
            Some(((start + offset as u64) as u32, record))
        });
        let records = records.collect();
        self.shared.state().show(records, self.end);
        Ok(first)
    }

    /// The bytes of a batch, and where in them each record is.
    fn encode(&self, batch: &[Submission], size: usize) -> (Bytes, Vec<usize>) {
        let salt = self.segment.head.salt;
        let mut bytes = Vec::with_capacity(size);
        bytes.resize(BATCH, 0);
        let mut offsets = Vec::new();
        for (record, sequence) in
            batch.iter().flat_map(|submission| &submission.records).zip(self.next..)
        {
            offsets.push(bytes.len());
            Record::write(salt, sequence, self.time, &record.topic, &record.body, &mut bytes);
        }
        let head = BatchHead {
            length: (bytes.len() - BATCH) as u32,
            count: offsets.len() as u32,
            first: self.next,
            synced: self.synced,
        };
        head.write(salt, &mut bytes);
        (bytes.into(), offsets)
    }

    /// Begins a new segment where a batch of that size does not fit into this one.
    fn make_room(&mut self, size: usize, count: u64) -> Result<()> {
        let base = self.segment.head.base;
        let fits = self.end + size as u64 <= self.settings.segment_bytes
            && self.next + count - base <= SEGMENT_RECORDS;
        if fits || self.end == HEAD as u64 {
            return Ok(());
        }
        self.sync()?;
        let extent = Extent { base, length: self.end, next: self.next, time: self.time };
        // Made again from the segment where it is not there: only reading is slower without.
        if let Some(open) = &self.shared.state().open
            && let Err(error) = segment::write_index(&*self.disk, &open.index, extent)
        {
            tracing::warn!(%error, segment = segment::name(base), "an index could not be written");
        }
        let name = segment::name(self.next);
        let fresh = Segment::create(&*self.disk, self.next).map_err(|error| {
            // Only the last segment may be empty.
            let _ = self.disk.remove(&name);
            failure(&*self.disk, "create", &name, &error)
        })?;
        let mut state = self.shared.state();
        let open = Open {
            segment: fresh.clone(),
            index: Index::default(),
            end: HEAD as u64,
            time: self.time,
        };
        if let Some(full) = state.open.replace(open) {
            state.full.insert(base, Full { segment: full.segment, extent });
        }
        drop(state);
        self.segment = fresh;
        self.end = HEAD as u64;
        self.synced = self.end;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if let Err(error) = self.segment.blob.sync() {
            self.is_in_doubt = true;
            return Err(self.failure("sync", &error));
        }
        self.synced = self.end;
        Ok(())
    }

    /// After a failure: opens the segment again, makes sure of what was synced before, and cuts the rest off. Its numbers are
    /// not given again, as somebody may have read it.
    fn mend(&mut self) -> Result<()> {
        let base = self.segment.head.base;
        let name = segment::name(base);
        let mend = || -> io::Result<Arc<Segment>> {
            let blob = self.disk.open(&name)?;
            blob.set_len(self.synced)?;
            blob.sync()?;
            let fresh = Arc::new(Segment { head: self.segment.head, blob });
            Ok(fresh)
        };
        let fresh = mend().map_err(|error| self.failure("mend", &error))?;
        let unreadable = |error| unreadable(&*self.disk, base, error);
        let (_, scanned, index) = Segment::scan(&*self.disk, base).map_err(unreadable)?;
        if scanned.end != self.synced {
            return Err(unreadable(Unreadable::Damaged(scanned.end)));
        }
        self.segment = fresh.clone();
        self.end = self.synced;
        self.is_in_doubt = false;
        self.shared.state().mend(fresh, index, self.end);
        Ok(())
    }

    /// Says that nothing is to come, so that the next who opens the log need not doubt its end.
    fn close(mut self) -> Result<()> {
        if self.is_in_doubt {
            self.mend()?;
        }
        self.sync()?;
        let (bytes, _) = self.encode(&[], BATCH);
        let written = self.segment.blob.write_at(&bytes, self.end);
        written.map_err(|error| self.failure("write", &error))?;
        self.end += bytes.len() as u64;
        self.sync()
    }

    fn failure(&self, what: &str, error: &io::Error) -> Error {
        failure(&*self.disk, what, &segment::name(self.segment.head.base), error)
    }
}
