//! What is to be changed, and on which conditions.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::record::Place;
use crate::error::{Error, Reason};
use crate::spelling::quoted;

/// Changes that are made together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// In this order, at most 1024, with values of 8 MiB in all, and one of each record at most. Their conditions are about what was there
    /// before any of them.
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
        /// At most [`MAX_VALUE`](super::MAX_VALUE) bytes.
        value: Bytes,
        /// At most [`MAX_METADATA`](super::MAX_METADATA) bytes as JSON.
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
}

impl From<Change> for Batch {
    fn from(change: Change) -> Self {
        Self { changes: vec![change], ..Self::default() }
    }
}

/// What a [`Store`](super::Store) says where a condition of a change does not hold; `found` is the version of what is there, 0 for nothing.
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

/// What a [`Store`](super::Store) says of a fence that another has passed.
pub fn stale(fence: &Fence, newest: u64) -> Error {
    Error::failed_precondition(format!(
        "the lock {} was passed on: token {} is stale since {newest} was used, and nothing was changed",
        quoted(&fence.lock),
        fence.token
    ))
    .with_reason(Reason::StaleToken)
}
