//! The table file: what records are now, without those changes of the log that are behind its position.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable, StorageBackend, TableDefinition,
};
use serde_json::Map;

use super::clock::clock;
use super::logged::{Kind, Logged, Row, full_key, prefix, read_metadata, split};
use crate::data::log::{Log, Record as Entry};
use crate::data::{Blob, Disk};
use crate::error::{Code, Error, Result};
use crate::store::query::{Page, Query};
use crate::store::record::{Place, Record};

/// Its name in the data folder.
const FILE: &str = "records.redb";
/// Bytes of it in memory.
const CACHE: usize = 32 << 20;
/// How long a fence is remembered after its last use.
const FENCES: Duration = Duration::from_secs(24 * 60 * 60);

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// What has an end, the next first.
const ENDS: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("ends");
/// Token and last use by lock.
const PASSED: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("fences");
const NOTES: TableDefinition<'_, &str, u64> = TableDefinition::new("notes");
/// The last change of the log that is in here.
const POSITION: &str = "position";
/// The first change that the log has to keep.
const GONE: &str = "gone";
/// The layout of these tables.
const VERSION: (&str, u64) = ("version", 1);

/// The tables of one data folder.
pub(super) struct Tables {
    /// None once it is closed.
    database: RwLock<Option<Database>>,
    /// Ends after the file, and with it this process's hold on the folder.
    _log: Arc<Log>,
}

impl Tables {
    /// Refuses to begin anew where the log alone does not have everything. Blocks.
    ///
    /// # Errors
    /// `DATA_LOSS` where there is no file, those of the disk.
    pub(super) fn check(disk: &dyn Disk) -> Result<()> {
        let names = disk.names().map_err(|error| failed(&error))?;
        match names.iter().any(|name| name == FILE) {
            true => Ok(()),
            false => Err(Error::new(
                Code::DataLoss,
                format!(
                    "{} is missing, and the log has only the last changes of what was in it: put it back, or use another folder",
                    disk.describe(FILE)
                ),
            )),
        }
    }

    /// Opens the file, or makes one. Blocks.
    ///
    /// # Errors
    /// `DATA_LOSS` for a damaged one, `FAILED_PRECONDITION` for one of a newer version, those of the disk.
    pub(super) fn open(disk: &dyn Disk, log: Arc<Log>) -> Result<Self> {
        let names = disk.names().map_err(|error| failed(&error))?;
        let is_new = !names.iter().any(|name| name == FILE);
        let blob = match is_new {
            true => disk.create(FILE).and_then(|blob| disk.sync().map(|()| blob)),
            false => disk.open(FILE),
        };
        let file = Backend(blob.map_err(|error| failed(&error))?);
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        let database = builder.create_with_backend(file).map_err(|error| {
            let file = disk.describe(FILE);
            let error = failed(&error);
            let text = format!("cannot open {file}: {}", error.detail());
            Error::new(error.code(), text)
        })?;
        let mut write = database.begin_write().map_err(|error| failed(&error))?;
        write.set_quick_repair(true);
        {
            write.open_table(RECORDS).map_err(|error| failed(&error))?;
            write.open_table(ENDS).map_err(|error| failed(&error))?;
            write.open_table(PASSED).map_err(|error| failed(&error))?;
            let mut notes = write.open_table(NOTES).map_err(|error| failed(&error))?;
            let (name, version) = VERSION;
            let found = notes.get(name).map_err(|error| failed(&error))?.map(|found| found.value());
            match found {
                None => {
                    notes.insert(name, version).map_err(|error| failed(&error))?;
                }
                Some(found) if found > version => {
                    return Err(Error::failed_precondition(format!(
                        "{} has layout {found}, of a newer version: use that, or another folder",
                        disk.describe(FILE)
                    )));
                }
                Some(_) => {}
            }
        }
        write.commit().map_err(|error| failed(&error))?;
        Ok(Self { database: RwLock::new(Some(database)), _log: log })
    }

