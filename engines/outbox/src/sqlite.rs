//! Outboxes in SQLite.
//!
//! SQLite tells no process of what another wrote. So the relay looks every 20 ms whether the file has changed, by `PRAGMA
//! data_version`, which reads no page of it; everything else is done when it has.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use micro::broker::{Broker, Message};
use micro::{Code, Error, Result};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::time::sleep;

use crate::relay::{BATCH, MOST_ATTEMPTS, Relay, Settled, Store};
use crate::row::{COLUMNS, Kept, Row, millis};
use crate::table::{Names, VERSION, check_version};

/// How often it is looked whether the file has changed.
const LOOK: Duration = Duration::from_millis(20);
/// How long a writer waits for another.
const BUSY: Duration = Duration::from_secs(10);
/// How long a relay that dies keeps others waiting.
const LEASE: Duration = Duration::from_secs(5);

/// An outbox in a database of SQLite. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    names: Arc<Names>,
    max_attempts: u32,
}

impl Outbox {
    /// The outbox in the table `table`, with `…_dead` and `…_schema` beside it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name that is not made of a-z, 0-9 and `_`.
    pub fn new(table: &str) -> Result<Self> {
        Ok(Self { names: Arc::new(Names::new(table)?), max_attempts: MOST_ATTEMPTS })
    }

    /// How often a message may fail, while others are taken, before it is a dead letter; 10 unless set. One that its broker refuses
    /// for what it is, is one at once, and one that fails while its broker is away never is.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Makes its tables unless they are there, in a transaction of its own. A [`Relay`] does so as well.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for tables of a newer version, `UNAVAILABLE` for what the database says.
    pub fn migrate(&self, database: &mut Connection) -> Result<()> {
        let names = &self.names;
        let transaction =
            database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(said)?;
        let known = transaction
            .query_row(
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1",
                [&names.schema],
                |_| Ok(()),
            )
            .optional()
            .map_err(said)?;
        if known.is_some() {
            let version = format!("SELECT version FROM {}", names.schema);
            let version = transaction.query_row(&version, [], |row| row.get(0)).map_err(said)?;
            return check_version(names, version);
        }
        let Names { table, dead, schema } = &**names;
        let columns = "topic TEXT NOT NULL, key TEXT, headers TEXT NOT NULL DEFAULT '[]', content_type TEXT, \
            body BLOB NOT NULL, due_ms INTEGER, expires_ms INTEGER, priority INTEGER NOT NULL DEFAULT 0, message_id TEXT";
        let made = transaction.execute_batch(&format!(
            "CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, {columns},
                attempts INTEGER NOT NULL DEFAULT 0, retry_ms INTEGER, error TEXT);
             CREATE INDEX {table}_retry ON {table} (key, id) WHERE retry_ms IS NOT NULL;
             CREATE TABLE {dead} (id INTEGER PRIMARY KEY, {columns}, error TEXT NOT NULL, died_ms INTEGER NOT NULL);
             CREATE TABLE {schema} (version INTEGER NOT NULL, identity TEXT NOT NULL, holder TEXT, until_ms INTEGER);
             INSERT INTO {schema} (version, identity) VALUES ({VERSION}, lower(hex(randomblob(12))));"
        ));
        made.and_then(|()| transaction.commit()).map_err(said)
    }

    /// Publishes a message once the transaction is committed; the id of its row.
    ///
    /// # Errors
    /// What the database says: the transaction is to be rolled back then.
    pub fn publish(&self, transaction: &Transaction<'_>, message: &Message) -> Result<i64> {
        let kept = Kept::new(message)?;
        let insert = format!(
            "INSERT INTO {} ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            self.names.table
        );
        let mut insert = transaction.prepare(&insert).map_err(said)?;
        let inserted = insert.insert(params![
            kept.topic,
            kept.key,
            kept.headers,
            kept.content_type,
            kept.body,
            kept.due_ms,
            kept.expires_ms,
            kept.priority,
            kept.message_id,
        ]);
        inserted.map_err(said)
    }
}

impl Relay {
    /// Relays the outbox of the database at `path`, by a connection of its own.
    pub fn sqlite(path: impl AsRef<Path>, outbox: Outbox, broker: Arc<dyn Broker>) -> Self {
        let holder = format!("{}-{:016x}", std::process::id(), fastrand::u64(..));
        let max_attempts = outbox.max_attempts;
        let held =
            Held { path: path.as_ref().to_owned(), outbox, holder, database: None, seen: None };
        Self::begin(File { held: Arc::new(Mutex::new(held)), until: None, max_attempts }, broker)
    }
}

/// The table in a file.
struct File {
    held: Arc<Mutex<Held>>,
    /// When another may take it.
    until: Option<Instant>,
    max_attempts: u32,
}

struct Held {
    path: PathBuf,
    outbox: Outbox,
    holder: String,
    database: Option<Connection>,
    /// What `data_version` was.
    seen: Option<i64>,
}

