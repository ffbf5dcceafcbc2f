//! Records by key, kept by this process, by this machine or by a server.
//!
//! A [`Store`] is what keeps them; all of them promise the same, and say in their [`Abilities`]
//! what they can do beyond it.
//!
//! Programs use a [`Table`] of it, whose records are values of their own types.
//!
//! What every store promises:
//!
//! - **One order.** Each change of a record gets a [version](Record::version), a number that grows through the whole store. What
//!   [`apply`](Store::apply) has returned for is seen by every read that begins afterwards, in any process.
//! - **Conditions are looked at when the change is made.** Of two that write under the same [condition](Condition), one wins, and the
//!   other gets `ABORTED` with the reason `conflict`.
//! - **A record with a time to live is gone when that is over**, by the clock of the store and not by that of a caller.
//! - **Order by key.** Lists are sorted by the bytes of the keys.
//! - **A [`Fence`] that is stale changes nothing**: `FAILED_PRECONDITION` with the reason `stale_token`.

mod abilities;
mod batch;
mod check;
mod connect;
pub mod contract;
#[cfg(unix)]
pub(crate) mod file;
mod memory;
mod query;
mod record;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;

use async_trait::async_trait;

pub use self::abilities::Abilities;
pub use self::batch::{Batch, Change, Condition, Fence, Level, What, conflict, stale};
pub(crate) use self::connect::{DEFAULT, warm_up};
pub use self::connect::{connect, provide};
#[cfg(unix)]
pub use self::file::File;
pub use self::memory::Memory;
pub(crate) use self::memory::{in_child, warm_up as warm_up_memory};
pub use self::query::{Page, Query};
pub use self::record::{MAX_KEY, MAX_METADATA, MAX_VALUE, Place, Record, check_key};
pub use self::table::{Changed, Edit, Entry, Listed, Listing, Table, Watched, Watching};
pub use self::watch::{Changes, Event, Watch};
use crate::error::Result;

/// Keeps records.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// What it is called in texts, for example `memory`.
    fn name(&self) -> &str;

    /// What it can do beyond what every store can.
    fn abilities(&self) -> Abilities;

    /// The record of this key, unless there is none.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a key that cannot be one, `UNAVAILABLE` when the store cannot be reached, `DATA_LOSS` for a record that is
    /// damaged.
    async fn read(&self, place: &Place, key: &str) -> Result<Option<Record>>;

    /// Makes changes in their order, all of them or none; the version that each record has now, 0 where nothing was changed. Versions
    /// rise in the order of the changes. Batches that change a key in common are made one after the other, so that a version of the later
    /// one is above those of the earlier.
    ///
    /// # Errors
    /// `ABORTED` with the reason `conflict` where a condition does not hold, `FAILED_PRECONDITION` with the reason `stale_token` for a
    /// fence that another has passed, `INVALID_ARGUMENT` for what cannot be kept (with the reason `too_large` where that is why) or what the
    /// store cannot do, `RESOURCE_EXHAUSTED` where there is no room, `UNAVAILABLE` when the store cannot be reached.
    async fn apply(&self, batch: Batch) -> Result<Vec<u64>>;

    /// A part of the records that a query is about, at most [`Query::limit`] of them.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn list(&self, query: &Query) -> Result<Page>;

    /// Watches records: once this returns, every change that is made is seen, in the order of versions.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` with the reason `history_gone` where the watch is to begin with changes that are no longer known, `INVALID_ARGUMENT`
    /// where the store cannot watch, or not from a version, `UNAVAILABLE` when it cannot be reached.
    async fn watch(&self, watch: Watch) -> Result<Box<dyn Changes>>;

    /// Names of the databases that have a record, sorted.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the store cannot be reached.
    async fn databases(&self) -> Result<Vec<String>>;

    /// Names of the tables of a database that have a record, sorted.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the store cannot be reached.
    async fn tables(&self, database: &str) -> Result<Vec<String>>;
}
