//! Publishes what is in an outbox.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use micro::broker::Broker;
use micro::resilience::Backoff;
use micro::{Code, Error, Result};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::row::{Row, millis};

/// Rows that are published before they are removed: what may be published twice where a relay dies.
pub(crate) const BATCH: i64 = 64;
/// Failures of a row alone before it is a dead letter, unless set.
pub(crate) const MOST_ATTEMPTS: u32 = 10;
/// How long one message may take.
const PUBLISH: Duration = Duration::from_secs(30);
/// How long nothing is looked for where nothing is said to have changed.
const QUIET: Duration = Duration::from_secs(30);
/// The same while a row waits for its next attempt.
const SOON: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The table, as one relay at a time has it.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// Waits until it is this relay's alone; what the outbox is called.
    async fn acquire(&mut self) -> Result<String>;
    /// Failures of a row alone before it is a dead letter.
    fn max_attempts(&self) -> u32;
    /// Whether it is still this relay's. Asked before each message.
    fn is_held(&self) -> bool;
    /// The first rows that can be published: those that do not wait, nor come behind one of their key that does.
    async fn rows(&mut self, now: i64) -> Result<Vec<Row>>;
    /// Whether a row waits for its next attempt.
    async fn has_waiting(&mut self) -> Result<bool>;
    /// Writes down what became of rows, all or nothing.
    async fn settle(&mut self, settled: Settled) -> Result<()>;
    /// Returns when something may have changed, at the latest after `limit`.
    async fn changed(&mut self, limit: Duration) -> Result<()>;
    /// Lets another relay have it.
    async fn release(&mut self) {}
}

/// What became of rows.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) done: Vec<i64>,
    /// Attempts so far, when the next is, and why it failed.
    pub(crate) again: Vec<(i64, i32, i64, String)>,
    /// And why.
    pub(crate) dead: Vec<(i64, String)>,
}

/// How a relay fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// It is the one that publishes. Others of the same outbox wait for it to end.
    pub is_active: bool,
    /// Messages it has published.
    pub published: u64,
    /// Messages it has made dead letters.
    pub dead: u64,
    /// Why it does not get on, while it does not.
    pub error: Option<String>,
}

