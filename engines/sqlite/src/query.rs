//! Reads, lists, and what has changed.

use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use micro::store::{Event, Page, Place, Query, Record, Watch};
use micro::{Code, Error, Result};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Map;

use crate::change::now_ms;
use crate::layout::{State, state};

/// Changes that are fetched at a time.
const MOST: usize = 256;

type Said<T> = rusqlite::Result<T>;

/// The record of a key.
pub(crate) fn read(
    database: &Connection,
    place: &Place,
    key: &str,
) -> Said<Result<Option<Record>>> {
    let mut select = database.prepare_cached(
        "SELECT version, ends_ms, metadata, value FROM micro_records WHERE db = ?1 AND tbl = ?2 AND key = ?3
         AND value IS NOT NULL AND (ends_ms IS NULL OR ends_ms > ?4)",
    )?;
    let now = now_ms();
    let asked = params![place.database(), place.table(), key, now];
    let found = select.query_row(asked, |row| record(row, 0, key.to_owned(), now)).optional()?;
    Ok(found.transpose())
}

/// What a row says from this column on: version, end, metadata and value.
fn record(row: &Row<'_>, first: usize, key: String, now: i64) -> Said<Result<Record>> {
    let metadata = serde_json::from_str(row.get_ref(first + 2)?.as_str()?);
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => {
            let text = format!("the metadata of the record {key:?} is damaged: {error}");
            return Ok(Err(Error::new(Code::DataLoss, text)));
        }
    };
    let value = Bytes::copy_from_slice(row.get_ref(first + 3)?.as_blob()?);
    Ok(Ok(Record { value, metadata, ..bare(row, first, key, now)? }))
}

/// The same without value and metadata: version and end.
fn bare(row: &Row<'_>, first: usize, key: String, now: i64) -> Said<Record> {
    let version = row.get::<_, i64>(first)?.cast_unsigned();
    let ends: Option<i64> = row.get(first + 1)?;
    let left =
        |ends: i64| Duration::from_millis(u64::try_from(ends.saturating_sub(now)).unwrap_or(0));
    let (value, metadata) = (Bytes::new(), Map::new());
    Ok(Record { key, value, metadata, version, expires_in: ends.map(left) })
}

/// Some of the records of a table.
pub(crate) fn list(database: &Connection, query: &Query) -> Said<Result<Page>> {
    let (mut from, mut until) = (Bound::Included(query.prefix.clone()), end_of(&query.prefix));
    if let Some(after) = &query.after {
        match query.descending {
            false if *after >= query.prefix => from = Bound::Excluded(after.clone()),
            false => {}
            true => until = Some(until.map_or_else(|| after.clone(), |end| end.min(after.clone()))),
        }
    }
    let (sign, from) = match &from {
        Bound::Excluded(after) => (">", after),
        Bound::Included(prefix) => (">=", prefix),
        Bound::Unbounded => (">=", &query.prefix),
    };
    let order = if query.descending { " DESC" } else { "" };
    let and = if until.is_some() { "key < ?4" } else { "?4 IS NULL" };
    // The value is read of those rows alone that are taken.
    let mut select = database.prepare_cached(&format!(
        "SELECT key, version, ends_ms, metadata, value FROM micro_records WHERE db = ?1 AND tbl = ?2 AND key {sign} ?3 AND {and}
         AND value IS NOT NULL AND (ends_ms IS NULL OR ends_ms > ?5) ORDER BY key{order}"
    ))?;
    let now = now_ms();
    let (database, table) = (query.place.database(), query.place.table());
    let mut rows = select.query(params![database, table, from, until, now])?;
    let limit = query.limit.min(Query::MOST);
    let (mut page, mut bytes, mut left_out) = (Page::default(), 0, query.offset);
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_str()?;
        if !key.ends_with(&query.suffix) {
            continue;
        }
        if left_out > 0 {
            left_out -= 1;
            continue;
        }
        if page.records.len() == limit || bytes >= Query::MOST_BYTES {
            page.has_more = true;
            break;
        }
        let key = key.to_owned();
        let record = match query.keys_only {
            true => Ok(bare(row, 1, key, now)?),
            false => record(row, 1, key, now)?,
        };
        let record = match record {
            Ok(record) => record,
            Err(error) => return Ok(Err(error)),
        };
        bytes += record.value.len();
        page.records.push(record);
    }
    Ok(Ok(page))
}

