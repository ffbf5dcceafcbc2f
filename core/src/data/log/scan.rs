//! Reads a segment from its head to its end, and tells a torn tail from damage.

use std::io;

use bytes::Bytes;

use super::format::{BATCH, BatchHead, HEAD, Head, NoHead, Record};
use crate::data::disk::Blob;

/// Bytes read at once.
const WINDOW: usize = 1 << 20;

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) head: Head,
    /// Where the next batch belongs.
    pub(super) end: u64,
    /// Sequence number of the next record.
    pub(super) next: u64,
    /// Time of the last record.
    pub(super) time: u64,
    /// Bytes after `end` that a crash left, in whole or in part.
    pub(super) torn: u64,
    /// Its last words say that it was closed in order.
    pub(super) is_closed: bool,
}

/// Why a segment cannot be read.
#[derive(Debug)]
pub(in crate::data) enum Unreadable {
    /// The disk says so.
    Io(io::Error),
    /// A crash came before the head was written, so that nothing else was.
    Unborn,
    /// It was written by a newer version.
    Version(u32),
    /// What was acknowledged is damaged at this offset.
    Damaged(u64),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a whole segment and calls `each` with every record and its offset.
pub(super) fn scan(
    blob: &dyn Blob,
    mut each: impl FnMut(u32, &Record),
) -> Result<Scanned, Unreadable> {
    let mut window = Window::new(blob)?;
    let head = window.get(0, HEAD)?.unwrap_or_default();
    let head = match Head::read(&head) {
        Ok(head) => head,
        Err(NoHead::Version(version)) => return Err(Unreadable::Version(version)),
        // Batches are written once the head is on the disk.
        Err(NoHead::Broken) if window.len <= HEAD as u64 => return Err(Unreadable::Unborn),
        Err(NoHead::Broken) => return Err(Unreadable::Damaged(0)),
    };
    let mut scanned =
        Scanned { head, end: HEAD as u64, next: head.base, time: 0, torn: 0, is_closed: false };
    let mut records = Vec::new();
    while scanned.end < window.len {
        records.clear();
        let Some(batch) = read_batch(&mut window, &scanned, &mut records)? else {
            if is_damaged(&mut window, &scanned)? {
                return Err(Unreadable::Damaged(scanned.end));
            }
            scanned.torn = window.len - scanned.end;
            break;
        };
        for (offset, record) in &records {
            each(*offset, record);
            scanned.time = record.time;
        }
        scanned.is_closed = batch.count == 0;
        scanned.next = batch.first + u64::from(batch.count);
        scanned.end += BATCH as u64 + u64::from(batch.length);
    }
    Ok(scanned)
}

/// The batch at the end of what was scanned, if it is whole.
pub(super) fn read_batch(
    window: &mut Window<'_>,
    scanned: &Scanned,
    records: &mut Vec<(u32, Record)>,
) -> io::Result<Option<BatchHead>> {
    let salt = scanned.head.salt;
    let Some(head) = window.get(scanned.end, BATCH)? else { return Ok(None) };
    let Some(batch) = BatchHead::read(salt, &head) else { return Ok(None) };
    if batch.first < scanned.next {
        return Ok(None);
    }
    let start = scanned.end + BATCH as u64;
    let Some(mut rest) = window.get(start, batch.length as usize)? else { return Ok(None) };
    for sequence in batch.first..batch.first + u64::from(batch.count) {
        let Some(record) = Record::read(salt, sequence, &rest) else { return Ok(None) };
        let offset = start + u64::from(batch.length) - rest.len() as u64;
        let size = Record::size(record.topic.len(), record.body.len());
        records.push((offset as u32, record));
        rest = rest.slice(size..);
    }
    Ok(rest.is_empty().then_some(batch))
}

/// Whether what is unreadable at the end of what was scanned was once on the disk: then a batch behind it says so.
pub(super) fn is_damaged(window: &mut Window<'_>, scanned: &Scanned) -> io::Result<bool> {
    let mut at = scanned.end + 1;
    while let Some((found, head)) = next_batch(window, scanned.head.salt, at)? {
        if head.synced > scanned.end {
            return Ok(true);
        }
        at = found + 1;
    }
    Ok(false)
}

/// The first head of a batch at `at` or behind it, and where it is.
pub(super) fn next_batch(
    window: &mut Window<'_>,
    salt: u32,
    at: u64,
) -> io::Result<Option<(u64, BatchHead)>> {
    let mut at = at;
    while let Some(bytes) = window.get_some(at)? {
        if let Some((found, head)) = BatchHead::find(salt, &bytes, 0) {
            return Ok(Some((at + found as u64, head)));
        }
        if at + bytes.len() as u64 == window.len {
            break;
        }
        // A head may lie across two windows.
        at += (bytes.len() - BATCH + 1) as u64;
    }
    Ok(None)
}

/// A part of a file in memory.
pub(super) struct Window<'a> {
    blob: &'a dyn Blob,
    pub(super) len: u64,
    start: u64,
    bytes: Bytes,
}

impl<'a> Window<'a> {
    pub(super) fn new(blob: &'a dyn Blob) -> io::Result<Self> {
        Ok(Self { blob, len: blob.len()?, start: 0, bytes: Bytes::new() })
    }

    /// `len` bytes at `offset`, unless the file ends before.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + len as u64 > end {
            let size = WINDOW.max(len).min((self.len - offset) as usize);
            let mut bytes = vec![0; size];
            self.blob.read_at(&mut bytes, offset)?;
            self.bytes = bytes.into();
            self.start = offset;
        }
        let at = (offset - self.start) as usize;
        Ok(Some(self.bytes.slice(at..at + len)))
    }

    /// As many bytes at `offset` as are read at once, and at least a head's; nothing where the file ends before.
    fn get_some(&mut self, offset: u64) -> io::Result<Option<Bytes>> {
        let left = self.len.saturating_sub(offset) as usize;
        if left < BATCH { Ok(None) } else { self.get(offset, left.min(WINDOW)) }
    }
}
