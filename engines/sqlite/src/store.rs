//! The store.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use micro::Result;
use micro::store::{
    Abilities, Batch, Changes, Page, Place, Query, Record, Store, Watch, check_key,
};

use crate::options::Options;
use crate::query;
use crate::shared::{Shared, forked};
use crate::watch::Watching;

/// Store in a file of SQLite. Clones, and others that name the same file in this process, are handles on the same two threads.
///
/// Once [`apply`](Store::apply) returns, the change is on the disk, or with the level `written` as safe as the operating system is.
#[derive(Clone)]
pub struct Sqlite {
    options: Arc<Options>,
    /// Once it was used.
    opened: Arc<Mutex<Option<Opened>>>,
}

/// What was opened, and by which process.
type Opened = (u32, Arc<Shared>);

impl Sqlite {
    /// As the URL `sqlite://` and what follows says: `/folder/file.db`. The file is opened when it is first used, and made where there
    /// is none.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what cannot be read.
    pub fn new(rest: &str) -> Result<Self> {
        Ok(Self { options: Arc::new(Options::read(rest)?), opened: Arc::default() })
    }

    /// Removes at once what has ended, and deletions that need not be known any more. That happens every half a minute by itself while
    /// this process changes something.
    ///
    /// # Errors
    /// As [`apply`](Store::apply).
    pub async fn tidy(&self) -> Result<()> {
        self.shared()?.writer.tidy().await
    }

    fn shared(&self) -> Result<Arc<Shared>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some((process, _)) if *process != std::process::id() => Err(forked(&self.options)),
            Some((_, shared)) => Ok(shared.clone()),
            None => {
                let shared = Shared::of(&self.options)?;
                *opened = Some((std::process::id(), shared.clone()));
                Ok(shared)
            }
        }
    }
}

#[async_trait]
impl Store for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::default();
        abilities.persists = true;
        abilities.transactions = true;
        abilities.watches = true;
        abilities.watches_from = true;
        abilities
    }

    async fn read(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        check_key(key)?;
        let (place, key) = (place.clone(), key.to_owned());
        let read = move |database: &_| query::read(database, &place, &key);
        self.shared()?.reader.ask("to read", read).await
    }

    async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        batch.check(self)?;
        self.shared()?.writer.apply(batch).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let query = query.clone();
        let list = move |database: &_| query::list(database, &query);
        self.shared()?.reader.ask("to list", list).await
    }

    async fn watch(&self, watch: Watch) -> Result<Box<dyn Changes>> {
        Ok(Box::new(Watching::begin(&self.shared()?, watch).await?))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        let names = |database: &_| query::names(database, None).map(Ok);
        self.shared()?.reader.ask("to list", names).await
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let of = database.to_owned();
        let names = move |database: &_| query::names(database, Some(&of)).map(Ok);
        self.shared()?.reader.ask("to list", names).await
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("options", &self.options).finish_non_exhaustive()
    }
}
