//! Changes, within a transaction.

use std::time::{Duration, SystemTime};

use micro::store::{Batch, Change, Condition, Place, What, conflict, stale};
use micro::{Error, Result};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

/// A record's name.
pub(crate) type Name = (Place, String);

/// How long a fence is remembered after its last use.
const FENCES_MS: i64 = 24 * 60 * 60 * 1000;
/// Records that are ended or forgotten at a time.
const SOME: i64 = 256;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// A transaction that is going on.
pub(crate) struct Changing<'a> {
    database: &'a Connection,
    /// Of the last change.
    pub(crate) version: u64,
    now: i64,
    /// What was changed, and the time until the first of it ends.
    pub(crate) names: Vec<Name>,
    pub(crate) ttl: Option<Duration>,
}

impl<'a> Changing<'a> {
    pub(crate) fn new(database: &'a Connection, version: u64) -> Self {
        Self { database, version, now: now_ms(), names: Vec::new(), ttl: None }
    }

    /// Makes the changes of a batch; it is refused before the first of them.
    pub(crate) fn apply(&mut self, batch: &Batch) -> rusqlite::Result<Result<Vec<u64>>> {
        if let Err(error) = self.check(batch)? {
            return Ok(Err(error));
        }
        for fence in &batch.fences {
            let mut remember = self.database.prepare_cached(
                "INSERT INTO micro_fences VALUES (?1, ?2, ?3)
                 ON CONFLICT (lock) DO UPDATE SET token = excluded.token, used_ms = excluded.used_ms",
            )?;
            remember.execute(params![fence.lock, fence.token.cast_signed(), self.now])?;
        }
        let mut versions = Vec::with_capacity(batch.changes.len());
        for change in &batch.changes {
            versions.push(self.change(change)?);
        }
        Ok(Ok(versions))
    }

    /// Conditions are about what was there before any change of the batch.
    fn check(&self, batch: &Batch) -> rusqlite::Result<Result<()>> {
        for fence in &batch.fences {
            if i64::try_from(fence.token).is_err() {
                return Ok(Err(Error::invalid_argument(format!(
                    "the token {} of a fence is no version: it has more than 63 bits",
                    fence.token
                ))));
            }
            let mut select = self.database.prepare_cached(
                "SELECT token FROM micro_fences WHERE lock = ?1 AND used_ms > ?2",
            )?;
            let known = params![fence.lock, self.now - FENCES_MS];
            let newest: Option<i64> = select.query_row(known, |row| row.get(0)).optional()?;
            let newest = newest.map_or(0, i64::cast_unsigned);
            if newest > fence.token {
                return Ok(Err(stale(fence, newest)));
            }
        }
        for change in batch.changes.iter().filter(|change| change.condition != Condition::Any) {
            let found = self.find(change)?;
            let holds = match change.condition {
                Condition::Any => true,
                Condition::Absent => found == 0,
                Condition::Present => found > 0,
                Condition::Version(version) => found == version,
            };
            if !holds {
                return Ok(Err(conflict(change, found)));
            }
        }
        Ok(Ok(()))
    }

    /// The version of a record that is there, otherwise 0.
    fn find(&self, change: &Change) -> rusqlite::Result<u64> {
        let mut select = self.database.prepare_cached(
            "SELECT version FROM micro_records WHERE db = ?1 AND tbl = ?2 AND key = ?3
             AND value IS NOT NULL AND (ends_ms IS NULL OR ends_ms > ?4)",
        )?;
        let Change { place, key, .. } = change;
        let known = params![place.database(), place.table(), key, self.now];
        let found: Option<i64> = select.query_row(known, |row| row.get(0)).optional()?;
        Ok(found.map_or(0, i64::cast_unsigned))
    }

