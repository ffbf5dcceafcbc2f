//! Topics and queues of one data folder, in the process that owns it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::admin::restore;
use super::command::{Command, INNER, Joined, Name, ask, is_priorities, of_hidden, priorities};
use super::compact::compact;
use super::ids::{self, Found, Ids};
use super::progress::Progress;
use super::queue::begin;
use crate::broker::stored::{millis, write};
use crate::broker::{Deliveries, Delivery, Message, Settle, Subscription, Verdict};
use crate::data::log::{Append, Level, Limit, Log, Recovery, Settings};
use crate::data::{Disk, Owned};
use crate::error::{Code, Error, Result};

/// What is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Bytes of the log.
    pub(crate) bytes: u64,
    /// Since a message was published.
    pub(crate) age: Duration,
    /// Topics of which the last message of each key is kept all the same.
    pub(crate) compacted: Arc<[String]>,
}

impl Retention {
    fn compacts(&self, topic: &[u8]) -> bool {
        self.compacted.iter().any(|compacted| compacted.as_bytes() == topic)
    }
}

/// Topics and queues.
pub(crate) struct Engine {
    pub(crate) log: Arc<Log>,
    level: Level,
    /// How long ids are remembered.
    dedup: Duration,
    /// Known once a message with an id was published.
    ids: OnceCell<Arc<Ids>>,
    /// How many topics have got priorities since this began.
    ranked: Arc<AtomicUsize>,
    queues: Mutex<HashMap<Name, mpsc::Sender<Command>>>,
    /// Queues without a name, so far.
    nameless: Mutex<u64>,
    /// Messages are dropped by one at a time.
    pub(super) dropping: tokio::sync::Mutex<()>,
    /// Up to where topics were compacted since this began.
    compacted: AtomicU64,
}

