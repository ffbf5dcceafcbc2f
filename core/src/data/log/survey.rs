//! Reads a segment whatever has happened to it: what can be read, and where what cannot be read is.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::format::{BATCH, BatchHead, HEAD, Head, NoHead, Record, u32_at};
use super::scan::{Scanned, Unreadable, Window, is_damaged, next_batch, read_batch};
use crate::data::disk::Blob;

/// Parts that are told apart; what is beyond is told as one.
const MAX_GAPS: usize = 10_000;
/// Records in a row that may be damaged before the rest of their batch is given up.
const IN_A_ROW: u64 = 8;

/// What is in a segment.
#[derive(Debug, Default)]
pub(in crate::data) struct Survey {
    /// Bytes of the file.
    pub(in crate::data) bytes: u64,
    /// Records that can be read.
    pub(in crate::data) records: u64,
    /// Numbers of the first and the last of them.
    pub(in crate::data) numbers: Option<(u64, u64)>,
    /// Times of the first and the last of them, in milliseconds since 1970.
    pub(in crate::data) times: Option<(u64, u64)>,
    /// Parts that were acknowledged and cannot be read.
    pub(in crate::data) gaps: Vec<Gap>,
    /// Bytes at the end that were being written when their owner ended, or are being written now.
    pub(in crate::data) torn: u64,
    /// It says itself that it begins with another number.
    pub(in crate::data) is_misplaced: bool,
    /// A crash came before anything was in it.
    pub(in crate::data) is_empty: bool,
}

/// A part of a segment that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::data) struct Gap {
    pub(in crate::data) offset: u64,
    pub(in crate::data) bytes: u64,
    /// Numbers of the records that may have been in it.
    pub(in crate::data) numbers: Range<u64>,
}

impl Survey {
    /// Says that the file was longer once, and had all numbers below `next`.
    pub(in crate::data) fn was(&mut self, length: u64, next: u64) {
        let from = self.numbers.map_or(0, |(_, last)| last + 1);
        if length > self.bytes
            && next > from
            && !self.gaps.iter().any(|gap| gap.numbers.end >= next)
        {
            self.lost(self.bytes, length - self.bytes, from..next);
        }
    }

    fn note(&mut self, record: &Record) {
        self.records += 1;
        self.numbers.get_or_insert((record.sequence, 0)).1 = record.sequence;
        self.times.get_or_insert((record.time, 0)).1 = record.time;
    }

    fn lost(&mut self, offset: u64, bytes: u64, numbers: Range<u64>) {
        let is_full = self.gaps.len() >= MAX_GAPS;
        match self.gaps.last_mut() {
            Some(last) if is_full || last.offset + last.bytes == offset => {
                last.bytes = offset + bytes - last.offset;
                last.numbers.end = last.numbers.end.max(numbers.end);
            }
            _ => self.gaps.push(Gap { offset, bytes, numbers }),
        }
    }
}

/// Reads the segment `base`. `following` is the base of the one behind it, none where it is the last; `each` gets every record that can
/// be read, and `tick` how far it has come.
pub(in crate::data) fn survey(
    blob: &dyn Blob,
    base: u64,
    following: Option<u64>,
    mut each: impl FnMut(Record) -> io::Result<()>,
    mut tick: impl FnMut(u64),
) -> Result<Survey, Unreadable> {
    let mut window = Window::new(blob)?;
    let mut survey = Survey { bytes: window.len, ..Survey::default() };
    let Some(salt) = salt(&mut window, base, following, &mut survey)? else { return Ok(survey) };
    let head = Head { salt, base };
    let mut scanned =
        Scanned { head, end: HEAD as u64, next: base, time: 0, torn: 0, is_closed: false };
    let mut records = Vec::new();
    while scanned.end < window.len {
        tick(scanned.end);
        records.clear();
        if let Some(batch) = read_batch(&mut window, &scanned, &mut records)? {
            for (_, record) in records.drain(..) {
                survey.note(&record);
                each(record)?;
            }
            scanned.next = batch.first + u64::from(batch.count);
            scanned.end += BATCH as u64 + u64::from(batch.length);
        } else if following.is_none() && !is_damaged(&mut window, &scanned)? {
            survey.torn = window.len - scanned.end;
            break;
        } else {
            salvage(&mut window, &mut scanned, following, &mut survey, &mut each)?;
        }
    }
    tick(window.len);
    Ok(survey)
}

/// With what the checksums of the segment begin; none where nothing in it can be read.
fn salt(
    window: &mut Window<'_>,
    base: u64,
    following: Option<u64>,
    survey: &mut Survey,
) -> Result<Option<u32>, Unreadable> {
    let bytes = window.get(0, HEAD)?.unwrap_or_default();
    match Head::read(&bytes) {
        Ok(head) if head.base == base => return Ok(Some(head.salt)),
        Ok(_) => {
            survey.is_misplaced = true;
            return Ok(None);
        }
        Err(NoHead::Version(version)) => return Err(Unreadable::Version(version)),
        Err(NoHead::Broken) if window.len <= HEAD as u64 => {
            survey.is_empty = true;
            if let Some(following) = following {
                survey.lost(0, window.len, base..following);
            }
            return Ok(None);
        }
        Err(NoHead::Broken) => {}
    }
    // The salt may be what it was, or a bit of it is not.
    let written = u32_at(&bytes, 12);
    let first = window.get(HEAD as u64, BATCH)?.unwrap_or_default();
    let flipped = (0..32).map(|bit| written ^ (1 << bit));
    let salt = std::iter::once(written)
        .chain(flipped)
        .find(|salt| BatchHead::read(*salt, &first).is_some());
    match salt {
        Some(_) => survey.lost(0, HEAD as u64, base..base),
        None => survey.lost(0, window.len, base..following.unwrap_or(base)),
    }
    Ok(salt)
}

