//! Changes of a table, as they are made.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::entry::Entry;
use crate::codec::Message;
use crate::error::Result;
use crate::middleware::BoxFuture;
use crate::store::Store;
use crate::store::record::Place;
use crate::store::watch::{Changes, Event, Watch};

/// A watch that is being put together; it begins when it is awaited.
#[must_use = "a watch begins when it is awaited"]
pub struct Watching<T> {
    store: Arc<dyn Store>,
    watch: Watch,
    of: PhantomData<fn() -> T>,
}

impl<T: Message> Watching<T> {
    pub(super) fn new(store: Arc<dyn Store>, place: Place) -> Self {
        let watch = Watch { place, prefix: String::new(), after: None };
        Self { store, watch, of: PhantomData }
    }

    /// Only keys that begin so.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.watch.prefix = prefix.into();
        self
    }

    /// Begins with the first change after this version, such as that of a record that was read; without, with the next that is made.
    pub fn after(mut self, version: u64) -> Self {
        self.watch.after = Some(version);
        self
    }
}

impl<T: Message> IntoFuture for Watching<T> {
    type Output = Result<Watched<T>>;
    type IntoFuture = BoxFuture<Result<Watched<T>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let place = self.watch.place.clone();
            let changes = self.store.watch(self.watch).await?;
            Ok(Watched { changes, place, of: PhantomData })
        })
    }
}

/// Changes, until it is dropped. Once it is there, every change that is made is seen.
pub struct Watched<T> {
    changes: Box<dyn Changes>,
    place: Place,
    of: PhantomData<fn() -> T>,
}

/// A record was changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Changed<T> {
    /// Which one.
    pub key: String,
    /// Of the change: above those of all earlier ones.
    pub version: u64,
    /// What it is now; without, it was deleted or its time is over.
    pub entry: Option<Entry<T>>,
}

impl<T: Message> Watched<T> {
    /// The next change. Waiting may be given up at any time, and nothing is lost by it. A change of a record that was changed again
    /// meanwhile may be left out, and never the last one. None ends it, as an error does.
    ///
    /// # Errors
    /// Those of [`Changes::next`], `DATA_LOSS` for a record that is no `T`: what comes after it can still be seen.
    pub async fn next(&mut self) -> Result<Option<Changed<T>>> {
        let Some(Event { key, version, record }) = self.changes.next().await? else {
            return Ok(None);
        };
        let entry = record.map(|record| Entry::new(&self.place, record)).transpose()?;
        Ok(Some(Changed { key, version, entry }))
    }
}

impl<T> fmt::Debug for Watching<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").field("watch", &self.watch).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("place", &self.place).finish_non_exhaustive()
    }
}