    /// Writes nothing more: what is opened next has the file for itself. Blocks.
    pub(super) fn close(&self) {
        self.database.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Works with the file, which stays open meanwhile.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        work(database.as_ref().ok_or_else(|| Error::unavailable("the store is closed"))?)
    }

    fn reading<T>(&self, work: impl FnOnce(Reading) -> Result<T>) -> Result<T> {
        self.with(|database| {
            let read = database.begin_read().map_err(|error| failed(&error))?;
            let records = read.open_table(RECORDS).map_err(|error| failed(&error))?;
            work(Reading { read, records })
        })
    }

    /// The last change of the log that is in here.
    pub(super) fn position(&self) -> Result<u64> {
        self.note(POSITION)
    }

    /// The record, unless there is none, or its time is over.
    pub(super) fn get(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        self.reading(|reading| {
            let row =
                reading.records.get(&*full_key(place, key)).map_err(|error| failed(&error))?;
            let Some(row) = row else { return Ok(None) };
            record(key, row.value(), clock(), false)
        })
    }

    /// What is there at one moment, to be checked against.
    pub(super) fn checking(&self) -> Result<Checking> {
        self.reading(|Reading { read, records }| {
            let fences = read.open_table(PASSED).map_err(|error| failed(&error))?;
            Ok(Checking { records, fences })
        })
    }

    /// Full keys of what is over at `now`, at most `most`, and when the next one is over.
    pub(super) fn over(&self, now: u64, most: usize) -> Result<(Vec<Vec<u8>>, Option<u64>)> {
        self.reading(|Reading { read, .. }| {
            let ends = read.open_table(ENDS).map_err(|error| failed(&error))?;
            let mut over = Vec::new();
            for end in ends.iter().map_err(|error| failed(&error))? {
                let (end, _) = end.map_err(|error| failed(&error))?;
                let (at, key) = end.value();
                if at > now || over.len() == most {
                    return Ok((over, Some(at)));
                }
                over.push(key.to_vec());
            }
            Ok((over, None))
        })
    }

    /// Makes changes of the log, which are in their order and behind the position. They are safe with the next [`checkpoint`](Self::checkpoint).
    pub(super) fn apply(&self, changes: &[(u64, Logged, Bytes)]) -> Result<()> {
        self.with(|database| {
            let Some((last, ..)) = changes.last() else { return Ok(()) };
            let mut write = database.begin_write().map_err(|error| failed(&error))?;
            write.set_durability(Durability::None).map_err(|error| failed(&error))?;
            {
                let mut records = write.open_table(RECORDS).map_err(|error| failed(&error))?;
                let mut ends = write.open_table(ENDS).map_err(|error| failed(&error))?;
                let mut fences = write.open_table(PASSED).map_err(|error| failed(&error))?;
                for (sequence, change, value) in changes {
                    for passed in &change.fences {
                        let place = (passed.token, passed.at);
                        fences.insert(&*passed.lock, place).map_err(|error| failed(&error))?;
                    }
                    if change.kind() == Kind::Nothing {
                        continue;
                    }
                    let mut full = prefix(&change.database, &change.table);
                    full.extend_from_slice(change.key.as_bytes());
                    let before = match change.kind() {
                        Kind::Written => {
                            let row = Row::write(*sequence, change.ends, &change.metadata, value);
                            records.insert(&*full, &*row)
                        }
                        _ => records.remove(&*full),
                    };
                    let before = before.map_err(|error| failed(&error))?;
                    let before = before.map(|row| Row::head(row.value())).transpose()?;
                    if let Some((_, end @ 1..)) = before {
                        ends.remove((end, &*full)).map_err(|error| failed(&error))?;
                    }
                    if change.kind() == Kind::Written && change.ends > 0 {
                        ends.insert((change.ends, &*full), ()).map_err(|error| failed(&error))?;
                    }
                }
                let mut notes = write.open_table(NOTES).map_err(|error| failed(&error))?;
                notes.insert(POSITION, *last).map_err(|error| failed(&error))?;
            }
            write.commit().map_err(|error| failed(&error))
        })
    }

