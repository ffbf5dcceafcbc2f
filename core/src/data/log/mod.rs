//! An append-only log of records by topic: what was acknowledged is on the disk, whatever happens.
//!
//! One thread writes, and one sync covers all that came while the last one ran, whatever their topics. Records are numbered from 1
//! through all topics; numbers grow, and those of records that a crash took away are not given again.

mod compact;
mod failure;
mod format;
mod hidden;
mod inbox;
mod index;
mod open;
mod scan;
pub(in crate::data) mod segment;
mod shared;
mod state;
pub(in crate::data) mod survey;
mod tally;
mod terms;
#[cfg(test)]
mod tests;
mod writer;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, oneshot};

pub(crate) use self::compact::Kept;
use self::failure::{failure, unreadable};
pub(crate) use self::format::Record;
use self::inbox::Submission;
use self::index::{Extent, Index};
pub(crate) use self::open::Recovery;
pub(in crate::data) use self::scan::Unreadable;
use self::segment::{Lost, Segment};

use self::shared::Shared;
use self::state::Found;
pub(crate) use self::state::Limit;
pub(crate) use self::terms::{Append, Hidden, Level, Settings};
use crate::data::disk::Disk;
use crate::error::{Code, Error, Result};

/// Bytes of a topic's name.
const TOPIC_BYTES: usize = 1024;
/// Records that one caller has written together.
const TOGETHER: usize = 1 << 16;
/// Topics of a log.
const TOPICS: usize = 100_000;

/// Indexes that are held in memory.
const INDEXES: usize = 4;

/// A log. When it is dropped, what was submitted is still written.
pub(crate) struct Log {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    settings: Settings,
    room: Arc<Semaphore>,
    ended: Mutex<Option<oneshot::Receiver<Result<()>>>>,
}

impl Log {
    /// Writes records together: all are there after a crash or none, and they follow each other. Waits while too much waits to be
    /// written. Once they are submitted, they are written whether this is waited for or not.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a record that is too large, `RESOURCE_EXHAUSTED` where the disk is full or there are too many topics,
    /// `UNAVAILABLE` where the disk failed: none of them is there then, or a crash took them away before they were acknowledged.
    pub(crate) async fn append(&self, records: Vec<Append>, level: Level) -> Result<Range<u64>> {
        self.check(&records)?;
        if records.is_empty() {
            let next = self.shared.state().next;
            return Ok(next..next);
        }
        let size: usize = records.iter().map(Append::size).sum();
        let room = size.min(self.settings.waiting_bytes) as u32;
        let closed = |_| Error::new(Code::Unavailable, "the log is closed");
        let room = self.room.clone().acquire_many_owned(room).await.map_err(closed)?;
        let (done, outcome) = oneshot::channel();
        let submission = Submission { records, level, done, _room: room };
        match self.shared.inbox.push(submission) {
            Some(_) => Err(Error::new(Code::Unavailable, "the log is closed")),
            None => outcome.await.map_err(|_| {
                Error::new(Code::Unavailable, "the log ended before it could write")
            })?,
        }
    }

    fn check(&self, records: &[Append]) -> Result<()> {
        let too_large = |what: String| Err(Error::new(Code::InvalidArgument, what));
        let most = self.settings.record_bytes;
        let mut size = 0_usize;
        if records.len() > TOGETHER {
            return too_large(format!("at most {TOGETHER} records are written together"));
        }
        for record in records {
            let length: usize = record.body.iter().map(Bytes::len).sum();
            size = size.saturating_add(record.size());
            if record.topic.len() > TOPIC_BYTES {
                return too_large(format!("a topic has at most {TOPIC_BYTES} bytes"));
            }
            if length > most {
                return too_large(format!("a record has {length} bytes, and at most {most} fit"));
            }
        }
        if size > most.saturating_mul(4) {
            return too_large(format!("records written together have at most {} bytes", most * 4));
        }
        let state = self.shared.state();
        if state.topics() >= TOPICS
            && let Some(new) = records.iter().find(|record| !state.has(&record.topic))
        {
            let topic = String::from_utf8_lossy(&new.topic);
            let text = format!("there are {TOPICS} topics, so that {topic} cannot be one more");
            return Err(Error::new(Code::ResourceExhausted, text));
        }
        Ok(())
    }