/// Publishes what is in an outbox, for as long as it lives. Any number may run, in any processes: one of them works, and another goes
/// on when that ends.
pub struct Relay {
    ending: CancellationToken,
    status: Arc<Mutex<Status>>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Relay {
    /// Begins to relay. Within a runtime of tokio.
    pub(crate) fn begin(store: impl Store, broker: Arc<dyn Broker>) -> Self {
        let (ending, status) = (CancellationToken::new(), Arc::new(Mutex::new(Status::default())));
        let work = Work { store, broker, status: status.clone(), ending: ending.clone() };
        let task = Mutex::new(Some(AbortOnDropHandle::new(tokio::spawn(work.run()))));
        Self { ending, status, task }
    }

    /// How it fares.
    pub fn status(&self) -> Status {
        guard(&self.status).clone()
    }

    /// Ends it in order: what was published is removed. Without, it ends when it is dropped, and what was published last may be
    /// published again.
    pub async fn stop(&self) {
        self.ending.cancel();
        let task = guard(&self.task).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Work<S> {
    store: S,
    broker: Arc<dyn Broker>,
    status: Arc<Mutex<Status>>,
    ending: CancellationToken,
}

/// What a message came to.
enum Fate {
    Done,
    /// It will never be taken.
    Dead(String),
    /// It failed, and others may not.
    Failed(String),
    /// The broker is not there.
    Nowhere(Error),
}

impl<S: Store> Work<S> {
    async fn run(mut self) {
        let mut failures = 0;
        while !self.ending.is_cancelled() {
            let ending = self.ending.clone();
            let published = guard(&self.status).published;
            let Err(error) = self.relay().await else { break };
            {
                let mut status = guard(&self.status);
                failures = if status.published > published { 1 } else { failures + 1 };
                status.is_active = false;
                status.error = Some(error.to_string());
            }
            tracing::warn!(%error, "an outbox is not relayed for now");
            tokio::select! {
                () = sleep(Backoff::Jittered.wait(failures).min(LONGEST_PAUSE)) => {}
                () = ending.cancelled() => {}
            }
        }
        self.store.release().await;
        guard(&self.status).is_active = false;
    }

    /// Relays until it is to end.
    async fn relay(&mut self) -> Result<()> {
        let ending = self.ending.clone();
        let identity = tokio::select! {
            acquired = self.store.acquire() => acquired?,
            () = ending.cancelled() => return Ok(()),
        };
        {
            let mut status = guard(&self.status);
            (status.is_active, status.error) = (true, None);
        }
        while !ending.is_cancelled() {
            let rows = self.store.rows(millis(SystemTime::now())).await?;
            let is_empty = rows.is_empty();
            let (settled, nowhere) = self.publish(rows, &identity).await;
            let (done, dead) = (settled.done.len() as u64, settled.dead.len() as u64);
            if done > 0 || dead > 0 || !settled.again.is_empty() {
                self.store.settle(settled).await?;
                let mut status = guard(&self.status);
                status.published += done;
                status.dead += dead;
            }
            if let Some(error) = nowhere {
                return Err(error);
            }
            guard(&self.status).error = None;
            if is_empty {
                let limit = if self.store.has_waiting().await? { SOON } else { QUIET };
                tokio::select! {
                    changed = self.store.changed(limit) => changed?,
                    () = ending.cancelled() => {}
                }
            }
        }
        Ok(())
    }

    /// Publishes rows in order, for as long as there is a broker.
    async fn publish(&self, rows: Vec<Row>, identity: &str) -> (Settled, Option<Error>) {
        let (mut settled, mut failed) = (Settled::default(), Vec::new());
        // Keys behind one that failed.
        let mut behind: HashSet<String> = HashSet::new();
        let mut nowhere = None;
        for row in rows {
            if self.ending.is_cancelled() || !self.store.is_held() {
                break;
            }
            if row.kept.key.as_ref().is_some_and(|key| behind.contains(key)) {
                continue;
            }
            match self.publish_one(&row, identity).await {
                Fate::Done => settled.done.push(row.id),
                Fate::Dead(why) => {
                    tracing::warn!(
                        id = row.id,
                        topic = row.kept.topic,
                        why,
                        "a message of an outbox is a dead letter"
                    );
                    settled.dead.push((row.id, why));
                }
                Fate::Failed(why) => {
                    behind.extend(row.kept.key.clone());
                    failed.push((row, why, settled.done.len()));
                }
                Fate::Nowhere(error) => {
                    nowhere = Some(error);
                    break;
                }
            }
        }
        let now = millis(SystemTime::now());
        for (row, why, before) in failed {
            // Only where others went on it is the row's own fault.
            let attempts = row.attempts + i32::from(settled.done.len() > before);
            if attempts.unsigned_abs() >= self.store.max_attempts() {
                tracing::warn!(
                    id = row.id,
                    topic = row.kept.topic,
                    why,
                    "a message of an outbox is a dead letter"
                );
                settled.dead.push((row.id, why));
            } else {
                let wait = Backoff::Jittered.wait(attempts.max(1) as u32).min(LONGEST_PAUSE);
                settled.again.push((row.id, attempts, now + wait.as_millis() as i64, why));
            }
        }
        (settled, nowhere)
    }

    async fn publish_one(&self, row: &Row, identity: &str) -> Fate {
        let message = match row.message(identity, self.broker.abilities().deduplicates) {
            Ok(message) => message,
            Err(error) => return Fate::Dead(error.to_string()),
        };
        let (broker, topic) = (self.broker.clone(), message.topic.clone());
        // In a task of its own, so that a broker that panics ends no relay.
        let task =
            AbortOnDropHandle::new(tokio::spawn(async move { broker.publish(message).await }));
        let error = match timeout(PUBLISH, task).await {
            Ok(Ok(Ok(()))) => return Fate::Done,
            Ok(Ok(Err(error))) => error,
            Ok(Err(panic)) => Error::internal(format!("the broker panicked: {panic}")),
            Err(_) => Error::new(
                Code::DeadlineExceeded,
                format!("a message of {topic} was not taken within {PUBLISH:?}"),
            ),
        };
        match error.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented | Code::DataLoss => {
                Fate::Dead(error.to_string())
            }
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Fate::Nowhere(error),
            _ => Fate::Failed(error.to_string()),
        }
    }
}