    /// Changes before this one may be gone from the log.
    pub(super) fn gone(&self) -> Result<u64> {
        self.note(GONE)
    }

    fn note(&self, name: &str) -> Result<u64> {
        self.reading(|Reading { read, .. }| {
            let notes = read.open_table(NOTES).map_err(|error| failed(&error))?;
            let note = notes.get(name).map_err(|error| failed(&error))?;
            Ok(note.map_or(0, |note| note.value()))
        })
    }

    /// Returns once all that was applied is on the disk, and that the log may forget changes before `forget`, as far as they are in here: the
    /// first that it has to keep.
    pub(super) fn checkpoint(&self, forget: u64) -> Result<u64> {
        self.with(|database| {
            let mut write = database.begin_write().map_err(|error| failed(&error))?;
            write.set_quick_repair(true);
            let gone = {
                let mut notes = write.open_table(NOTES).map_err(|error| failed(&error))?;
                let note = |name: &str| -> Result<u64> {
                    let note = notes.get(name).map_err(|error| failed(&error))?;
                    Ok(note.map_or(0, |note| note.value()))
                };
                let gone = note(GONE)?.max(forget.min(note(POSITION)? + 1));
                notes.insert(GONE, gone).map_err(|error| failed(&error))?;
                gone
            };
            {
                let oldest = clock().saturating_sub(FENCES.as_millis() as u64);
                let mut fences = write.open_table(PASSED).map_err(|error| failed(&error))?;
                fences.retain(|_, (_, used)| used >= oldest).map_err(|error| failed(&error))?;
            }
            write.commit().map_err(|error| failed(&error))?;
            Ok(gone)
        })
    }

    /// A part of a list.
    pub(super) fn list(&self, query: &Query) -> Result<Page> {
        self.reading(|reading| {
            let begin = prefix(query.place.database(), query.place.table());
            let within = |key: &str| [&*begin, key.as_bytes()].concat();
            let first = within(&query.prefix);
            // No text has this byte.
            let last = [&*first, &[0xff]].concat();
            let after = query.after.as_deref().map(within);
            let (mut low, mut high) = (Bound::Included(&*first), Bound::Excluded(&*last));
            match &after {
                Some(after) if !query.descending && *after >= first => {
                    low = Bound::Excluded(&**after)
                }
                Some(after) if query.descending && *after < last => {
                    high = Bound::Excluded(&**after)
                }
                _ => {}
            }
            let is_empty = match (low, high) {
                (Bound::Included(low), Bound::Excluded(high)) => low >= high,
                (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
                _ => false,
            };
            if is_empty {
                return Ok(Page::default());
            }
            let range =
                reading.records.range::<&[u8]>((low, high)).map_err(|error| failed(&error))?;
            let mut range: Box<dyn Iterator<Item = _>> = match query.descending {
                true => Box::new(range.rev()),
                false => Box::new(range),
            };
            let (now, mut skip) = (clock(), query.offset);
            let (mut page, mut bytes) = (Page::default(), 0);
            let most = query.limit.min(Query::MOST);
            loop {
                let Some(found) = range.next() else { return Ok(page) };
                let (full, row) = found.map_err(|error| failed(&error))?;
                let Some((_, _, key)) = split(full.value()) else { continue };
                if !key.ends_with(&query.suffix) || is_over(row.value(), now)? {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                if page.records.len() >= most || bytes >= Query::MOST_BYTES {
                    page.has_more = true;
                    return Ok(page);
                }
                let Some(record) = record(key, row.value(), now, query.keys_only)? else {
                    continue;
                };
                bytes += record.value.len();
                page.records.push(record);
            }
        })
    }

    /// Names of databases, or of the tables of one.
    pub(super) fn names(&self, database: Option<&str>) -> Result<Vec<String>> {
        self.reading(|reading| {
            let now = clock();
            let mut names = BTreeMap::new();
            let mut from = database.map_or_else(Vec::new, |name| [name.as_bytes(), &[0]].concat());
            'names: loop {
                let low: Bound<&[u8]> = Bound::Included(&*from);
                let range = reading.records.range::<&[u8]>((low, Bound::Unbounded));
                for found in range.map_err(|error| failed(&error))? {
                    let (full, row) = found.map_err(|error| failed(&error))?;
                    let Some((of, table, _)) = split(full.value()) else { continue };
                    if database.is_some_and(|database| database != of) {
                        break 'names;
                    }
                    if is_over(row.value(), now)? {
                        continue;
                    }
                    let next = match database {
                        None => [of.as_bytes(), &[1]].concat(),
                        Some(_) => [of.as_bytes(), &[0], table.as_bytes(), &[1]].concat(),
                    };
                    names.insert(if database.is_some() { table } else { of }.to_owned(), ());
                    from = next;
                    continue 'names;
                }
                break;
            }
            Ok(names.into_keys().collect())
        })
    }
}

struct Reading {
    read: redb::ReadTransaction,
    records: redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
}

/// What is there at one moment.
pub(super) struct Checking {
    records: redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
    fences: redb::ReadOnlyTable<&'static str, (u64, u64)>,
}

impl Checking {
    /// Version of a record at `now`; 0 for none.
    pub(super) fn version(&self, full: &[u8], now: u64) -> Result<u64> {
        let row = self.records.get(full).map_err(|error| failed(&error))?;
        let Some(row) = row else { return Ok(0) };
        let (version, ends) = Row::head(row.value())?;
        Ok(if ends > 0 && ends <= now { 0 } else { version })
    }