    /// Records of `topic` whose numbers are `from` or higher, oldest first: as many as there are within `limit`, and at least one if
    /// there is one.
    ///
    /// # Errors
    ///
    /// `DATA_LOSS` where a record is damaged, `UNAVAILABLE` where the disk fails.
    pub(crate) async fn read(&self, topic: &[u8], from: u64, limit: Limit) -> Result<Vec<Record>> {
        let mut from = from;
        loop {
            let (found, hidden) = {
                let state = self.shared.state();
                let hidden = state.hidden.get(topic).cloned();
                from = hidden.as_ref().map_or(from, |hidden| from.max(hidden.before));
                (state.find(topic, from, limit), hidden)
            };
            let mut records = match self.found(topic, from, limit, found).await? {
                Ok(records) => records,
                Err(next) => {
                    from = next;
                    continue;
                }
            };
            if let (Some(hidden), Some(last)) = (hidden, records.last()) {
                from = last.sequence + 1;
                records.retain(|record| !hidden.has(record.sequence));
                if records.is_empty() {
                    continue;
                }
            }
            return Ok(records);
        }
    }

    /// The records that were found, or where to look next.
    async fn found(
        &self,
        topic: &[u8],
        from: u64,
        limit: Limit,
        found: Found,
    ) -> Result<std::result::Result<Vec<Record>, u64>> {
        let (segment, positions) = match found {
            Found::Nothing => return Ok(Ok(Vec::new())),
            Found::Recent(records) => return Ok(Ok(records)),
            Found::Open(segment, positions) => (segment, positions),
            Found::Full(segment, extent) => {
                let index = self.index(&segment, extent).await?;
                let number = from.saturating_sub(extent.base) as u32;
                let positions = index.find(topic, number, limit.records).to_vec();
                if positions.is_empty() {
                    return Ok(Err(extent.next));
                }
                (segment, positions)
            }
        };
        let read = move || segment.read(&positions, limit.bytes);
        blocking(read).await?.map(Ok).map_err(|lost| self.lost(lost))
    }

