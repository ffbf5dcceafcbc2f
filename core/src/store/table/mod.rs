//! Records of one table as values of the program's own types.

mod edit;
mod entry;
mod list;
#[cfg(test)]
mod tests;
mod watching;

use std::fmt;
use std::sync::Arc;

pub use self::edit::Edit;
pub use self::entry::Entry;
pub use self::list::{Listed, Listing};
pub use self::watching::{Changed, Watched, Watching};
use super::batch::{Batch, Change, Fence, Level};
use super::record::Place;
use super::{Condition, Store};
use crate::codec::Message;
use crate::error::{Error, Result};
use crate::spelling::quoted;

/// A table of a [`Store`], for programs. Cheap to clone.
///
/// A value is a [`Message`]: [`Json<T>`](crate::Json), [`Proto<T>`](crate::Proto), a protobuf type that knows its descriptor, or
/// [`Raw`](crate::Raw) for bytes as they are. It is kept in the codec that its type prefers, without a word on which that is: a record
/// is read as what it was written as.
///
/// ```
/// # use std::time::Duration;
/// # use micro::Json;
/// use micro::store::{Memory, Table};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro::Result<()> {
/// # let store = std::sync::Arc::new(Memory::new());
/// let sessions = Table::new(store, "sessions")?;
/// let version = sessions.write("ada", Json(1_u64)).ttl(Duration::from_secs(3600)).await?;
/// sessions.write("ada", Json(2_u64)).if_version(version).await?;
/// let mut all = sessions.list().prefix("a").entries::<Json<u64>>();
/// while let Some(session) = all.next().await? {
///     assert_eq!((session.key.as_str(), session.value.0), ("ada", 2));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Table {
    store: Arc<dyn Store>,
    place: Place,
}

impl Table {
    /// The table of this name in the database `micro` of a store.
    ///
    /// # Errors
    /// As [`Place::new`].
    pub fn new(store: Arc<dyn Store>, name: &str) -> Result<Self> {
        let place = Place::new(Place::default().database(), name)?;
        Ok(Self::at(store, place))
    }

    /// As [`new`](Self::new), of a store that is borrowed.
    pub(crate) fn named(store: &Arc<dyn Store>, name: &str) -> Result<Self> {
        Self::new(store.clone(), name)
    }

    /// A table of any database.
    pub fn at(store: Arc<dyn Store>, place: Place) -> Self {
        Self { store, place }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The store that keeps it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The record of this key.
    ///
    /// # Errors
    /// `NOT_FOUND` where there is none, those of [`get`](Self::get).
    pub async fn read<T: Message>(&self, key: &str) -> Result<Entry<T>> {
        self.get(key).await?.ok_or_else(|| {
            Error::not_found(format!("there is no record {} in {}", quoted(key), self.place))
        })
    }

    /// The record of this key, if there is one.
    ///
    /// # Errors
    /// `DATA_LOSS` for a record that is no `T`, those of [`Store::read`].
    pub async fn get<T: Message>(&self, key: &str) -> Result<Option<Entry<T>>> {
        let record = self.store.read(&self.place, key).await?;
        record.map(|record| Entry::new(&self.place, record)).transpose()
    }

    /// Writes a record once it is awaited, whether it was there or not; the version that it has now.
    pub fn write<T: Message>(&self, key: impl Into<String>, value: T) -> Edit {
        let key = key.into();
        let written = entry::written(value);
        self.edit(written.map(|value| Change::write(self.place.clone(), key, value)))
    }

    /// Deletes a record once it is awaited; the version of that change, 0 where there was none.
    pub fn delete(&self, key: impl Into<String>) -> Edit {
        self.edit(Ok(Change::delete(self.place.clone(), key)))
    }

    /// Changes nothing, and fails where the condition that it is given does not hold: for [`batch`](Self::batch)es that depend on
    /// records they leave as they are.
    pub fn check(&self, key: impl Into<String>) -> Edit {
        self.edit(Ok(Change::check(self.place.clone(), key, Condition::Any)))
    }

    fn edit(&self, change: Result<Change>) -> Edit {
        Edit::new(self.store.clone(), change)
    }

    /// Makes changes of this and other tables of its store, all of them or none; the version of each record, 0 where nothing was changed.
    /// Their conditions are about what was there before any of them.
    ///
    /// ```
    /// # use micro::{Json, Result, store::Table};
    /// # async fn example(accounts: Table, log: Table) -> Result<()> {
    /// let (ada, bob) = (accounts.read::<Json<i64>>("ada").await?, accounts.read::<Json<i64>>("bob").await?);
    /// let moved = accounts.batch([
    ///     accounts.write("ada", Json(ada.value.0 - 5)).if_version(ada.version),
    ///     accounts.write("bob", Json(bob.value.0 + 5)).if_version(bob.version),
    ///     log.write("7", Json("5 from ada to bob".to_owned())).if_absent(),
    /// ]);
    /// moved.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Store::apply`], `INVALID_ARGUMENT` for a table of another store.
    pub async fn batch(&self, edits: impl IntoIterator<Item = Edit>) -> Result<Vec<u64>> {
        // Not held while it waits: edits need not be `Sync`.
        let batch = self.gather(edits)?;
        self.store.apply(batch).await
    }

    fn gather(&self, edits: impl IntoIterator<Item = Edit>) -> Result<Batch> {
        let mut batch = Batch { level: Level::Written, ..Batch::default() };
        for edit in edits {
            if !Arc::ptr_eq(edit.store(), &self.store) {
                return Err(Error::invalid_argument(format!(
                    "a batch of {} has a change of another store: make that one by itself",
                    self.place
                )));
            }
            let one = edit.into_batch()?;
            batch.changes.extend(one.changes);
            let known = |fence: &Fence, fences: &[Fence]| fences.contains(fence);
            for fence in one.fences {
                if !known(&fence, &batch.fences) {
                    batch.fences.push(fence);
                }
            }
            if one.level == Level::Synced {
                batch.level = Level::Synced;
            }
        }
        Ok(batch)
    }

    /// Records of the table, in the order of the bytes of their keys.
    pub fn list(&self) -> Listing {
        Listing::new(self.store.clone(), self.place.clone())
    }

    /// Watches records of the table, once that is awaited.
    ///
    /// ```
    /// # use micro::{Json, Result, store::Table};
    /// # async fn example(orders: Table) -> Result<()> {
    /// let mut changes = orders.watch::<Json<String>>().prefix("open/").await?;
    /// while let Some(change) = changes.next().await? {
    ///     match change.entry {
    ///         Some(order) => println!("{} is {} now", change.key, order.value.0),
    ///         None => println!("{} is gone", change.key),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch<T: Message>(&self) -> Watching<T> {
        Watching::new(self.store.clone(), self.place.clone())
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("store", &self.store.name())
            .field("place", &self.place)
            .finish()
    }
}
