//! The store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use micro::store::{
    Abilities, Batch, Changes, Page, Place, Query, Record, Store, Watch, check_key,
};
use micro::{Error, Result};

use crate::go_micro::GoMicro;
use crate::options::Options;
use crate::shared::Shared;
use crate::tidy::tidy;
use crate::watch::Watching;
use crate::{read, write};

/// The store that a URL names.
pub(crate) fn open(scheme: &'static str, rest: &str) -> Result<Arc<dyn Store>> {
    let options = Options::read(scheme, rest)?;
    Ok(match options.is_go_micro {
        true => Arc::new(GoMicro::new(options)),
        false => Arc::new(Postgres { shared: Arc::new(Shared::new(options)) }),
    })
}

/// Store in PostgreSQL 13 and later, or in CockroachDB. Clones are handles on the same connections.
///
/// Once [`apply`](Store::apply) returns, the server has committed the change, as safe as it keeps what is committed: with `fsync` and
/// `synchronous_commit` as they are unless set, it is on the disk. There is no level below that one.
#[derive(Clone)]
pub struct Postgres {
    shared: Arc<Shared>,
}

impl Postgres {
    /// As the URL `postgres://`, `postgresql://` or `cockroach://` and what follows says:
    /// `user:password@host:port/database?tables=micro`. It connects when it is first used, and makes its tables then, unless they are
    /// there.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what cannot be read.
    pub fn new(scheme: &'static str, rest: &str) -> Result<Self> {
        let options = Options::read(scheme, rest)?;
        if options.is_go_micro {
            return Err(Error::invalid_argument(format!(
                "{}: layout=go-micro is of a store that is only read: open it by `micro::store::connect`",
                options.place()
            )));
        }
        Ok(Self { shared: Arc::new(Shared::new(options)) })
    }

    /// Removes at once what has ended, and deletions that need not be known any more. That happens every half a minute by itself while
    /// this process changes something.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the server cannot be reached.
    pub async fn tidy(&self) -> Result<()> {
        self.shared.ready().await?;
        tidy(&self.shared).await
    }
}

#[async_trait]
impl Store for Postgres {
    fn name(&self) -> &str {
        self.shared.link.options.scheme
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
        self.shared.ready().await?;
        read::read(&self.shared.link, &self.shared.statements.read, place, key).await
    }

    async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        batch.check(self)?;
        write::apply(&self.shared, batch).await
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        self.shared.ready().await?;
        read::list(&self.shared.link, |list| self.shared.statements.list(list), query).await
    }

    async fn watch(&self, watch: Watch) -> Result<Box<dyn Changes>> {
        Ok(Box::new(Watching::begin(&self.shared, watch).await?))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        read::names(&self.shared, None).await
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        read::names(&self.shared, Some(database)).await
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("options", &self.shared.link.options)
            .finish_non_exhaustive()
    }
}
