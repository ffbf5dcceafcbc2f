//! Changes, as they are made.

use async_trait::async_trait;

use super::record::{Place, Record};
use crate::error::Result;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Of which table.
    pub place: Place,
    /// How the keys begin; empty for all. A key in full watches that one, and those that begin with it.
    pub prefix: String,
    /// Begins with the first change after this version; without, with the next that is made.
    pub after: Option<u64>,
}

/// A record was changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which one.
    pub key: String,
    /// Of the change: above those of all earlier ones.
    pub version: u64,
    /// What it is now; without, it was deleted or its time is over.
    pub record: Option<Record>,
}

/// What a watch sees, until it is dropped.
#[async_trait]
pub trait Changes: Send {
    /// The next change. Waiting may be given up at any time, and nothing is lost by it. A store may leave out a change of a record
    /// that was changed again meanwhile, and never the last one. None ends it, as an error does.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` with the reason `history_gone` where changes were missed: list again, and watch from there. `UNAVAILABLE` when the
    /// store cannot be reached.
    async fn next(&mut self) -> Result<Option<Event>>;
}