    /// Whether there is a row, though it may be over.
    pub(super) fn has(&self, full: &[u8]) -> Result<bool> {
        Ok(self.records.get(full).map_err(|error| failed(&error))?.is_some())
    }

    /// The highest token of a lock.
    pub(super) fn token(&self, lock: &str, now: u64) -> Result<u64> {
        let passed = self.fences.get(lock).map_err(|error| failed(&error))?;
        let Some((token, used)) = passed.map(|passed| passed.value()) else { return Ok(0) };
        let is_remembered = now.saturating_sub(used) < FENCES.as_millis() as u64;
        Ok(if is_remembered { token } else { 0 })
    }
}

fn is_over(row: &[u8], now: u64) -> Result<bool> {
    let (_, ends) = Row::head(row)?;
    Ok(ends > 0 && ends <= now)
}

/// The record of a row, unless its time is over.
fn record(key: &str, row: &[u8], now: u64, keys_only: bool) -> Result<Option<Record>> {
    let (version, ends) = Row::head(row)?;
    if ends > 0 && ends <= now {
        return Ok(None);
    }
    let (metadata, value) = match keys_only {
        true => (Map::new(), Bytes::new()),
        false => {
            let row = Row::read(row)?;
            (read_metadata(&row.metadata)?, row.value)
        }
    };
    let expires_in = (ends > 0).then(|| Duration::from_millis(ends - now));
    Ok(Some(Record { key: key.to_owned(), value, metadata, version, expires_in }))
}

/// Changes that records of the log are.
pub(super) fn changes(records: Vec<Entry>) -> Result<Vec<(u64, Logged, Bytes)>> {
    let read = |record: Entry| {
        let (logged, value) = Logged::read(record.body)?;
        Ok((record.sequence, logged, value))
    };
    records.into_iter().map(read).collect()
}

/// A failure of the table file, in words.
fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = Some(error);
    let mut code = Code::Unavailable;
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            code = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Code::ResourceExhausted
                }
                _ => Code::Unavailable,
            };
        }
        cause = error.source();
    }
    let text = error.to_string();
    if text.contains("corrupted") {
        code = Code::DataLoss;
    }
    Error::new(code, format!("the table file of the store: {text}"))
}

/// The file as the table file has it.
struct Backend(Arc<dyn Blob>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}