impl Engine {
    /// Opens what is in a folder. Blocks.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        owned: Option<Owned>,
        settings: Settings,
        level: Level,
        dedup: Duration,
    ) -> Result<(Self, Recovery)> {
        let (log, recovery) = Log::open(disk, settings, owned)?;
        let (queues, nameless) = (Mutex::default(), Mutex::default());
        restore(&log)?;
        let (log, ids, ranked) = (Arc::new(log), OnceCell::new(), Arc::default());
        let dropping = tokio::sync::Mutex::default();
        let compacted = AtomicU64::new(0);
        let made = Self { log, level, dedup, ids, ranked, queues, nameless, dropping, compacted };
        Ok((made, recovery))
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Name, mpsc::Sender<Command>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the message is as safe as was asked for.
    pub(super) async fn publish(&self, message: &Message) -> Result<()> {
        let mut records = vec![record(message)];
        if message.priority > 0 {
            let topic = priorities(&message.topic);
            if self.log.topic_end(&topic) == 0 {
                records.push(Append { topic, body: [Bytes::new(), Bytes::new()] });
            }
        }
        let is_newly_ranked = records.len() > 1;
        match &message.id {
            Some(id) => self.publish_once(&message.topic, id, records).await?,
            None => {
                self.log.append(records, self.level).await?;
            }
        }
        if is_newly_ranked {
            self.ranked.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Publishes messages, each with its place among those that came with it, and tells which of them failed. Those without an
    /// id and a priority, as most are, are written together.
    pub(super) async fn publish_all(&self, messages: Vec<(usize, Message)>) -> Vec<(usize, Error)> {
        let is_plain = |message: &Message| message.id.is_none() && message.priority == 0;
        let (mut plain, mut others): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|(_, message)| is_plain(message));
        if plain.len() > 1 {
            let records = plain.iter().map(|(_, message)| record(message)).collect();
            match self.log.append(records, self.level).await {
                Ok(_) => plain.clear(),
                // Of one, perhaps, and none is there: each is told its own.
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    let mut failed = self.publish_each(others).await;
                    failed.extend(plain.iter().map(|(nth, _)| (*nth, error.clone())));
                    return failed;
                }
            }
        }
        others.append(&mut plain);
        self.publish_each(others).await
    }

    async fn publish_each(&self, messages: Vec<(usize, Message)>) -> Vec<(usize, Error)> {
        let publishing = messages.iter().map(async |(nth, message)| {
            self.publish(message).await.err().map(|error| (*nth, error))
        });
        join_all(publishing).await.into_iter().flatten().collect()
    }

    /// Writes records unless that was done with this id before.
    async fn publish_once(&self, topic: &str, id: &str, mut records: Vec<Append>) -> Result<()> {
        let recall = || Ids::recall(&self.log, self.dedup);
        let ids = self.ids.get_or_try_init(recall).await?;
        let writing = loop {
            match ids.find(topic, id) {
                Found::Written => return Ok(()),
                // The sender is dropped at the end, and sends nothing.
                Found::Writing(mut written) => drop(written.changed().await),
                Found::New(writing) => break writing,
            }
        };
        records.push(ids::record(topic, id));
        let (log, level) = (self.log.clone(), self.level);
        // What is submitted is written, also when the publisher is cancelled now.
        let written = tokio::spawn(async move {
            log.append(records, level).await?;
            writing.done();
            Ok(())
        });
        written.await.unwrap_or_else(|_| Err(Error::new(Code::Unavailable, "the runtime ends")))
    }

    /// Queues that are at work.
    pub(super) fn active(&self) -> Vec<Name> {
        let queues = self.queues();
        queues
            .iter()
            .filter(|(_, queue)| !queue.is_closed())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// A queue that is at work.
    pub(super) fn running(&self, name: &Name) -> Option<mpsc::Sender<Command>> {
        self.queues().get(name).filter(|queue| !queue.is_closed()).cloned()
    }

    /// A queue with a name, which begins to work unless it does.
    pub(super) fn queue(&self, name: &Name) -> mpsc::Sender<Command> {
        let mut queues = self.queues();
        let known = queues.get(name).filter(|queue| !queue.is_closed()).cloned();
        known.unwrap_or_else(|| {
            // Here because it is seldom: queues whose last consumer has gone.
            queues.retain(|_, queue| !queue.is_closed());
            let queue = begin(self.log.clone(), name.clone(), self.ranked.clone());
            queues.insert(name.clone(), queue.clone());
            queue
        })
    }

    /// Begins to deliver to a consumer of this process.
    #[cfg(test)]
    pub(super) async fn subscribe(&self, subscription: Subscription) -> Result<Taking> {
        self.subscribe_for(subscription, std::process::id()).await
    }

    /// Begins to deliver to a consumer of a process.
    pub(super) async fn subscribe_for(
        &self,
        subscription: Subscription,
        process: u32,
    ) -> Result<Taking> {
        let topic = subscription.topic.clone();
        let name = Name { topic, queue: subscription.queue.clone() };
        loop {
            let queue = match &name.queue {
                Some(_) => self.queue(&name),
                None => {
                    *self.nameless.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                    begin(self.log.clone(), name.clone(), self.ranked.clone())
                }
            };
            let subscription = subscription.clone();
            let join = |joined| Command::Join { subscription, process, joined };
            match ask(&queue, join).await {
                Ok(joined) => return Ok(Taking { queue, joined }),
                // Its last consumer left at this moment.
                Err(error) if error.code() == Code::Unavailable && queue.is_closed() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what need not be kept any longer; how many bytes that gave back.
    #[cfg(test)]
    pub(super) async fn tidy(&self, retention: &Retention) -> Result<u64> {
        self.remove_before(self.expendable(retention), retention).await
    }

    /// Number before which nothing need be kept.
    pub(crate) fn expendable(&self, retention: &Retention) -> u64 {
        let oldest = SystemTime::now().checked_sub(retention.age).map_or(0, millis);
        self.log.expendable(retention.bytes, oldest)
    }

    /// Removes what has numbers below `before`, but for what is still to be known; how many bytes that gave back.
    pub(crate) async fn remove_before(&self, before: u64, retention: &Retention) -> Result<u64> {
        ids::keep(&self.log, self.dedup, before).await?;
        // What is known of topics and queues that were idle for long would go with the messages around it.
        for topic in self.log.topics_ending_before(INNER, before) {
            let Some(last) = self.log.topic_end(&topic).checked_sub(1) else { continue };
            let one = Limit { records: 1, bytes: usize::MAX };
            let records = self.log.read(&topic, last, one).await?;
            let Some(record) = records.into_iter().next() else { continue };
            let is_kept = match Name::of_progress(&topic) {
                Some(_) => {
                    Progress::read(&record.body).is_ok() && !Progress::is_dropped(&record.body)
                }
                // Of a topic of which nothing is left, nothing is hidden either.
                None => match of_hidden(&topic) {
                    Some(topic) => self.log.topic_end(topic) > before || retention.compacts(topic),
                    None => is_priorities(&topic),
                },
            };
            if is_kept {
                let again = vec![Append { topic, body: [record.body, Bytes::new()] }];
                self.log.append(again, Level::Synced).await?;
            }
        }
        if retention.compacted.is_empty() {
            let log = self.log.clone();
            return crate::data::log::blocking(move || log.remove_before(before)).await?;
        }
        if before <= self.compacted.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let freed = compact(&self.log, &retention.compacted, before).await?;
        self.compacted.store(before, Ordering::Relaxed);
        Ok(freed)
    }

    /// Writes what was published, and ends.
    pub(crate) async fn close(&self) -> Result<()> {
        self.log.close().await
    }
}

fn record(message: &Message) -> Append {
    let topic = Bytes::copy_from_slice(message.topic.as_bytes());
    Append { topic, body: write(message) }
}

/// Whether records that were to be written together may have failed for the sake of one of them.
fn is_of_one(error: &Error) -> bool {
    matches!(error.code(), Code::InvalidArgument | Code::ResourceExhausted)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

/// A consumer of a queue in this process.
pub(super) struct Taking {
    queue: mpsc::Sender<Command>,
    joined: Joined,
}

#[async_trait]
impl Deliveries for Taking {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        let Some(lent) = self.joined.messages.recv().await else { return Ok(None) };
        let (sequence, attempt) = (lent.sequence, lent.attempt);
        let queue = self.queue.clone();
        let settle = Box::new(Attempt { queue, sequence, attempt, is_settled: false });
        Ok(Some(Delivery::new(lent.message, attempt, Some(sequence), lent.published, settle)))
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let (queue, consumer) = (self.queue.clone(), self.joined.consumer);
        if let Err(mpsc::error::TrySendError::Full(command)) =
            queue.try_send(Command::Leave(consumer))
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { queue.send(command).await });
        }
    }
}

struct Attempt {
    queue: mpsc::Sender<Command>,
    sequence: u64,
    attempt: u32,
    is_settled: bool,
}

#[async_trait]
impl Settle for Attempt {
    async fn settle(mut self: Box<Self>, verdict: Verdict) -> Result<()> {
        self.is_settled = true;
        let (sequence, attempt) = (self.sequence, self.attempt);
        ask(&self.queue, |done| Command::Settle { sequence, attempt, verdict, done }).await
    }

    fn extend(&self) {
        // One that finds no place is followed by another.
        let (sequence, attempt) = (self.sequence, self.attempt);
        let _ = self.queue.try_send(Command::Extend { sequence, attempt });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        // Where this finds no place, the end of the lease does the same.
        let verdict = Verdict::Retry(Duration::ZERO, "its consumer gave it up".to_owned());
        let (sequence, attempt, done) = (self.sequence, self.attempt, oneshot::channel().0);
        let _ = self.queue.try_send(Command::Settle { sequence, attempt, verdict, done });
    }
}
