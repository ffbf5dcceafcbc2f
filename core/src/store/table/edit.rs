//! Changes that are being put together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::middleware::BoxFuture;
use crate::store::Store;
use crate::store::batch::{Batch, Change, Condition, Fence, Level, What};

/// A change of a record that is being put together: it is made when it is awaited, or as a part of a [`batch`](super::Table::batch). It
/// ends with the version that the record has now, 0 where nothing was changed.
///
/// # Errors
/// `ABORTED` with the reason `conflict` where its condition does not hold, `FAILED_PRECONDITION` with the reason `stale_token` for a
/// fence that another has passed, `INVALID_ARGUMENT` for what cannot be kept, and the others of [`Store::apply`].
#[must_use = "a change is made when it is awaited"]
pub struct Edit {
    store: Arc<dyn Store>,
    change: Result<Change>,
    fences: Vec<Fence>,
    level: Level,
}

impl Edit {
    pub(super) fn new(store: Arc<dyn Store>, change: Result<Change>) -> Self {
        Self { store, change, fences: Vec::new(), level: Level::default() }
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn only_if(mut self, condition: Condition) -> Self {
        if let Ok(change) = &mut self.change {
            change.condition = condition;
        }
        self
    }

    /// Only where the record has this version.
    pub fn if_version(self, version: u64) -> Self {
        self.only_if(Condition::Version(version))
    }

    /// Only where there is no such record.
    pub fn if_absent(self) -> Self {
        self.only_if(Condition::Absent)
    }

    /// Only where there is such a record.
    pub fn if_present(self) -> Self {
        self.only_if(Condition::Present)
    }

    /// Only while no later holder of the lock has changed anything by its token: of a [`Fence`], or of a lock that is held.
    pub fn fence(mut self, fence: impl Into<Fence>) -> Self {
        self.fences.push(fence.into());
        self
    }

    /// As [`fence`](Self::fence), by the name of the lock and the token of its holder.
    pub fn if_token(self, lock: impl Into<String>, token: u64) -> Self {
        self.fence(Fence { lock: lock.into(), token })
    }

    /// The record is gone after this time, in whole milliseconds, at least one.
    pub fn ttl(self, after: Duration) -> Self {
        self.written("a time to live", |_, ttl| {
            *ttl = Some(after);
            Ok(())
        })
    }

    /// Written with the value: anything that is JSON, by name.
    pub fn metadata(self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.written("metadata", |metadata, _| {
            let value = serde_json::to_value(value);
            let value = value.map_err(|error| {
                Error::invalid_argument(format!("metadata that cannot be JSON: {error}"))
            })?;
            metadata.insert(name.into(), value);
            Ok(())
        })
    }

    /// How safe the change is once it is acknowledged: on the disk, unless told otherwise.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    fn written(
        mut self,
        what: &str,
        set: impl FnOnce(
            &mut serde_json::Map<String, serde_json::Value>,
            &mut Option<Duration>,
        ) -> Result<()>,
    ) -> Self {
        let wrong = match &mut self.change {
            Err(_) => None,
            Ok(Change { what: What::Write { metadata, ttl, .. }, .. }) => set(metadata, ttl).err(),
            Ok(_) => Some(Error::invalid_argument(format!(
                "{what} belongs to a record that is written, and this change writes none"
            ))),
        };
        if let Some(wrong) = wrong {
            self.change = Err(wrong);
        }
        self
    }

    /// What a [`Store`] is asked for.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` where the change makes no sense, `INTERNAL` for a value that cannot be written.
    pub fn into_batch(self) -> Result<Batch> {
        Ok(Batch { changes: vec![self.change?], fences: self.fences, level: self.level })
    }
}

impl IntoFuture for Edit {
    type Output = Result<u64>;
    type IntoFuture = BoxFuture<Result<u64>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let store = self.store.clone();
            let versions = store.apply(self.into_batch()?).await?;
            Ok(versions.first().copied().unwrap_or_default())
        })
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit")
            .field("change", &self.change)
            .field("fences", &self.fences)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}
