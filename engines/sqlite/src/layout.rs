//! The tables of a file, and which version of them this is.

use std::path::Path;

use micro::{Code, Error, Result};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::options::Options;
use crate::said::said;

/// What this program writes and reads.
const LAYOUT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE micro_records (db TEXT NOT NULL, tbl TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL,
        ends_ms INTEGER, metadata TEXT NOT NULL, value BLOB, PRIMARY KEY (db, tbl, key));
    CREATE INDEX micro_records_version ON micro_records (db, tbl, version);
    CREATE INDEX micro_records_ends ON micro_records (ends_ms) WHERE ends_ms IS NOT NULL;
    CREATE INDEX micro_records_gone ON micro_records (version) WHERE value IS NULL;
    CREATE TABLE micro_fences (lock TEXT NOT NULL PRIMARY KEY, token INTEGER NOT NULL, used_ms INTEGER NOT NULL);
    CREATE TABLE micro_state (id INTEGER PRIMARY KEY, layout INTEGER NOT NULL, version INTEGER NOT NULL, floor INTEGER NOT NULL);
    INSERT INTO micro_state VALUES (1, 1, 0, 0);";

/// How far a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) version: u64,
    /// Up to which version deletions are not known.
    pub(crate) floor: u64,
}

/// Opens a file, which is made where there is none, for this user alone.
///
/// # Errors
/// As [`said`], and `FAILED_PRECONDITION` for tables of a newer program.
pub(crate) fn open(options: &Options) -> Result<Connection> {
    let path = &options.path;
    make(path)?;
    let opened = || -> rusqlite::Result<Connection> {
        let mut database = Connection::open(path)?;
        database.busy_timeout(options.busy)?;
        database.set_prepared_statement_cache_capacity(64);
        // The mode stays with the file.
        database.pragma_update(None, "journal_mode", "WAL")?;
        database.pragma_update(None, "synchronous", "FULL")?;
        let transaction = database.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let is_there = is_there(&transaction)?;
        drop(transaction);
        if !is_there {
            let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another may have made them meanwhile.
            if !self::is_there(&transaction)? {
                transaction.execute_batch(TABLES)?;
            }
            transaction.commit()?;
        }
        Ok(database)
    };
    let database = opened().map_err(|error| said(path, "to be opened", error))?;
    state(&database).map_err(|error| said(path, "to be read", error))??;
    Ok(database)
}

fn is_there(database: &Connection) -> rusqlite::Result<bool> {
    let known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'micro_state'";
    Ok(database.query_row(known, [], |_| Ok(())).optional()?.is_some())
}

/// How far the store is, unless another program has changed its layout.
pub(crate) fn state(database: &Connection) -> rusqlite::Result<Result<State>> {
    let mut select =
        database.prepare_cached("SELECT layout, version, floor FROM micro_state WHERE id = 1")?;
    let row = select.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (layout, version, floor): (i64, i64, i64) = row?;
    let path = database.path().unwrap_or_default();
    if layout != LAYOUT {
        return Ok(Err(Error::new(
            Code::FailedPrecondition,
            format!(
                "{path}: its tables have layout {layout}, and this program knows {LAYOUT}: use a newer micro, or name another file in \
                 the URL"
            ),
        )));
    }
    Ok(Ok(State { version: version.cast_unsigned(), floor: floor.cast_unsigned() }))
}

/// What is in it is nobody else's business, unless its file is there already.
fn make(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::permission_denied(format!(
            "{} cannot be made: {error}: its folder has to be there, and this user has to be allowed to write it",
            path.display()
        ))),
    }
}