    fn change(&mut self, change: &Change) -> rusqlite::Result<u64> {
        let Change { place, key, .. } = change;
        match &change.what {
            What::Nothing => Ok(0),
            What::Delete if self.find(change)? == 0 => Ok(0),
            What::Delete => self.delete(place, key),
            What::Write { value, metadata, ttl } => {
                self.version += 1;
                let ends = ttl.and_then(|ttl| {
                    let ttl = i64::try_from(ttl.as_millis()).ok()?;
                    self.now.checked_add(ttl)
                });
                let mut write = self.database.prepare_cached(
                    "INSERT INTO micro_records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (db, tbl, key) DO UPDATE SET
                     value = excluded.value, metadata = excluded.metadata, version = excluded.version, ends_ms = excluded.ends_ms",
                )?;
                let metadata = Value::Object(metadata.clone()).to_string();
                let version = self.version.cast_signed();
                let (database, table) = (place.database(), place.table());
                write.execute(params![database, table, key, version, ends, metadata, &**value])?;
                if let Some(ttl) = ttl {
                    self.ttl = Some(self.ttl.map_or(*ttl, |before| before.min(*ttl)));
                }
                self.names.push((place.clone(), key.clone()));
                Ok(self.version)
            }
        }
    }

    fn delete(&mut self, place: &Place, key: &str) -> rusqlite::Result<u64> {
        self.version += 1;
        let mut delete = self.database.prepare_cached(
            "UPDATE micro_records SET value = NULL, metadata = '{}', ends_ms = NULL, version = ?4
             WHERE db = ?1 AND tbl = ?2 AND key = ?3",
        )?;
        let version = self.version.cast_signed();
        delete.execute(params![place.database(), place.table(), key, version])?;
        self.names.push((place.clone(), key.to_owned()));
        Ok(self.version)
    }

    /// Deletes some of what has ended; true when there may be more.
    pub(crate) fn end(&mut self) -> rusqlite::Result<bool> {
        let ended: Vec<(String, String, String)> = {
            let mut select = self.database.prepare_cached(
                "SELECT db, tbl, key FROM micro_records WHERE ends_ms <= ?1 ORDER BY ends_ms LIMIT ?2",
            )?;
            let rows = select.query_map(params![self.now, SOME], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            });
            rows?.collect::<rusqlite::Result<_>>()?
        };
        let may_be_more = ended.len() as i64 == SOME;
        for (database, table, key) in ended {
            match Place::new(&database, &table) {
                Ok(place) => {
                    self.delete(&place, &key)?;
                }
                Err(_) => {
                    let delete =
                        "DELETE FROM micro_records WHERE db = ?1 AND tbl = ?2 AND key = ?3";
                    self.database.execute(delete, params![database, table, key])?;
                }
            }
        }
        Ok(may_be_more)
    }

    /// Forgets some of the deletions that are older than the last `history` changes, and fences; true when there may be more.
    pub(crate) fn forget(&mut self, history: u64) -> rusqlite::Result<bool> {
        let until = self.version.saturating_sub(history).cast_signed();
        let forgotten: Vec<i64> = {
            let mut delete = self.database.prepare_cached(
                "DELETE FROM micro_records WHERE rowid IN (SELECT rowid FROM micro_records WHERE value IS NULL AND version <= ?1
                 ORDER BY version LIMIT ?2) RETURNING version",
            )?;
            let rows = delete.query_map(params![until, SOME], |row| row.get(0));
            rows?.collect::<rusqlite::Result<_>>()?
        };
        if let Some(floor) = forgotten.iter().max() {
            let raise = "UPDATE micro_state SET floor = max(floor, ?1) WHERE id = 1";
            self.database.execute(raise, [floor])?;
        }
        let fences = "DELETE FROM micro_fences WHERE lock IN (SELECT lock FROM micro_fences WHERE used_ms <= ?1 LIMIT ?2)";
        self.database.execute(fences, params![self.now - FENCES_MS, SOME])?;
        Ok(forgotten.len() as i64 == SOME)
    }

    /// Writes down how far the store is.
    pub(crate) fn count(&self) -> rusqlite::Result<()> {
        let mut count =
            self.database.prepare_cached("UPDATE micro_state SET version = ?1 WHERE id = 1")?;
        count.execute([self.version.cast_signed()]).map(drop)
    }
}
