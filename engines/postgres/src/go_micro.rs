//! Records as go-micro's store for CockroachDB keeps them, to be read.
//!
//! Each of its databases is one of CockroachDB, or a schema where the same tables are in PostgreSQL, and has a table for each of its
//! tables. Every record has the version 1, since go-micro counts none. Names have `_` for every run of other characters than letters and digits.

use std::error::Error as _;
use std::fmt;

use async_trait::async_trait;
use micro::store::{
    Abilities, Batch, Changes, Page, Place, Query, Record, Store, Watch, check_key,
};
use micro::{Code, Error, Reach, Result};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::link::Link;
use crate::options::Options;
use crate::read;
use crate::sql::{self, Dialect, Sql};

/// Databases that every CockroachDB has.
const BUILT_IN: [&str; 3] = ["defaultdb", "postgres", "system"];

/// A store that is read alone.
pub(crate) struct GoMicro {
    link: Link,
}

impl GoMicro {
    pub(crate) fn new(options: Options) -> Self {
        Self { link: Link::new(options) }
    }

    /// A table of go-micro's as one of ours.
    fn records(&self, place: &Place) -> String {
        let (database, table) = (plain(place.database()), plain(place.table()));
        // In the order of bytes, as CockroachDB has it by itself.
        let key = match self.link.options.dialect {
            Dialect::Postgres => "key COLLATE \"C\"",
            Dialect::Cockroach => "key",
        };
        format!(
            "(SELECT $1 AS db, $2 AS tbl, {key} AS key, coalesce(value, '') AS value, \
             coalesce(nullif(metadata::text, 'null'), '{{}}') AS metadata, 1::bigint AS version, expiry AS ends \
             FROM \"{database}\".\"{table}\") AS records"
        )
    }

    async fn names(&self, sql: &str, values: &[crate::link::Value<'_>]) -> Result<Vec<String>> {
        let types: &[Type] = if values.is_empty() { &[] } else { &[Type::TEXT] };
        let sql = Sql { text: sql.to_owned(), types };
        let rows = self.link.ask("to list", &sql, values).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// Where there is no such table, there is no record of it.
fn or_nothing<T: Default>(read: Result<T>) -> Result<T> {
    let nowhere =
        [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME, SqlState::INVALID_CATALOG_NAME];
    match read {
        // What never reached the database is about that of the URL.
        Err(error) if error.reach() == Reach::Maybe => {
            let source = error.source().and_then(|source| source.downcast_ref());
            let code = source.and_then(|said: &tokio_postgres::Error| said.code());
            match code.is_some_and(|code| nowhere.contains(code)) {
                true => Ok(T::default()),
                false => Err(error),
            }
        }
        read => read,
    }
}

/// As go-micro writes names.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() {
            plain.push(letter.to_ascii_lowercase());
        } else if !plain.ends_with('_') {
            plain.push('_');
        }
    }
    plain
}

#[async_trait]
impl Store for GoMicro {
    fn name(&self) -> &str {
        self.link.options.scheme
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::default();
        abilities.persists = true;
        abilities
    }

    async fn read(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        check_key(key)?;
        let sql = sql::read(&self.records(place));
        or_nothing(read::read(&self.link, &sql, place, key).await)
    }

    async fn apply(&self, _: Batch) -> Result<Vec<u64>> {
        Err(Error::failed_precondition(format!(
            "{}: the tables of go-micro are only read: write to a store whose URL has no `layout=go-micro`",
            self.link.options.place()
        )))
    }

    async fn list(&self, query: &Query) -> Result<Page> {
        let records = self.records(&query.place);
        or_nothing(read::list(&self.link, |list| sql::list(&records, list), query).await)
    }

    async fn watch(&self, _: Watch) -> Result<Box<dyn Changes>> {
        Err(Error::invalid_argument(format!(
            "{}: go-micro tells nobody of its changes: this cannot be watched",
            self.link.options.place()
        )))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        let names = match self.link.options.dialect {
            Dialect::Postgres => {
                "SELECT DISTINCT table_schema::text FROM information_schema.columns WHERE column_name = 'expiry' ORDER BY 1"
            }
            Dialect::Cockroach => "SELECT datname::text FROM pg_database ORDER BY 1",
        };
        let mut names = self.names(names, &[]).await?;
        names.retain(|name| !BUILT_IN.contains(&name.as_str()));
        Ok(names)
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let database = plain(database);
        match self.link.options.dialect {
            Dialect::Postgres => {
                let tables = "SELECT table_name::text FROM information_schema.columns WHERE column_name = 'expiry' \
                    AND table_schema = $1 ORDER BY 1";
                self.names(tables, &[&database]).await
            }
            Dialect::Cockroach => {
                let tables = format!(
                    "SELECT table_name::text FROM \"{database}\".information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
                );
                match self.names(&tables, &[]).await {
                    Err(error) if error.code() == Code::FailedPrecondition => Ok(Vec::new()),
                    names => names,
                }
            }
        }
    }
}

impl fmt::Debug for GoMicro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoMicro").field("options", &self.link.options).finish_non_exhaustive()
    }
}