    /// The last record of a topic, if it is still there. Blocks.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn last(&self, topic: &[u8]) -> Result<Option<Record>> {
        let Some(last) = self.topic_end(topic).checked_sub(1) else { return Ok(None) };
        let found = self.shared.state().find_on_disk(topic, last, 1);
        let (segment, positions) = match found {
            Found::Open(segment, positions) => (segment, positions),
            Found::Full(segment, extent) => {
                let index = load_index(&*self.disk, &self.shared, &segment, extent);
                let index = index.map_err(|error| unreadable(&*self.disk, extent.base, error))?;
                let number = last.saturating_sub(extent.base) as u32;
                (segment, index.find(topic, number, 1).to_vec())
            }
            _ => return Ok(None),
        };
        let read = segment.read(&positions, usize::MAX).map_err(|lost| self.lost(lost))?;
        Ok(read.into_iter().next())
    }

    /// Whether it takes no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.room.is_closed()
    }

    /// Tells when `topic` gets its next record.
    pub(crate) fn changed(&self, topic: &[u8]) -> Arc<Notify> {
        self.shared.state().changed(topic)
    }

    /// Number behind that of the last record of `topic` that may be read; 0 where there never was one.
    pub(crate) fn topic_end(&self, topic: &[u8]) -> u64 {
        self.shared.state().topic_next(topic)
    }

    /// Number of the first record of `topic` whose time is `time` or later, in milliseconds since 1970; that of its next one where
    /// all are older.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) async fn at(&self, topic: &[u8], time: u64) -> Result<u64> {
        let mut from = self.shared.state().first_segment_at(time);
        loop {
            let found = self.shared.state().find_on_disk(topic, from, usize::MAX);
            let (segment, positions, next) = match found {
                Found::Open(segment, positions) => (segment, positions, None),
                Found::Full(segment, extent) => {
                    let index = self.index(&segment, extent).await?;
                    let number = from.saturating_sub(extent.base) as u32;
                    let positions = index.find(topic, number, usize::MAX).to_vec();
                    (segment, positions, Some(extent.next))
                }
                _ => return Ok(self.topic_end(topic)),
            };
            let base = segment.head.base;
            let search = move || segment.search(&positions, time);
            match (blocking(search).await?.map_err(|lost| self.lost(lost))?, next) {
                (Some(position), _) => return Ok(base + u64::from(position.number)),
                (None, Some(next)) => from = next,
                (None, None) => return Ok(self.topic_end(topic)),
            }
        }
    }

    /// Number that the first record had which may still be there.
    pub(crate) fn first(&self) -> u64 {
        self.shared.state().first()
    }

    /// Number before which records need not be kept: full segments beyond `bytes`, and those whose last record is older than
    /// `oldest`, in milliseconds since 1970.
    pub(crate) fn expendable(&self, bytes: u64, oldest: u64) -> u64 {
        self.shared.state().expendable(bytes, oldest)
    }

    /// Topics that begin with `prefix` and whose last record is before `before`.
    pub(crate) fn topics_ending_before(&self, prefix: &[u8], before: u64) -> Vec<Bytes> {
        self.shared.state().topics_ending_before(prefix, before)
    }

    /// Removes segments all of whose records have numbers below `before`; how many bytes that gave back. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(crate) fn remove_before(&self, before: u64) -> Result<u64> {
        let mut freed = 0;
        loop {
            let (base, length) = {
                let state = self.shared.state();
                match state.full.iter().next() {
                    Some((base, full)) if full.extent.next <= before => (*base, full.extent.length),
                    _ => break,
                }
            };
            self.remove(base)?;
            freed += length;
        }
        Ok(freed)
    }

    /// Writes what was submitted, takes no more, and returns once all is on the disk.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(crate) async fn close(&self) -> Result<()> {
        self.room.close();
        self.shared.inbox.close();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        match ended {
            Some(ended) => ended.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    async fn index(&self, segment: &Arc<Segment>, extent: Extent) -> Result<Arc<Index>> {
        if let Some(held) = held_index(&self.shared, extent) {
            return Ok(held);
        }
        let (disk, shared, segment) = (self.disk.clone(), self.shared.clone(), segment.clone());
        let read = move || load_index(&*disk, &shared, &segment, extent);
        let index = blocking(read).await?;
        index.map_err(|error| unreadable(&*self.disk, extent.base, error))
    }

    fn lost(&self, lost: Lost) -> Error {
        match lost {
            Lost::Io(error) => failure(&*self.disk, "read", "", &error),
            Lost::Damaged(base, at) => unreadable(&*self.disk, base, Unreadable::Damaged(at)),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.inbox.close();
    }
}

fn held_index(shared: &Shared, extent: Extent) -> Option<Arc<Index>> {
    let indexes = shared.indexes.lock().unwrap_or_else(PoisonError::into_inner);
    indexes.iter().find(|(held, _)| *held == extent).map(|(_, index)| index.clone())
}

/// The index of a segment that is full, from memory or its file. Blocks.
fn load_index(
    disk: &dyn Disk,
    shared: &Shared,
    segment: &Segment,
    extent: Extent,
) -> std::result::Result<Arc<Index>, Unreadable> {
    let base = extent.base;
    if let Some(held) = held_index(shared, extent) {
        return Ok(held);
    }
    let index = match segment::read_index(disk, base, extent.length) {
        Ok(Some((index, _))) => index,
        // Lost or broken: it is made again, and kept if that can be.
        _ => {
            let mut index = Index::default();
            scan::scan(&*segment.blob, |offset, record| index.add_record(base, offset, record))?;
            let _ = segment::write_index(disk, &index, extent);
            index
        }
    };
    let index = Arc::new(index);
    let mut indexes = shared.indexes.lock().unwrap_or_else(PoisonError::into_inner);
    if indexes.len() >= INDEXES {
        indexes.remove(0);
    }
    indexes.push((extent, index.clone()));
    Ok(index)
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let ended = |_| Error::new(Code::Unavailable, "the runtime ends");
    tokio::task::spawn_blocking(work).await.map_err(ended)
}
