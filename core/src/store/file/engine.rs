//! Records of one data folder, in the process that owns it.
//!
//! One task makes all changes: what waits is checked against the table file, appended to the log as one, made in the table file, and only
//! then acknowledged. The log is what is safe; the table file follows it, and is brought up to it when the folder is opened.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::clock::clock;
use super::logged::{Kind, TOPIC};
use super::pending::{Pending, Submission, Wanted};
use super::tables::{Tables, changes};
use crate::data::Disk;
use crate::data::log::{Limit, Log, blocking};
use crate::error::{Code, Error, Reason, Result};
use crate::store::batch::Batch;
use crate::store::query::{Page, Query};
use crate::store::record::{Place, Record};
use crate::store::watch::{Changes, Event, Watch};

/// Submissions that wait, and that are made together.
const WAITING: usize = 256;
/// Bytes of values that are made together, but for one submission that has more.
const TOGETHER: usize = 8 << 20;
/// Bytes of changes after which the table file is made safe, so that little is to be read again.
const CHECKPOINT: usize = 16 << 20;
/// Changes of the log that are read at once.
const PART: Limit = Limit { records: 1024, bytes: 4 << 20 };
/// Records that are ended together.
const OVER: usize = 512;
/// The longest sleep: the clock may be set.
const NAP: Duration = Duration::from_secs(1);

/// Records of a folder.
pub(crate) struct Engine {
    log: Arc<Log>,
    tables: Arc<Tables>,
    submissions: Mutex<Option<mpsc::Sender<Submission>>>,
    /// The last change that is in the table file and was told.
    applied: watch::Receiver<u64>,
    /// The last change that a power cut leaves in the table file.
    safe: Arc<AtomicU64>,
    /// Changes before it may be gone from the log.
    gone: Arc<AtomicU64>,
    making: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Whether a log has changes of records.
    pub(crate) fn is_in(log: &Log) -> bool {
        log.topic_end(TOPIC) > 0
    }

    /// Opens the table file beside a log, and brings it up to that.
    ///
    /// # Errors
    /// `DATA_LOSS` where it is damaged or changes are missing, those of the disk.
    pub(crate) async fn open(disk: Arc<dyn Disk>, log: Arc<Log>) -> Result<Self> {
        let (is_in_part, logged) = (Self::is_in(&log) && log.first() > 1, log.clone());
        let opened = blocking(move || -> Result<_> {
            if is_in_part {
                Tables::check(&*disk)?;
            }
            let tables = Tables::open(&*disk, logged)?;
            let (position, gone) = (tables.position()?, tables.gone()?);
            Ok((tables, position, gone))
        });
        let (tables, mut position, gone) = opened.await??;
        let tables = Arc::new(tables);
        loop {
            let records = log.read(TOPIC, position + 1, PART).await?;
            let Some(last) = records.last() else { break };
            position = last.sequence;
            let (tables, changes) = (tables.clone(), changes(records)?);
            blocking(move || tables.apply(&changes)).await??;
        }
        let made = tables.clone();
        blocking(move || made.checkpoint(0)).await??;
        let (sender, submissions) = mpsc::channel(WAITING);
        let (told, applied) = watch::channel(position);
        let safe = Arc::new(AtomicU64::new(position));
        let gone = Arc::new(AtomicU64::new(gone));
        let maker = Maker {
            log: log.clone(),
            tables: tables.clone(),
            told,
            safe: safe.clone(),
            gone: gone.clone(),
            unsafe_bytes: 0,
        };
        let making = tokio::spawn(maker.run(submissions));
        Ok(Self {
            log,
            tables,
            submissions: Mutex::new(Some(sender)),
            applied,
            safe,
            gone,
            making: tokio::sync::Mutex::new(Some(making)),
        })
    }

    /// The record of this key. Reads a page of the file where that is not in memory.
    pub(crate) fn read(&self, place: &Place, key: &str) -> Result<Option<Record>> {
        self.tables.get(place, key)
    }

