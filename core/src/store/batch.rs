//! What is to be changed, and on which conditions.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::record::{MAX_METADATA, MAX_VALUE, Place, check_key};
use super::{Abilities, Store};
use crate::error::{Error, Reason, Result};
use crate::spelling::quoted;

/// Changes of one batch, at most.
const MAX_CHANGES: usize = 1024;
/// Bytes of all values of one batch, at most.
const MAX_BYTES: usize = 8 << 20;

/// Changes that are made together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// In this order, at most 1024, with values of 8 MiB in all.
    pub changes: Vec<Change>,
    /// The locks under which they are made.
    pub fences: Vec<Fence>,
    /// How safe they are when they are acknowledged.
    pub level: Level,
}

/// How safe a change is once it is acknowledged. A store that has one level only gives that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// It survives the end of every process, and not that of the machine.
    Written,
    /// It is on the disk, where the store has one.
    #[default]
    Synced,
}

/// A change of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Of which table.
    pub place: Place,
    /// Of which record.
    pub key: String,
    /// What becomes of it.
    pub what: What,
    /// What has to be so.
    pub condition: Condition,
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// It is written, whether it was there or not.
    Write {
        /// At most [`MAX_VALUE`] bytes.
        value: Bytes,
        /// At most [`MAX_METADATA`] bytes as JSON.
        metadata: Map<String, Value>,
        /// After this it is gone; without, it stays. Whole milliseconds, 1 at least.
        ttl: Option<Duration>,
    },
    /// It is deleted, if it was there.
    Delete,
    /// It stays as it is: only the condition counts.
    Nothing,
}

/// What has to be so when a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Anything.
    #[default]
    Any,
    /// There is no such record.
    Absent,
    /// There is such a record.
    Present,
    /// The record has this version.
    Version(u64),
}

/// A lock, and the number that its holder got with it. Once a change was made with a number, changes with a lower one of the same lock
/// are refused, so that a holder who was paused past its time changes nothing any more. Forgotten a day after its last use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The lock's name, as a [key](super::MAX_KEY).
    pub lock: String,
    /// The number of this holding of it.
    pub token: u64,
}

impl Change {
    /// Writes a record.
    pub fn write(place: Place, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        let what = What::Write { value: value.into(), metadata: Map::new(), ttl: None };
        Self { place, key: key.into(), what, condition: Condition::Any }
    }

    /// Deletes a record.
    pub fn delete(place: Place, key: impl Into<String>) -> Self {
        Self { place, key: key.into(), what: What::Delete, condition: Condition::Any }
    }

    /// Changes nothing, and fails where the condition does not hold.
    pub fn check(place: Place, key: impl Into<String>, condition: Condition) -> Self {
        Self { place, key: key.into(), what: What::Nothing, condition }
    }

    /// On this condition.
    #[must_use]
    pub fn only_if(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Gone after this. Does nothing to what writes nothing.
    #[must_use]
    pub fn expires_in(mut self, after: Duration) -> Self {
        if let What::Write { ttl, .. } = &mut self.what {
            *ttl = Some(after);
        }
        self
    }

    fn check_sizes(&self) -> Result<usize> {
        check_key(&self.key)?;
        let What::Write { value, metadata, ttl } = &self.what else { return Ok(0) };
        let too_large = |what: &str, bytes: usize, most: usize| {
            let key = quoted(&self.key);
            let text =
                format!("the {what} of {key} has {bytes} bytes, and at most {most} are kept");
            Err(Error::invalid_argument(text).with_reason(Reason::TooLarge))
        };
        if value.len() > MAX_VALUE {
            return too_large("value", value.len(), MAX_VALUE);
        }
        if !metadata.is_empty() {
            let length = serde_json::to_vec(metadata).map_err(Error::unexpected)?.len();
            if length > MAX_METADATA {
                return too_large("metadata", length, MAX_METADATA);
            }
        }
        match ttl {
            Some(ttl) if *ttl < Duration::from_millis(1) => Err(Error::invalid_argument(format!(
                "the record {} would live for less than a millisecond: delete it instead",
                quoted(&self.key)
            ))),
            _ => Ok(value.len()),
        }
    }
}

impl From<Change> for Batch {
    fn from(change: Change) -> Self {
        Self { changes: vec![change], ..Self::default() }
    }
}

impl Batch {
    /// What every store does first: refuses what cannot be kept, and what this one cannot do.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, with the reason `too_large` where that is why.
    pub fn check(&self, store: &dyn Store) -> Result<()> {
        let Abilities { transactions, .. } = store.abilities();
        if self.changes.len() > 1 && !transactions {
            return Err(Error::invalid_argument(format!(
                "the store `{}` makes one change at a time: apply them one by one, or use a store with transactions",
                store.name()
            )));
        }
        let too_large = |text| Err(Error::invalid_argument(text).with_reason(Reason::TooLarge));
        if self.changes.len() > MAX_CHANGES {
            let count = self.changes.len();
            return too_large(format!("{count} changes in a batch, and at most {MAX_CHANGES} fit"));
        }
        let mut bytes = 0;
        for change in &self.changes {
            bytes += change.check_sizes()?;
        }
        if bytes > MAX_BYTES {
            return too_large(format!("a batch of {bytes} bytes, and at most {MAX_BYTES} fit"));
        }
        self.fences.iter().try_for_each(|fence| check_key(&fence.lock))
    }
}

/// What a [`Store`] says where a condition of a change does not hold; `found` is the version of what is there, 0 for nothing.
pub fn conflict(change: &Change, found: u64) -> Error {
    let wanted = match change.condition {
        Condition::Any => "anything".to_owned(),
        Condition::Absent => "no record".to_owned(),
        Condition::Present => "a record".to_owned(),
        Condition::Version(version) => format!("version {version}"),
    };
    let found = match found {
        0 => "there is none".to_owned(),
        version => format!("it has version {version}"),
    };
    let text = format!(
        "conflict: {} in {} was to be changed where there is {wanted}, and {found}: read it again",
        quoted(&change.key),
        change.place
    );
    Error::new(crate::Code::Aborted, text).with_reason(Reason::Conflict)
}

/// What a [`Store`] says of a fence that another has passed.
pub fn stale(fence: &Fence, newest: u64) -> Error {
    Error::failed_precondition(format!(
        "the lock {} was passed on: token {} is stale since {newest} was used, and nothing was changed",
        quoted(&fence.lock),
        fence.token
    ))
    .with_reason(Reason::StaleToken)
}