/// Reads what can be read of a batch that is damaged, and goes on behind it.
fn salvage(
    window: &mut Window<'_>,
    scanned: &mut Scanned,
    following: Option<u64>,
    survey: &mut Survey,
    each: &mut impl FnMut(Record) -> io::Result<()>,
) -> io::Result<()> {
    let (salt, at, len) = (scanned.head.salt, scanned.end, window.len);
    let head = window.get(at, BATCH)?.and_then(|bytes| BatchHead::read(salt, &bytes));
    let head = head.filter(|head| head.first >= scanned.next);
    let first = head.map_or(scanned.next, |head| head.first);
    let (end, last) = match head {
        Some(head) => {
            let end = at + BATCH as u64 + u64::from(head.length);
            let last = head.first + u64::from(head.count);
            // What was behind it is gone as well where the file ends within.
            let beyond = following.filter(|_| end > len).unwrap_or(last);
            (end.min(len), last.max(beyond))
        }
        // Where it ended is known by what comes behind it.
        None => loop {
            match next_batch(window, salt, scanned.end + 1)? {
                Some((found, behind)) if behind.first >= first => break (found, behind.first),
                Some((found, _)) => scanned.end = found,
                None => break (len, following.unwrap_or(first)),
            }
        },
    };
    let start = (at + BATCH as u64).min(end);
    let rest = window.get(start, (end - start) as usize)?.unwrap_or_default();
    let (mut pos, mut number) = (0, first);
    // Where the part that cannot be read begins, and with which number.
    let mut lost = if head.is_none() { Some((at, number)) } else { None };
    while pos < rest.len() && number < last {
        if let Some(record) = Record::read(salt, number, &rest.slice(pos..)) {
            let offset = start + pos as u64;
            if let Some((from, numbered)) = lost.take() {
                survey.lost(from, offset - from, numbered..number);
            }
            pos += Record::size(record.topic.len(), record.body.len());
            number += 1;
            survey.note(&record);
            each(record)?;
            continue;
        }
        lost.get_or_insert((start + pos as u64, number));
        match resume(salt, &rest, pos, number..last) {
            Some((found, next)) => (pos, number) = (found, next),
            None => {
                pos = rest.len();
                break;
            }
        }
    }
    if pos < rest.len() || number < last {
        lost.get_or_insert((start + pos as u64, number));
    }
    if let Some((from, numbered)) = lost {
        survey.lost(from, end - from, numbered..last.max(numbered));
    }
    scanned.end = end;
    scanned.next = last.max(number);
    Ok(())
}

/// Where the next record begins that can be read behind one at `pos` that cannot, and its number.
fn resume(salt: u32, rest: &Bytes, pos: usize, numbers: Range<u64>) -> Option<(usize, u64)> {
    let reads = |at: usize, number: u64| {
        let bytes = rest.slice(at..);
        let fits = Record::length(&bytes).is_some_and(|length| length <= bytes.len());
        fits && Record::read(salt, number, &bytes).is_some()
    };
    let next = numbers.start + 1;
    // Most often its length is right.
    let behind = Record::length(&rest[pos..]).and_then(|length| pos.checked_add(length));
    if let Some(behind) = behind.filter(|behind| *behind < rest.len())
        && next < numbers.end
        && reads(behind, next)
    {
        return Some((behind, next));
    }
    (next..numbers.end.min(next + IN_A_ROW)).find_map(|number| {
        (pos + 1..rest.len()).find(|at| reads(*at, number)).map(|at| (at, number))
    })
}

/// Writes records that were read into a segment of their own.
pub(in crate::data) struct Rewriter<'a> {
    blob: &'a dyn Blob,
    salt: u32,
    end: u64,
    first: u64,
    count: u32,
    batch: Vec<u8>,
}

/// Bytes of a batch.
const TOGETHER: usize = 4 << 20;

impl<'a> Rewriter<'a> {
    /// Begins the segment `base` in an empty file.
    pub(in crate::data) fn begin(blob: &'a dyn Blob, base: u64) -> io::Result<Self> {
        let salt = fastrand::u32(..);
        let mut head = Vec::with_capacity(HEAD);
        Head { salt, base }.write(&mut head);
        blob.write_at(&head, 0)?;
        Ok(Self { blob, salt, end: HEAD as u64, first: 0, count: 0, batch: Vec::new() })
    }

    /// Adds a record behind all others.
    pub(in crate::data) fn add(&mut self, record: &Record) -> io::Result<()> {
        if self.count > 0
            && (record.sequence != self.first + u64::from(self.count)
                || self.batch.len() > TOGETHER)
        {
            self.flush()?;
        }
        if self.count == 0 {
            self.first = record.sequence;
            self.batch.resize(BATCH, 0);
        }
        let body = [record.body.clone()];
        Record::write(
            self.salt,
            record.sequence,
            record.time,
            &record.topic,
            &body,
            &mut self.batch,
        );
        self.count += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let length = (self.batch.len() - BATCH) as u32;
        let head = BatchHead { length, count: self.count, first: self.first, synced: self.end };
        head.write(self.salt, &mut self.batch);
        self.blob.write_at(&self.batch, self.end)?;
        self.end += self.batch.len() as u64;
        self.count = 0;
        self.batch.clear();
        Ok(())
    }

    /// Writes what is left, and returns once all of it is on the disk.
    pub(in crate::data) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.blob.sync()
    }
}