    pub(crate) async fn apply(&self, batch: Batch) -> Result<Vec<u64>> {
        let sender = self.submissions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (done, made) = oneshot::channel();
        let sent = sender
            .ok_or_else(ended)?
            .send(Submission { wanted: Wanted::Changes(batch), done })
            .await;
        sent.map_err(|_| ended())?;
        made.await.map_err(|_| ended())?
    }

    pub(crate) async fn list(&self, query: Query) -> Result<Page> {
        let tables = self.tables.clone();
        blocking(move || tables.list(&query)).await?
    }

    /// Names of databases, or of the tables of one.
    pub(crate) async fn names(&self, database: Option<String>) -> Result<Vec<String>> {
        let tables = self.tables.clone();
        blocking(move || tables.names(database.as_deref())).await?
    }

    pub(crate) fn watch(self: &Arc<Self>, watch: Watch) -> Result<Following> {
        let applied = self.applied.clone();
        let after = watch.after.unwrap_or_else(|| *applied.borrow());
        let following = Following {
            engine: self.clone(),
            applied,
            watch,
            next: after + 1,
            events: VecDeque::new(),
        };
        following.check()?;
        Ok(following)
    }

    /// Makes the table file safe, before the log forgets: the first change that it has to keep, of those before `before`.
    pub(crate) async fn keep(&self, before: u64) -> Result<u64> {
        let sender = self.submissions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sender) = sender {
            let (done, made) = oneshot::channel();
            let sent = sender.send(Submission { wanted: Wanted::Safety(before), done }).await;
            sent.map_err(|_| ended())?;
            made.await.map_err(|_| ended())??;
        }
        Ok(before.min(self.safe.load(Ordering::Acquire) + 1))
    }

    /// Takes no more changes, and returns once those that were taken are made and the file is closed.
    pub(crate) async fn close(&self) {
        self.submissions.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(making) = self.making.lock().await.take() {
            let _ = making.await;
        }
        let tables = self.tables.clone();
        let _ = blocking(move || tables.close()).await;
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

fn ended() -> Error {
    Error::unavailable("the owner of the data folder has ended")
}

/// Makes changes.
struct Maker {
    log: Arc<Log>,
    tables: Arc<Tables>,
    told: watch::Sender<u64>,
    safe: Arc<AtomicU64>,
    gone: Arc<AtomicU64>,
    /// Bytes of changes since the last checkpoint.
    unsafe_bytes: usize,
}

impl Maker {
    async fn run(mut self, mut submissions: mpsc::Receiver<Submission>) {
        let mut next = self.end_what_is_over().await;
        loop {
            let first = match next {
                None => submissions.recv().await,
                Some(wait) => match timeout(wait, submissions.recv()).await {
                    Ok(first) => first,
                    Err(_) => {
                        next = self.end_what_is_over().await;
                        continue;
                    }
                },
            };
            let Some(first) = first else { break };
            let mut bytes = first.bytes();
            let mut together = vec![first];
            while together.len() < WAITING
                && bytes < TOGETHER
                && let Ok(more) = submissions.try_recv()
            {
                bytes += more.bytes();
                together.push(more);
            }
            next = self.make(together).await;
        }
        if let Err(error) = self.checkpoint(0).await {
            tracing::warn!(%error, "the table file is brought up to the log when it is opened again");
        }
    }

    /// Ends records whose time is over; how long to wait for the next one.
    async fn end_what_is_over(&mut self) -> Option<Duration> {
        self.make(Vec::new()).await
    }

    async fn make(&mut self, submissions: Vec<Submission>) -> Option<Duration> {
        let tables = self.tables.clone();
        let checked = blocking(move || Pending::check(&tables, submissions, OVER)).await;
        let (mut pending, next) = match checked {
            Ok(checked) => checked,
            Err(_) => return Some(NAP),
        };
        let forget = pending.forget();
        let made = self.append(&mut pending).await;
        let made = match made {
            Ok(base) if forget.is_some() || self.unsafe_bytes >= CHECKPOINT => {
                self.checkpoint(forget.unwrap_or_default()).await.map(|()| base)
            }
            made => made,
        };
        if let Err(error) = &made
            && error.code() != Code::ResourceExhausted
        {
            tracing::warn!(%error, "records cannot be written");
        }
        pending.answer(made);
        let now = clock();
        match next {
            _ if self.log.is_closed() => None,
            None => None,
            Some(at) => Some(Duration::from_millis(at.saturating_sub(now).max(1)).min(NAP)),
        }
    }

    /// Number of the first change.
    async fn append(&mut self, pending: &mut Pending) -> Result<u64> {
        let (records, level) = pending.records();
        if records.is_empty() {
            return Ok(0);
        }
        let numbers = self.log.append(records, level).await?;
        let changes = pending.changes(numbers.start);
        self.unsafe_bytes += pending.bytes();
        let tables = self.tables.clone();
        let mut tries = 0;
        let changes = Arc::new(changes);
        // It is in the log: nothing else may be made before it is in the table file too.
        loop {
            let (tables, changes) = (tables.clone(), changes.clone());
            match blocking(move || tables.apply(&changes)).await? {
                Ok(()) => break,
                Err(error) => {
                    tries += 1;
                    tracing::warn!(%error, tries, "the table file cannot be written: it is tried again");
                    if tries == 5 {
                        // What is in the log is made when the folder is opened again.
                        let tables = self.tables.clone();
                        blocking(move || tables.close()).await?;
                        self.log.close().await?;
                        return Err(error);
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        self.told.send_replace(numbers.end - 1);
        Ok(numbers.start)
    }

    /// Makes the table file safe. Changes before `forget` that are in it then may be removed from the log.
    async fn checkpoint(&mut self, forget: u64) -> Result<()> {
        let (tables, position) = (self.tables.clone(), *self.told.borrow());
        let gone = blocking(move || tables.checkpoint(forget)).await??;
        self.safe.store(position, Ordering::Release);
        self.gone.fetch_max(gone, Ordering::AcqRel);
        self.unsafe_bytes = 0;
        Ok(())
    }
}

/// A watch in the process that owns the folder.
pub(crate) struct Following {
    engine: Arc<Engine>,
    applied: watch::Receiver<u64>,
    watch: Watch,
    /// The first change that was not looked at.
    next: u64,
    events: VecDeque<Event>,
}

impl Following {
    fn check(&self) -> Result<()> {
        let gone = self.engine.gone.load(Ordering::Acquire);
        if self.next >= gone {
            return Ok(());
        }
        let text = format!(
            "changes up to version {} are no longer known, and {} was the last that was seen: list again and watch from there",
            gone - 1,
            self.next - 1
        );
        Err(Error::new(Code::OutOfRange, text).with_reason(Reason::HistoryGone))
    }

    /// Reads changes up to this one.
    async fn read(&mut self, applied: u64) -> Result<()> {
        let records = self.engine.log.read(TOPIC, self.next, PART).await?;
        // What was removed meanwhile was not read.
        self.check()?;
        let records: Vec<_> =
            records.into_iter().take_while(|record| record.sequence <= applied).collect();
        let next = records.last().map_or(applied, |last| last.sequence) + 1;
        let mut events = VecDeque::new();
        for (version, change, value) in changes(records)? {
            let is_of = change.database == self.watch.place.database()
                && change.table == self.watch.place.table()
                && change.key.starts_with(&self.watch.prefix);
            if !is_of || change.kind() == Kind::Nothing {
                continue;
            }
            let record = match change.kind() {
                Kind::Written => Some(Record {
                    key: change.key.clone(),
                    value,
                    metadata: super::logged::read_metadata(&change.metadata)?,
                    version,
                    expires_in: (change.ends > 0)
                        .then(|| Duration::from_millis(change.ends.saturating_sub(clock()))),
                }),
                _ => None,
            };
            events.push_back(Event { key: change.key, version, record });
        }
        (self.next, self.events) = (next, events);
        Ok(())
    }
}

#[async_trait]
impl Changes for Following {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let applied = *self.applied.borrow_and_update();
            if self.next <= applied {
                self.read(applied).await?;
                continue;
            }
            self.applied.changed().await.map_err(|_| ended())?;
        }
    }
}
