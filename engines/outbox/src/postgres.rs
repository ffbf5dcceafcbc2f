//! Outboxes in PostgreSQL.
//!
//! The relay that works holds an advisory lock of the database, which ends with its connection. Others wait for that lock, and the one
//! that has it for a notification, which each transaction with a message sends when it is committed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use micro::broker::{Broker, Message};
use micro::{Code, Error, Result};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Socket, Transaction};
use tokio_util::task::AbortOnDropHandle;

use crate::relay::{BATCH, MOST_ATTEMPTS, Relay, Settled, Store};
use crate::row::{COLUMNS, Kept, Row, millis};
use crate::table::{Names, VERSION, check_version};

/// How long a connection may take, and a statement but for the one that waits for the lock.
const LIMIT: Duration = Duration::from_secs(30);

/// An outbox in a database of PostgreSQL. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    names: Arc<Names>,
    max_attempts: u32,
    insert: Arc<str>,
}

impl Outbox {
    /// The outbox in the table `table`, or `schema.table`, with `…_dead` and `…_schema` beside it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name that is not made of a-z, 0-9 and `_`.
    pub fn new(table: &str) -> Result<Self> {
        let names = Names::new(table)?;
        let insert = format!(
            "WITH row AS (INSERT INTO {} ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id)
             SELECT id, pg_notify('{}', '')::text FROM row",
            names.table,
            channel(&names)
        );
        Ok(Self { names: Arc::new(names), max_attempts: MOST_ATTEMPTS, insert: insert.into() })
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
    pub async fn migrate(&self, database: &mut Client) -> Result<()> {
        let Names { table, dead, schema } = &*self.names;
        if self.version(database).await?.is_some() {
            return Ok(());
        }
        let lock = lock(&self.names);
        let transaction = database.transaction().await.map_err(said)?;
        // Another may make them at the same moment.
        transaction
            .execute("SELECT pg_advisory_xact_lock($1)", &[&lock.wrapping_add(1)])
            .await
            .map_err(said)?;
        let columns = "topic text NOT NULL, key text, headers text NOT NULL DEFAULT '[]', content_type text, \
            body bytea NOT NULL, due_ms bigint, expires_ms bigint, priority smallint NOT NULL DEFAULT 0, message_id text";
        let index = table.rsplit('.').next().unwrap_or(table);
        transaction
            .batch_execute(&format!(
                "CREATE TABLE IF NOT EXISTS {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {columns},
                    attempts integer NOT NULL DEFAULT 0, retry_ms bigint, error text);
                 CREATE INDEX IF NOT EXISTS {index}_retry ON {table} (key, id) WHERE retry_ms IS NOT NULL;
                 CREATE TABLE IF NOT EXISTS {dead} (id bigint PRIMARY KEY, {columns}, error text NOT NULL, died_ms bigint NOT NULL);
                 CREATE TABLE IF NOT EXISTS {schema} (version integer NOT NULL, identity text NOT NULL);
                 INSERT INTO {schema} SELECT {VERSION}, replace(gen_random_uuid()::text, '-', '')
                    WHERE NOT EXISTS (SELECT 1 FROM {schema});"
            ))
            .await
            .map_err(said)?;
        transaction.commit().await.map_err(said)
    }

    /// What the outbox is called, if it is there.
    async fn version(&self, database: &Client) -> Result<Option<String>> {
        let schema = &self.names.schema;
        let is_there = "SELECT to_regclass($1) IS NOT NULL";
        let is_there = database.query_one(is_there, &[schema]).await.map_err(said)?;
        if !is_there.get::<_, bool>(0) {
            return Ok(None);
        }
        let select = format!("SELECT version, identity FROM {schema}");
        let Some(row) = database.query_opt(&select, &[]).await.map_err(said)? else {
            return Ok(None);
        };
        check_version(&self.names, row.get(0))?;
        Ok(Some(row.get(1)))
    }

    /// Publishes a message once the transaction is committed; the id of its row.
    ///
    /// # Errors
    /// What the database says: the transaction is to be rolled back then.
    pub async fn publish(&self, transaction: &Transaction<'_>, message: &Message) -> Result<i64> {
        let kept = Kept::new(message)?;
        let inserted = transaction
            .query_one(
                &*self.insert,
                &[
                    &kept.topic,
                    &kept.key,
                    &kept.headers,
                    &kept.content_type,
                    &kept.body,
                    &kept.due_ms,
                    &kept.expires_ms,
                    &kept.priority,
                    &kept.message_id,
                ],
            )
            .await;
        Ok(inserted.map_err(said)?.get(0))
    }
}

impl Relay {
    /// Relays the outbox of a database, by a connection of its own; `tls` is [`NoTls`](tokio_postgres::NoTls) or one of the
    /// connectors that `tokio-postgres` names.
    pub fn postgres<T>(mut config: Config, tls: T, outbox: Outbox, broker: Arc<dyn Broker>) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        config.keepalives_idle(LIMIT).connect_timeout(LIMIT);
        let connect = move || -> Connecting {
            let (config, tls) = (config.clone(), tls.clone());
            Box::pin(async move {
                let (client, mut connection) = config.connect(tls).await.map_err(said)?;
                let notified = Arc::new(Notify::new());
                let notify = notified.clone();
                let driver = tokio::spawn(async move {
                    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                        if matches!(message, AsyncMessage::Notification(_)) {
                            notify.notify_one();
                        }
                    }
                    // What waits finds it closed.
                    notify.notify_one();
                });
                Ok(Connected { client, notified, _driver: AbortOnDropHandle::new(driver) })
            })
        };
        Self::begin(Table { outbox, connect: Box::new(connect), connected: None }, broker)
    }
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connected>> + Send>>;