impl File {
    /// Does something that blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Held) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let held = self.held.clone();
        let done = tokio::task::spawn_blocking(move || {
            work(&mut held.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(|error| Error::internal(error.to_string()))?
    }
}

#[async_trait]
impl Store for File {
    async fn acquire(&mut self) -> Result<String> {
        self.until = None;
        self.blocking(Held::open).await?;
        loop {
            let begun = Instant::now();
            if let Some(identity) = self.blocking(Held::take).await? {
                self.until = Some(begun + LEASE);
                return Ok(identity);
            }
            sleep(LEASE / 10).await;
        }
    }

    fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    fn is_held(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() + LEASE / 2 < until)
    }

    async fn rows(&mut self, now: i64) -> Result<Vec<Row>> {
        let begun = Instant::now();
        // It is taken anew, so that it is this relay's while the rows are published.
        if !self.is_held() {
            if self.blocking(Held::take).await?.is_none() {
                self.until = None;
                return Err(Error::unavailable("another relay has taken the outbox"));
            }
            self.until = Some(begun + LEASE);
        }
        self.blocking(move |held| held.rows(now)).await
    }

    async fn has_waiting(&mut self) -> Result<bool> {
        self.blocking(Held::has_waiting).await
    }

    async fn settle(&mut self, settled: Settled) -> Result<()> {
        self.blocking(move |held| held.settle(&settled)).await
    }

    async fn changed(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit.min(LEASE / 3);
        while Instant::now() < end && !self.blocking(Held::has_changed).await? {
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn release(&mut self) {
        let _ = self.blocking(Held::release).await;
    }
}

impl Held {
    fn open(&mut self) -> Result<()> {
        self.database = None;
        let mut database = Connection::open(&self.path).map_err(said)?;
        database.busy_timeout(BUSY).map_err(said)?;
        self.outbox.migrate(&mut database)?;
        self.database = Some(database);
        Ok(())
    }

    fn database(&mut self) -> Result<&mut Connection> {
        self.database.as_mut().ok_or_else(|| Error::unavailable("the database is not open"))
    }

    /// Takes the outbox, if no other relay has it; what it is called.
    fn take(&mut self) -> Result<Option<String>> {
        let (holder, now) = (self.holder.clone(), millis(SystemTime::now()));
        let lease = LEASE.as_millis() as i64;
        // One that lasts longer than leases do is of a clock that was put back.
        let take = format!(
            "UPDATE {} SET holder = ?1, until_ms = ?2 + ?3
             WHERE holder IS NULL OR holder = ?1 OR until_ms <= ?2 OR until_ms > ?2 + 2 * ?3
             RETURNING identity",
            self.outbox.names.schema
        );
        let database = self.database()?;
        let identity = database.query_row(&take, params![holder, now, lease], |row| row.get(0));
        identity.optional().map_err(said)
    }

    fn release(&mut self) -> Result<()> {
        let (holder, schema) = (self.holder.clone(), self.outbox.names.schema.clone());
        let release = format!("UPDATE {schema} SET holder = NULL WHERE holder = ?1");
        self.database()?.execute(&release, [holder]).map(drop).map_err(said)
    }

    fn rows(&mut self, now: i64) -> Result<Vec<Row>> {
        let table = self.outbox.names.table.clone();
        let select = format!(
            "SELECT id, attempts, {COLUMNS} FROM {table} AS row
             WHERE (retry_ms IS NULL OR retry_ms <= ?1) AND (key IS NULL OR NOT EXISTS
                (SELECT 1 FROM {table} AS before
                 WHERE before.key = row.key AND before.id < row.id AND before.retry_ms > ?1))
             ORDER BY id LIMIT ?2"
        );
        let mut select = self.database()?.prepare(&select).map_err(said)?;
        let rows = select.query_map(params![now, BATCH], |row| {
            Ok(Row {
                id: row.get(0)?,
                attempts: row.get(1)?,
                kept: Kept {
                    topic: row.get(2)?,
                    key: row.get(3)?,
                    headers: row.get(4)?,
                    content_type: row.get(5)?,
                    body: row.get(6)?,
                    due_ms: row.get(7)?,
                    expires_ms: row.get(8)?,
                    priority: row.get(9)?,
                    message_id: row.get(10)?,
                },
            })
        });
        rows.and_then(Iterator::collect).map_err(said)
    }

    fn has_waiting(&mut self) -> Result<bool> {
        let table = self.outbox.names.table.clone();
        let select = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE retry_ms IS NOT NULL)");
        self.database()?.query_row(&select, [], |row| row.get(0)).map_err(said)
    }

    fn settle(&mut self, settled: &Settled) -> Result<()> {
        let Names { table, dead, .. } = (*self.outbox.names).clone();
        let now = millis(SystemTime::now());
        let transaction = self
            .database()?
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(said)?;
        let write = || -> rusqlite::Result<()> {
            let mut delete = transaction.prepare(&format!("DELETE FROM {table} WHERE id = ?1"))?;
            for (id, why) in &settled.dead {
                transaction.execute(
                    &format!(
                        "INSERT OR REPLACE INTO {dead} (id, {COLUMNS}, error, died_ms)
                         SELECT id, {COLUMNS}, ?2, ?3 FROM {table} WHERE id = ?1"
                    ),
                    params![id, why, now],
                )?;
                delete.execute([id])?;
            }
            for id in &settled.done {
                delete.execute([id])?;
            }
            let again = format!(
                "UPDATE {table} SET attempts = ?2, retry_ms = ?3, error = ?4 WHERE id = ?1"
            );
            for (id, attempts, retry, why) in &settled.again {
                transaction.execute(&again, params![id, attempts, retry, why])?;
            }
            Ok(())
        };
        write().map_err(said)?;
        transaction.commit().map_err(said)
    }

    /// Whether another connection has written since this was asked last.
    fn has_changed(&mut self) -> Result<bool> {
        let now = self
            .database()?
            .pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0))
            .map_err(said)?;
        let before = self.seen.replace(now);
        Ok(before != Some(now))
    }
}

/// What SQLite says.
fn said(error: rusqlite::Error) -> Error {
    let detail = format!("SQLite: {error}");
    Error::new(Code::Unavailable, detail).with_source(error)
}
