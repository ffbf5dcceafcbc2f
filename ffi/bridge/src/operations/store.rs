//! What is asked of the store of a client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use micro::Error;
use micro::settings::{Fields, Value};
use micro::store::{
    Batch, Change, Changes, Condition, Event, Fence, Level, Page, Place, Query, Record, Store,
    Watch, What,
};
use serde::Deserialize;
use serde_json::Map;

use super::ground::{Answer, Args, At, Nothing};
use crate::flags;
use crate::metadata::pack_facts;

/// Records that are asked for at a time where all are listed.
const AT_ONCE: usize = 256;

/// Where records are.
fn place(database: Option<&str>, table: Option<&str>) -> micro::Result<Place> {
    let usual = Place::default();
    Place::new(database.unwrap_or(usual.database()), table.unwrap_or(usual.table()))
}

/// A record: its value as payload, and beside it `key`, `version`, and, where it has them, `expires_in` in milliseconds and
/// `metadata` as JSON.
fn told(record: Record) -> micro::Result<Answer> {
    let version = record.version.to_string();
    let left = record.expires_in.map(|left| left.as_millis().to_string());
    let metadata = (!record.metadata.is_empty()).then(|| json(&record.metadata)).transpose()?;
    let known = [
        ("key", Some(record.key.as_str())),
        ("version", Some(version.as_str())),
        ("expires_in", left.as_deref()),
        ("metadata", metadata.as_deref()),
    ];
    let known = known.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let meta = pack_facts(&micro::Metadata::new(), known);
    Ok(Answer { payload: record.value, flags: flags::of(micro::Codec::Bytes), meta })
}

/// A record that is gone: `key`, `version` of that change, and `gone`.
fn gone(key: &str, version: u64) -> Answer {
    let version = version.to_string();
    let known = [("key", key), ("version", version.as_str()), ("gone", "true")];
    let meta = pack_facts(&micro::Metadata::new(), known.into_iter());
    Answer { meta, ..Answer::default() }
}

fn json(value: &Map<String, serde_json::Value>) -> micro::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal(format!("cannot write JSON: {error}")))
}

/// Of `store.read`.
pub(crate) struct Read {
    database: Option<String>,
    table: Option<String>,
    key: String,
}

impl Args for Read {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            database: fields.read("database", Value::text)?,
            table: fields.read("table", Value::text)?,
            key: fields.require("key", Value::text)?,
        })
    }
}

/// The record of a key. `NOT_FOUND` where there is none.
pub(crate) async fn read(at: At, args: Read) -> micro::Result<Answer> {
    let Read { database, table, key } = args;
    let place = place(database.as_deref(), table.as_deref())?;
    match at.client.store().read(&place, &key).await? {
        Some(record) => told(record),
        None => Err(Error::not_found(format!("there is no record {key:?} in {place}"))),
    }
}

/// Of `store.apply`.
pub(crate) struct Apply {
    changes: Vec<Wanted>,
    fences: Option<Vec<Fenced>>,
    level: Option<String>,
}

/// What becomes of one record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    database: Option<String>,
    table: Option<String>,
    key: String,
    /// Bytes of its value, which are the next of the payload: it is written.
    length: Option<usize>,
    /// It is deleted. Neither of both: only the condition counts.
    #[serde(default)]
    delete: bool,
    #[serde(default)]
    metadata: Map<String, serde_json::Value>,
    /// Milliseconds.
    ttl: Option<u64>,
    if_version: Option<u64>,
    #[serde(default)]
    if_absent: bool,
    #[serde(default)]
    if_present: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fenced {
    lock: String,
    token: u64,
}

impl Args for Apply {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            changes: fields.require("changes", |value| value.parse("a list of changes"))?,
            fences: fields.read("fences", |value| value.parse("a list of fences"))?,
            level: fields.read("level", Value::text)?,
        })
    }
}

impl Wanted {
    /// With its value, which is taken off the payload.
    fn change(self, values: &mut Bytes) -> micro::Result<Change> {
        let place = place(self.database.as_deref(), self.table.as_deref())?;
        let wrong = |why: &str| {
            Err(Error::invalid_argument(format!("store.apply: the change of {:?} {why}", self.key)))
        };
        let condition = match (self.if_version, self.if_absent, self.if_present) {
            (None, false, false) => Condition::Any,
            (Some(version), false, false) => Condition::Version(version),
            (None, true, false) => Condition::Absent,
            (None, false, true) => Condition::Present,
            _ => {
                return wrong(
                    "has more than one condition: give one of if_version, if_absent and if_present",
                );
            }
        };
        let what = match (self.length, self.delete) {
            (Some(length), false) if length <= values.len() => What::Write {
                value: values.split_to(length),
                metadata: self.metadata,
                ttl: self.ttl.map(Duration::from_millis),
            },
            (Some(_), false) => return wrong("has a longer value than is left of the payload"),
            (Some(_), true) => return wrong("both writes and deletes"),
            (None, _) if self.ttl.is_some() || !self.metadata.is_empty() => {
                return wrong("writes nothing, so that it takes neither ttl nor metadata");
            }
            (None, true) => What::Delete,
            (None, false) => What::Nothing,
        };
        Ok(Change { place, key: self.key, what, condition })
    }
}

