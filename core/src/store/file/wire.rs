//! What the owner of a data folder and the other processes of the machine say to each other about records.

use std::time::Duration;

use bytes::Bytes;

use super::logged::{metadata, read_metadata};
use crate::error::{Code, Error, Reason, Result};
use crate::store::batch::{Batch, Change, Condition, Fence, Level, What};
use crate::store::query::{Page, Query};
use crate::store::record::{Place, Record};
use crate::store::watch::{Event, Watch};

pub(super) const READ: &str = "Records.Read";
pub(super) const APPLY: &str = "Records.Apply";
pub(super) const LIST: &str = "Records.List";
pub(super) const NAMES: &str = "Records.Names";
pub(super) const WATCH: &str = "Records.Watch";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Of {
    #[prost(string, tag = "1")]
    database: String,
    #[prost(string, tag = "2")]
    table: String,
}

impl Of {
    pub(super) fn new(place: &Place) -> Self {
        Self { database: place.database().to_owned(), table: place.table().to_owned() }
    }

    pub(super) fn place(&self) -> Result<Place> {
        Place::new(&self.database, &self.table)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Read {
    #[prost(message, required, tag = "1")]
    pub(super) of: Of,
    #[prost(string, tag = "2")]
    pub(super) key: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Found {
    #[prost(message, optional, tag = "1")]
    pub(super) record: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Told {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    /// JSON; empty for none.
    #[prost(bytes = "bytes", tag = "3")]
    metadata: Bytes,
    #[prost(uint64, tag = "4")]
    version: u64,
    /// Milliseconds.
    #[prost(uint64, optional, tag = "5")]
    expires_in: Option<u64>,
}

impl Told {
    pub(super) fn new(record: Record) -> Result<Self> {
        Ok(Self {
            metadata: metadata(&record.metadata)?,
            key: record.key,
            value: record.value,
            version: record.version,
            expires_in: record.expires_in.map(|left| left.as_millis() as u64),
        })
    }

    pub(super) fn record(self) -> Result<Record> {
        Ok(Record {
            metadata: read_metadata(&self.metadata)?,
            key: self.key,
            value: self.value,
            version: self.version,
            expires_in: self.expires_in.map(Duration::from_millis),
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Apply {
    #[prost(message, repeated, tag = "1")]
    changes: Vec<Wanted>,
    #[prost(message, repeated, tag = "2")]
    fences: Vec<Token>,
    #[prost(bool, tag = "3")]
    is_synced: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Token {
    #[prost(string, tag = "1")]
    lock: String,
    #[prost(uint64, tag = "2")]
    token: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Wanted {
    #[prost(message, required, tag = "1")]
    of: Of,
    #[prost(string, tag = "2")]
    key: String,
    #[prost(oneof = "Becomes", tags = "3, 4")]
    becomes: Option<Becomes>,
    #[prost(oneof = "If", tags = "5, 6, 7")]
    only_if: Option<If>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Becomes {
    #[prost(message, tag = "3")]
    Written(Value),
    #[prost(message, tag = "4")]
    Deleted(()),
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum If {
    #[prost(message, tag = "5")]
    Absent(()),
    #[prost(message, tag = "6")]
    Present(()),
    #[prost(uint64, tag = "7")]
    Version(u64),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(bytes = "bytes", tag = "1")]
    value: Bytes,
    /// JSON; empty for none.
    #[prost(bytes = "bytes", tag = "2")]
    metadata: Bytes,
    /// Milliseconds.
    #[prost(uint64, optional, tag = "3")]
    ttl: Option<u64>,
}

impl Apply {
    pub(super) fn new(batch: &Batch) -> Result<Self> {
        let wanted = |change: &Change| -> Result<Wanted> {
            let becomes = match &change.what {
                What::Write { value, metadata: of, ttl } => Some(Becomes::Written(Value {
                    value: value.clone(),
                    metadata: metadata(of)?,
                    ttl: ttl.map(|ttl| ttl.as_millis() as u64),
                })),
                What::Delete => Some(Becomes::Deleted(())),
                What::Nothing => None,
            };
            let only_if = match change.condition {
                Condition::Any => None,
                Condition::Absent => Some(If::Absent(())),
                Condition::Present => Some(If::Present(())),
                Condition::Version(version) => Some(If::Version(version)),
            };
            Ok(Wanted { of: Of::new(&change.place), key: change.key.clone(), becomes, only_if })
        };
        let token = |fence: &Fence| Token { lock: fence.lock.clone(), token: fence.token };
        Ok(Self {
            changes: batch.changes.iter().map(wanted).collect::<Result<_>>()?,
            fences: batch.fences.iter().map(token).collect(),
            is_synced: batch.level == Level::Synced,
        })
    }

    pub(super) fn batch(self) -> Result<Batch> {
        let change = |wanted: Wanted| -> Result<Change> {
            let what = match wanted.becomes {
                Some(Becomes::Written(Value { value, metadata, ttl })) => What::Write {
                    value,
                    metadata: read_metadata(&metadata)?,
                    ttl: ttl.map(Duration::from_millis),
                },
                Some(Becomes::Deleted(())) => What::Delete,
                None => What::Nothing,
            };
            let condition = match wanted.only_if {
                None => Condition::Any,
                Some(If::Absent(())) => Condition::Absent,
                Some(If::Present(())) => Condition::Present,
                Some(If::Version(version)) => Condition::Version(version),
            };
            Ok(Change { place: wanted.of.place()?, key: wanted.key, what, condition })
        };
        let fence = |token: Token| Fence { lock: token.lock, token: token.token };
        Ok(Batch {
            changes: self.changes.into_iter().map(change).collect::<Result<_>>()?,
            fences: self.fences.into_iter().map(fence).collect(),
            level: if self.is_synced { Level::Synced } else { Level::Written },
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Applied {
    #[prost(uint64, repeated, tag = "1")]
    versions: Vec<u64>,
    #[prost(message, optional, tag = "2")]
    refused: Option<Refused>,
}

/// Why nothing was changed. Reasons of errors do not travel with them.
#[derive(Clone, PartialEq, prost::Message)]
struct Refused {
    #[prost(bool, tag = "1")]
    is_stale: bool,
    #[prost(string, tag = "2")]
    detail: String,
}

impl Applied {
    pub(super) fn new(applied: Result<Vec<u64>>) -> Result<Self> {
        let refused =
            |is_stale, error: &Error| Some(Refused { is_stale, detail: error.detail().to_owned() });
        match applied {
            Ok(versions) => Ok(Self { versions, refused: None }),
            Err(error) => {
                let refused = match error.reason() {
                    Some(Reason::Conflict) => refused(false, &error),
                    Some(Reason::StaleToken) => refused(true, &error),
                    _ => return Err(error),
                };
                Ok(Self { versions: Vec::new(), refused })
            }
        }
    }

    pub(super) fn versions(self) -> Result<Vec<u64>> {
        match self.refused {
            None => Ok(self.versions),
            Some(Refused { is_stale: true, detail }) => {
                Err(Error::failed_precondition(detail).with_reason(Reason::StaleToken))
            }
            Some(Refused { is_stale: false, detail }) => {
                Err(Error::new(Code::Aborted, detail).with_reason(Reason::Conflict))
            }
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct List {
    #[prost(message, required, tag = "1")]
    of: Of,
    #[prost(string, tag = "2")]
    prefix: String,
    #[prost(string, tag = "3")]
    suffix: String,
    #[prost(string, optional, tag = "4")]
    after: Option<String>,
    #[prost(bool, tag = "5")]
    descending: bool,
    #[prost(uint64, tag = "6")]
    offset: u64,
    #[prost(uint64, tag = "7")]
    limit: u64,
    #[prost(bool, tag = "8")]
    keys_only: bool,
}

impl List {
    pub(super) fn new(query: &Query) -> Self {
        Self {
            of: Of::new(&query.place),
            prefix: query.prefix.clone(),
            suffix: query.suffix.clone(),
            after: query.after.clone(),
            descending: query.descending,
            offset: query.offset,
            limit: query.limit as u64,
            keys_only: query.keys_only,
        }
    }

    pub(super) fn query(self) -> Result<Query> {
        Ok(Query {
            place: self.of.place()?,
            prefix: self.prefix,
            suffix: self.suffix,
            after: self.after,
            descending: self.descending,
            offset: self.offset,
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
            keys_only: self.keys_only,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Listed {
    #[prost(message, repeated, tag = "1")]
    records: Vec<Told>,
    #[prost(bool, tag = "2")]
    has_more: bool,
}

impl Listed {
    pub(super) fn new(page: Page) -> Result<Self> {
        let records = page.records.into_iter().map(Told::new).collect::<Result<_>>()?;
        Ok(Self { records, has_more: page.has_more })
    }

    pub(super) fn page(self) -> Result<Page> {
        let records = self.records.into_iter().map(Told::record).collect::<Result<_>>()?;
        Ok(Page { records, has_more: self.has_more })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AskNames {
    /// Tables of this one; without, databases.
    #[prost(string, optional, tag = "1")]
    pub(super) database: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Names {
    #[prost(string, repeated, tag = "1")]
    pub(super) names: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Follow {
    #[prost(message, required, tag = "1")]
    of: Of,
    #[prost(string, tag = "2")]
    prefix: String,
    #[prost(uint64, optional, tag = "3")]
    after: Option<u64>,
}

impl Follow {
    pub(super) fn new(watch: &Watch) -> Self {
        Self { of: Of::new(&watch.place), prefix: watch.prefix.clone(), after: watch.after }
    }

    pub(super) fn watch(self) -> Result<Watch> {
        Ok(Watch { place: self.of.place()?, prefix: self.prefix, after: self.after })
    }
}

/// The first one has nothing: the watch has begun.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Changed {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(message, optional, tag = "3")]
    record: Option<Told>,
}

impl Changed {
    pub(super) fn new(event: Event) -> Result<Self> {
        let record = event.record.map(Told::new).transpose()?;
        Ok(Self { key: event.key, version: event.version, record })
    }

    pub(super) fn event(self) -> Result<Event> {
        let record = self.record.map(Told::record).transpose()?;
        Ok(Event { key: self.key, version: self.version, record })
    }
}

/// Why a watch failed, with the reason that did not travel.
pub(super) fn missed(error: Error) -> Error {
    match error.code() {
        Code::OutOfRange => error.with_reason(Reason::HistoryGone),
        _ => error,
    }
}