/// The table in a database.
struct Table {
    outbox: Outbox,
    connect: Box<dyn Fn() -> Connecting + Send + Sync>,
    connected: Option<Connected>,
}

struct Connected {
    client: Client,
    notified: Arc<Notify>,
    _driver: AbortOnDropHandle<()>,
}

impl Table {
    fn connected(&mut self) -> Result<&mut Connected> {
        self.connected.as_mut().ok_or_else(|| Error::unavailable("the database is not connected"))
    }
}

/// A statement that takes too long, as where its server stands still, has failed.
async fn bounded<T>(
    statement: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    match timeout(LIMIT, statement).await {
        Ok(done) => done.map_err(said),
        Err(_) => Err(Error::unavailable(format!("PostgreSQL did not answer within {LIMIT:?}"))),
    }
}

#[async_trait]
impl Store for Table {
    async fn acquire(&mut self) -> Result<String> {
        self.connected = None;
        let mut connected = (self.connect)().await?;
        self.outbox.migrate(&mut connected.client).await?;
        let identity = self.outbox.version(&connected.client).await?;
        let client = &connected.client;
        let names = &self.outbox.names;
        client.execute("SELECT pg_advisory_lock($1)", &[&lock(names)]).await.map_err(said)?;
        bounded(client.batch_execute(&format!("LISTEN {}", channel(names)))).await?;
        self.connected = Some(connected);
        identity.ok_or_else(|| Error::unavailable("the tables of the outbox were removed"))
    }

    fn max_attempts(&self) -> u32 {
        self.outbox.max_attempts
    }

    fn is_held(&self) -> bool {
        self.connected.as_ref().is_some_and(|connected| !connected.client.is_closed())
    }

    async fn rows(&mut self, now: i64) -> Result<Vec<Row>> {
        let table = self.outbox.names.table.clone();
        let select = format!(
            "SELECT id, attempts, {COLUMNS} FROM {table} AS row
             WHERE (retry_ms IS NULL OR retry_ms <= $1) AND (key IS NULL OR NOT EXISTS
                (SELECT 1 FROM {table} AS before
                 WHERE before.key = row.key AND before.id < row.id AND before.retry_ms > $1))
             ORDER BY id LIMIT $2"
        );
        let rows = bounded(self.connected()?.client.query(&select, &[&now, &BATCH])).await?;
        let rows = rows.into_iter().map(|row| Row {
            id: row.get(0),
            attempts: row.get(1),
            kept: Kept {
                topic: row.get(2),
                key: row.get(3),
                headers: row.get(4),
                content_type: row.get(5),
                body: row.get(6),
                due_ms: row.get(7),
                expires_ms: row.get(8),
                priority: row.get(9),
                message_id: row.get(10),
            },
        });
        Ok(rows.collect())
    }

    async fn has_waiting(&mut self) -> Result<bool> {
        let table = self.outbox.names.table.clone();
        let select = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE retry_ms IS NOT NULL)");
        let row = bounded(self.connected()?.client.query_one(&select, &[])).await?;
        Ok(row.get(0))
    }

    async fn settle(&mut self, settled: Settled) -> Result<()> {
        let Names { table, dead, .. } = (*self.outbox.names).clone();
        let now = millis(SystemTime::now());
        let transaction = bounded(self.connected()?.client.transaction()).await?;
        for (id, why) in &settled.dead {
            let bury = format!(
                "WITH row AS (DELETE FROM {table} WHERE id = $1 RETURNING id, {COLUMNS})
                 INSERT INTO {dead} (id, {COLUMNS}, error, died_ms) SELECT id, {COLUMNS}, $2, $3 FROM row"
            );
            bounded(transaction.execute(&bury, &[id, why, &now])).await?;
        }
        let again =
            format!("UPDATE {table} SET attempts = $2, retry_ms = $3, error = $4 WHERE id = $1");
        for (id, attempts, retry, why) in &settled.again {
            bounded(transaction.execute(&again, &[id, attempts, retry, why])).await?;
        }
        let delete = format!("DELETE FROM {table} WHERE id = ANY($1)");
        bounded(transaction.execute(&delete, &[&settled.done])).await?;
        bounded(transaction.commit()).await
    }

    async fn changed(&mut self, limit: Duration) -> Result<()> {
        let connected = self.connected()?;
        let _ = timeout(limit, connected.notified.notified()).await;
        match connected.client.is_closed() {
            false => Ok(()),
            true => Err(Error::unavailable("PostgreSQL has closed the connection")),
        }
    }

    async fn release(&mut self) {
        // The lock ends with the connection.
        self.connected = None;
    }
}

/// Where committed messages are told of.
fn channel(names: &Names) -> String {
    format!("micro_{}", names.table.replace('.', "_"))
}

/// The number of its lock: no two outboxes of a database are likely to have the same, and if they do, one relay waits for the other's.
fn lock(names: &Names) -> i64 {
    let hash = names.table.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}

/// What PostgreSQL says.
fn said(error: tokio_postgres::Error) -> Error {
    let told = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
    Error::new(Code::Unavailable, format!("PostgreSQL: {told}")).with_source(error)
}
