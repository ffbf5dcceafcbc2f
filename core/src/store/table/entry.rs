//! Records with the values that they are.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::codec::{Message, Side};
use crate::error::{Code, Error, Result};
use crate::spelling::quoted;
use crate::store::record::{Place, Record};

/// A record of a [`Table`](super::Table).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry<T> {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: T,
    /// What was written with it, any JSON by name.
    pub metadata: Map<String, Value>,
    /// Grows with every change of any record of the store.
    pub version: u64,
    /// The time that is left when it was read; without, it stays.
    pub expires_in: Option<Duration>,
}

impl<T: Message> Entry<T> {
    /// # Errors
    /// `DATA_LOSS` for a record that is no `T`.
    pub(super) fn new(place: &Place, record: Record) -> Result<Self> {
        let Record { key, value, metadata, version, expires_in } = record;
        let value = T::decode(T::preferred(), value).map_err(|error| {
            let (key, what) = (quoted(&key), std::any::type_name::<T>());
            let text = format!(
                "the record {key} of {place} cannot be read as {what}: {}; read it as what it was written as",
                error.detail()
            );
            Error::new(Code::DataLoss, text)
        })?;
        Ok(Self { key, value, metadata, version, expires_in })
    }
}

/// A value as it is kept.
pub(super) fn written<T: Message>(value: T) -> Result<Bytes> {
    value.into_bytes(T::preferred(), Side::Server)
}
