//! Changes as they are written in the log of a data folder, and records as they are in its table file.

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use serde_json::{Map, Value};

use crate::data::log::Append;
use crate::error::{Error, Result};
use crate::store::batch::Fence;
use crate::store::record::Place;

/// Topic of the log that has changes of records. No message has such a topic.
pub(super) const TOPIC: &[u8] = b"\x01records";

/// A change as it is written: this, with its length before it, and then the value.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Logged {
    #[prost(string, tag = "1")]
    pub(super) database: String,
    #[prost(string, tag = "2")]
    pub(super) table: String,
    #[prost(string, tag = "3")]
    pub(super) key: String,
    #[prost(enumeration = "Kind", tag = "4")]
    pub(super) kind: i32,
    /// JSON; empty for none.
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) metadata: Bytes,
    /// When its time is over, in milliseconds since 1970; 0 for never.
    #[prost(uint64, tag = "6")]
    pub(super) ends: u64,
    /// Fences that were passed by this change and those made with it.
    #[prost(message, repeated, tag = "7")]
    pub(super) fences: Vec<Passed>,
}

/// A fence that was passed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Passed {
    #[prost(string, tag = "1")]
    pub(super) lock: String,
    #[prost(uint64, tag = "2")]
    pub(super) token: u64,
    /// In milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    pub(super) at: u64,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    /// Nothing: a fence was passed.
    Nothing = 0,
    Written = 1,
    Deleted = 2,
    /// Its time is over.
    Over = 3,
}

impl Logged {
    pub(super) fn new(kind: Kind, place: &Place, key: &str) -> Self {
        Self {
            database: place.database().to_owned(),
            table: place.table().to_owned(),
            key: key.to_owned(),
            kind: kind as i32,
            ..Self::default()
        }
    }

    /// As it is appended.
    pub(super) fn append(&self, value: Bytes) -> Append {
        let topic = Bytes::from_static(TOPIC);
        Append { topic, body: [self.encode_length_delimited_to_vec().into(), value] }
    }

    /// What was appended, and the value.
    ///
    /// # Errors
    /// `DATA_LOSS` for what is none.
    pub(super) fn read(body: Bytes) -> Result<(Self, Bytes)> {
        let mut rest = body;
        let read = Self::decode_length_delimited(&mut rest);
        let read = read.map_err(|error| lost(&format!("a change in its log: {error}")))?;
        Ok((read, rest))
    }
}

/// What is damaged, in words.
pub(super) fn lost(what: &str) -> Error {
    Error::new(
        crate::error::Code::DataLoss,
        format!(
            "the store of this data folder cannot read {what}: use the version that wrote it, or another folder"
        ),
    )
}

/// Where a table's records begin in the table file: its names, each with a zero byte behind it, which no name has.
pub(super) fn prefix(database: &str, table: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(database.len() + table.len() + 2);
    for name in [database, table] {
        prefix.extend_from_slice(name.as_bytes());
        prefix.push(0);
    }
    prefix
}

/// A record's place in the table file.
pub(super) fn full_key(place: &Place, key: &str) -> Vec<u8> {
    let mut full = prefix(place.database(), place.table());
    full.extend_from_slice(key.as_bytes());
    full
}

/// Database, table and key of a place in the table file.
pub(super) fn split(full: &[u8]) -> Option<(&str, &str, &str)> {
    let text = std::str::from_utf8(full).ok()?;
    let (database, rest) = text.split_once('\0')?;
    let (table, key) = rest.split_once('\0')?;
    Some((database, table, key))
}

/// What a record in the table file has behind its version and end: a length of metadata, metadata and value. All numbers are
/// little-endian.
pub(super) struct Row {
    pub(super) metadata: Bytes,
    pub(super) value: Bytes,
}

/// Bytes before the metadata.
const HEAD: usize = 20;

impl Row {
    pub(super) fn write(version: u64, ends: u64, metadata: &[u8], value: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(HEAD + metadata.len() + value.len());
        row.extend_from_slice(&version.to_le_bytes());
        row.extend_from_slice(&ends.to_le_bytes());
        row.extend_from_slice(&(metadata.len() as u32).to_le_bytes());
        row.extend_from_slice(metadata);
        row.extend_from_slice(value);
        row
    }

    /// Version and end.
    pub(super) fn head(row: &[u8]) -> Result<(u64, u64)> {
        let mut rest = row;
        if rest.len() < HEAD {
            return Err(lost("a record"));
        }
        Ok((rest.get_u64_le(), rest.get_u64_le()))
    }

    pub(super) fn read(row: &[u8]) -> Result<Self> {
        Self::head(row)?;
        let mut rest = &row[HEAD - 4..];
        let length = rest.get_u32_le() as usize;
        if rest.len() < length {
            return Err(lost("a record"));
        }
        let (metadata, value) = rest.split_at(length);
        let (metadata, value) = (Bytes::copy_from_slice(metadata), Bytes::copy_from_slice(value));
        Ok(Self { metadata, value })
    }
}

/// Metadata as it is kept.
pub(super) fn metadata(metadata: &Map<String, Value>) -> Result<Bytes> {
    if metadata.is_empty() {
        return Ok(Bytes::new());
    }
    Ok(serde_json::to_vec(metadata).map_err(Error::unexpected)?.into())
}

/// Metadata as it was written.
pub(super) fn read_metadata(bytes: &[u8]) -> Result<Map<String, Value>> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(bytes).map_err(|_| lost("the metadata of a record"))
}

impl From<&Fence> for Passed {
    fn from(fence: &Fence) -> Self {
        Self { lock: fence.lock.clone(), token: fence.token, at: super::clock::clock() }
    }
}