/// Makes changes, all of them or none: the version of each record, as an array of numbers.
pub(crate) async fn apply(at: At, args: Apply, mut values: Bytes) -> micro::Result<Answer> {
    let level = match args.level.as_deref() {
        None | Some("synced") => Level::Synced,
        Some("written") => Level::Written,
        Some(other) => {
            return Err(Error::invalid_argument(format!(
                "store.apply: {other:?} is no level: give \"written\" or \"synced\""
            )));
        }
    };
    let changes = args.changes.into_iter().map(|change| change.change(&mut values));
    let changes = changes.collect::<micro::Result<_>>()?;
    if !values.is_empty() {
        return Err(Error::invalid_argument(format!(
            "store.apply: {} bytes of the payload are of no change",
            values.len()
        )));
    }
    let fences = args.fences.unwrap_or_default().into_iter();
    let fences = fences.map(|Fenced { lock, token }| Fence { lock, token }).collect();
    Answer::json(&at.client.store().apply(Batch { changes, fences, level }).await?)
}

/// Of `store.list`.
pub(crate) struct List {
    database: Option<String>,
    table: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    after: Option<String>,
    descending: Option<bool>,
    offset: Option<u64>,
    /// All, without it.
    limit: Option<usize>,
    keys_only: Option<bool>,
}

impl Args for List {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            database: fields.read("database", Value::text)?,
            table: fields.read("table", Value::text)?,
            prefix: fields.read("prefix", Value::text)?,
            suffix: fields.read("suffix", Value::text)?,
            after: fields.read("after", Value::text)?,
            descending: fields.read("descending", Value::flag)?,
            offset: fields.read("offset", Value::count)?,
            limit: fields.read("limit", Value::count)?,
            keys_only: fields.read("keys_only", Value::flag)?,
        })
    }
}

impl List {
    fn query(self) -> micro::Result<Query> {
        Ok(Query {
            prefix: self.prefix.unwrap_or_default(),
            suffix: self.suffix.unwrap_or_default(),
            after: self.after,
            descending: self.descending.unwrap_or_default(),
            offset: self.offset.unwrap_or_default(),
            keys_only: self.keys_only.unwrap_or_default(),
            ..Query::all(place(self.database.as_deref(), self.table.as_deref())?)
        })
    }
}

/// A list that is told: what is left of its page, and of what is wanted.
struct Listing {
    store: Arc<dyn Store>,
    query: Query,
    page: std::vec::IntoIter<Record>,
    has_more: bool,
    left: Option<usize>,
}

impl Listing {
    async fn next(&mut self) -> micro::Result<Option<Record>> {
        loop {
            if self.left == Some(0) {
                return Ok(None);
            }
            if let Some(record) = self.page.next() {
                self.left = self.left.map(|left| left - 1);
                return Ok(Some(record));
            }
            if !self.has_more {
                return Ok(None);
            }
            self.query.limit = self.left.map_or(AT_ONCE, |left| left.min(AT_ONCE));
            let Page { records, has_more } = self.store.list(&self.query).await?;
            // A page without a record would be asked for again for ever.
            self.has_more = has_more && !records.is_empty();
            self.query.after =
                records.last().map(|last| last.key.clone()).or(self.query.after.take());
            self.query.offset = 0;
            self.page = records.into_iter();
        }
    }
}

/// The records of a table, one after the other: each as `store.read` tells it.
pub(crate) async fn list(
    at: At,
    args: List,
) -> micro::Result<impl Stream<Item = micro::Result<Answer>> + Send + 'static> {
    let limit = args.limit;
    let query = args.query()?;
    let (store, page) = (at.client.store().clone(), Vec::new().into_iter());
    let listing = Listing { store, query, page, has_more: true, left: limit };
    Ok(unfold(Some(listing), |listing| async {
        let mut listing = listing?;
        match listing.next().await.and_then(|record| record.map(told).transpose()) {
            Ok(record) => record.map(|record| (Ok(record), Some(listing))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// Of `store.watch`.
pub(crate) struct Watched {
    database: Option<String>,
    table: Option<String>,
    prefix: Option<String>,
    after: Option<u64>,
}

impl Args for Watched {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            database: fields.read("database", Value::text)?,
            table: fields.read("table", Value::text)?,
            prefix: fields.read("prefix", Value::text)?,
            after: fields.read("after", Value::count)?,
        })
    }
}

/// Changes of records: each as `store.read` tells it, with `gone` instead of a value where it was deleted or its time is over.
pub(crate) async fn watch(
    at: At,
    args: Watched,
) -> micro::Result<impl Stream<Item = micro::Result<Answer>> + Send + 'static> {
    let Watched { database, table, prefix, after } = args;
    let place = place(database.as_deref(), table.as_deref())?;
    let watch = Watch { place, prefix: prefix.unwrap_or_default(), after };
    let changes = at.client.store().watch(watch).await?;
    Ok(unfold(Some(changes), |changes| async {
        let mut changes = changes?;
        match next(&mut *changes).await {
            Ok(event) => event.map(|event| (Ok(event), Some(changes))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

async fn next(changes: &mut dyn Changes) -> micro::Result<Option<Answer>> {
    let Some(Event { key, version, record }) = changes.next().await? else { return Ok(None) };
    record.map_or_else(|| Ok(gone(&key, version)), told).map(Some)
}

/// Names of the databases that have a record: an array.
pub(crate) async fn databases(at: At, _: Nothing) -> micro::Result<Answer> {
    Answer::json(&at.client.store().databases().await?)
}

/// Of `store.tables`.
pub(crate) struct Tables {
    database: Option<String>,
}

impl Args for Tables {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self { database: fields.read("database", Value::text)? })
    }
}

/// Names of the tables of a database that have a record: an array.
pub(crate) async fn tables(at: At, args: Tables) -> micro::Result<Answer> {
    let usual = Place::default();
    let database = args.database.as_deref().unwrap_or(usual.database());
    Answer::json(&at.client.store().tables(database).await?)
}