/// Names of all databases, or of all tables of one: each is found behind the one before.
pub(crate) fn names(database: &Connection, of: Option<&str>) -> Said<Vec<String>> {
    let there = "value IS NOT NULL AND (ends_ms IS NULL OR ends_ms > ?2) ORDER BY";
    let mut select = database.prepare_cached(&match of {
        None => format!(
            "SELECT db FROM micro_records WHERE db > ?1 AND ?3 IS NULL AND {there} db LIMIT 1"
        ),
        Some(_) => format!(
            "SELECT tbl FROM micro_records WHERE db = ?3 AND tbl > ?1 AND {there} tbl LIMIT 1"
        ),
    })?;
    let (mut names, now): (Vec<String>, i64) = (Vec::new(), now_ms());
    loop {
        let last = names.last().map_or("", String::as_str);
        match select.query_row(params![last, now, of], |row| row.get(0)).optional()? {
            None => return Ok(names),
            Some(name) => names.push(name),
        }
    }
}

/// What a watch fetches.
pub(crate) struct Fetched {
    pub(crate) events: Vec<Event>,
    pub(crate) has_more: bool,
    pub(crate) state: State,
}

/// Changes after a version.
pub(crate) fn changes(database: &Connection, watch: &Watch, after: u64) -> Said<Result<Fetched>> {
    // Both as they are at one moment.
    let database = database.unchecked_transaction()?;
    let state = match state(&database)? {
        Ok(state) => state,
        Err(error) => return Ok(Err(error)),
    };
    let mut fetched = Fetched { events: Vec::new(), has_more: false, state };
    let mut select = database.prepare_cached(
        "SELECT key, value IS NULL, version, ends_ms, metadata, value FROM micro_records WHERE db = ?1 AND tbl = ?2 AND version > ?3
         AND key >= ?4 AND (?5 IS NULL OR key < ?5) ORDER BY version",
    )?;
    let now = now_ms();
    let (place, end) = (&watch.place, end_of(&watch.prefix));
    let after = after.cast_signed();
    let mut rows =
        select.query(params![place.database(), place.table(), after, watch.prefix, end])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if fetched.events.len() == MOST || bytes >= Query::MOST_BYTES {
            fetched.has_more = true;
            break;
        }
        let key: String = row.get(0)?;
        let version = row.get::<_, i64>(2)?.cast_unsigned();
        let record = match row.get(1)? {
            true => None,
            false => match record(row, 2, key.clone(), now)? {
                Ok(record) => Some(record),
                Err(error) => return Ok(Err(error)),
            },
        };
        bytes += record.as_ref().map_or(0, |record| record.value.len());
        fetched.events.push(Event { key, version, record });
    }
    Ok(Ok(fetched))
}

/// The time until the next record ends, none where none does.
pub(crate) fn next_end(database: &Connection) -> Said<Option<Duration>> {
    let mut select = database.prepare_cached(
        "SELECT ends_ms FROM micro_records WHERE ends_ms IS NOT NULL ORDER BY ends_ms LIMIT 1",
    )?;
    let ends: Option<i64> = select.query_row([], |row| row.get(0)).optional()?;
    Ok(ends.map(|ends| Duration::from_millis(u64::try_from(ends - now_ms()).unwrap_or(0))))
}

/// What changes when another connection writes.
pub(crate) fn data_version(database: &Connection) -> Said<i64> {
    database.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// The first text behind all that begin with `prefix`, in the order of bytes; none where there is no such text.
fn end_of(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}
