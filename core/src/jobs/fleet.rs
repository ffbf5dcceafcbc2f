//! A job that one node of a fleet runs.
//!
//! When its time has come, every node publishes a message for that moment, and all share the messages of one queue. They write down
//! in a second topic what they do, and all read that in one order: who gets a message writes a claim, reads on until it sees its
//! own, and knows then whether the moment is done, whether another message for it was claimed before, and how often it was tried.
//! So it does not matter how many messages there are for one moment, nor when they come: one of them is run, and no other. Dies its
//! node, the broker delivers that one to another. A moment that nobody published, since all were down, is found missing by
//! whoever comes next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::job::Job;
use super::ledger::{Answer, Known, Record};
use super::plan::{begins, due};
use super::run::{Run, Running, Way};
use super::schedule::{Schedule, Tick, millis, time};
use crate::broker::{Broker, Incoming, Message, Start, Subscriber, Subscription, Verdict};
use crate::error::{Code, Error, Result};
use crate::metadata::Metadata;
use crate::resilience::Backoff;
use crate::telemetry::Trace;

/// Queue of all nodes.
const QUEUE: &str = "jobs";
/// Attempts beyond those of failures: nodes that died.
const DEATHS: u32 = 10;
/// Longest sleep: the clock may be set meanwhile.
const NAP: Duration = Duration::from_secs(30);
/// How long a node waits to read what it wrote.
const READ: Duration = Duration::from_secs(20);
/// How long the end of a run is tried to be written down.
const WRITE: Duration = Duration::from_secs(30);
const DAY: u64 = 86_400_000;
/// How far back a node reads at first, and how often one writes down all it knows.
const RECENT: Duration = Duration::from_secs(2 * 86_400);
const SNAPSHOT: u64 = DAY / 2;
/// A message that comes by so much too early is run.
const EARLY: u64 = 20;
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The message for a moment.
#[derive(Debug, Serialize, Deserialize)]
struct Moment {
    job: String,
    time: Tick,
    schedule: String,
    copy: String,
}

/// A job on one of its nodes.
pub(super) struct Fleet {
    job: Job,
    name: String,
    /// As this node has it.
    schedule: Schedule,
    /// When this node started.
    since: Tick,
    node: String,
    broker: Arc<dyn Broker>,
    moments: String,
    records: String,
    book: Mutex<Book>,
    changed: Notify,
    is_ready: watch::Sender<bool>,
}

/// What this node has read.
#[derive(Default)]
struct Book {
    known: Known,
    /// Records of its own that are not read yet.
    waiting: HashMap<String, oneshot::Sender<Answer>>,
    /// When the last record, and the last snapshot, was published, by the clock of the broker.
    last: Tick,
    snapshot: Tick,
}

impl Fleet {
    pub(super) fn new(
        service: &str,
        node: &str,
        job: Job,
        broker: Arc<dyn Broker>,
    ) -> Result<Arc<Self>> {
        let (name, schedule) = (job.named(), job.schedule()?);
        Ok(Arc::new(Self {
            moments: format!("jobs.moments.{service}.{name}"),
            records: format!("jobs.runs.{service}.{name}"),
            job,
            name,
            schedule,
            since: millis(SystemTime::now()),
            node: node.to_owned(),
            broker,
            book: Mutex::default(),
            changed: Notify::new(),
            is_ready: watch::Sender::new(false),
        }))
    }

    /// What takes the messages.
    pub(super) fn subscriber(self: &Arc<Self>, way: Way) -> Subscriber {
        let (fleet, way) = (self.clone(), Arc::new(way));
        let handler = move |incoming: Incoming| {
            let (fleet, way) = (fleet.clone(), way.clone());
            async move { fleet.handle(incoming, &way).await }
        };
        Subscriber::raw(&self.moments, handler)
            .queue(QUEUE)
            // A node may publish before the queue is there.
            .start(Start::First)
            .max_in_flight(1)
            .max_attempts(self.job.max_attempts + DEATHS)
            .internal()
    }

    /// When it runs next, and what is known of its runs.
    pub(super) fn status(&self) -> (Option<SystemTime>, Vec<Run>) {
        let (schedule, book) = (self.current(), self.book());
        let after = book.known.last().max(millis(SystemTime::now()));
        (schedule.after(after).map(time), book.known.runs.iter().cloned().collect())
    }

    /// Publishes a message for each moment when it comes, for ever.
    pub(super) async fn tick(self: Arc<Self>) {
        let _reading = self.catch_up().await;
        self.announce().await;
        self.is_ready.send_replace(true);
        let mut done = 0;
        loop {
            let changed = self.changed.notified();
            let schedule = self.current();
            done = self.book().known.last().max(done);
            let now = millis(SystemTime::now());
            if self.ran_ahead(done, now) {
                tracing::warn!(
                    job = self.name,
                    "runs were written down that lie in the future, by a clock that ran ahead: they are forgotten"
                );
                self.surely(written(&self.records, &Record::Reset { now })).await;
                done = 0;
                // What comes next is known once that is read.
                let _ = timeout(READ, changed).await;
                continue;
            }
            for tick in due(&schedule, done, now, self.job.missed) {
                self.surely(self.moment(tick, &schedule)).await;
                done = tick;
            }
            self.refresh(now).await;
            let next = schedule.after(done.max(now)).unwrap_or(u64::MAX);
            let left = Duration::from_millis(next.saturating_sub(millis(SystemTime::now())));
            tokio::select! {
                () = sleep(left.min(NAP)) => {}
                () = changed => {}
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schedule by which the fleet runs it.
    fn current(&self) -> Schedule {
        let announced = self.book().known.schedule.as_ref().map(|(text, _)| text.clone());
        match announced.map(|text| Schedule::read(&text)) {
            Some(Ok(schedule)) => schedule,
            // Of a program that knows more than this one.
            Some(Err(_)) | None => self.schedule.clone(),
        }
    }

    /// Whether moments are done that are more than a day ahead, and the broker's clock says so too.
    fn ran_ahead(&self, done: Tick, now: Tick) -> bool {
        let broker = self.book().last;
        done > now.max(broker).saturating_add(DAY)
    }

    /// Reads what was written down: what is recent, or all where that does not say enough.
    async fn catch_up(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let recent = SystemTime::now().checked_sub(RECENT).map_or(Start::First, Start::Time);
        let reading = self.clone().begin_reading(recent).await;
        if self.book().known.schedule.is_some() {
            return reading;
        }
        drop(reading);
        *self.book() = Book::default();
        self.clone().begin_reading(Start::First).await
    }

    async fn begin_reading(self: Arc<Self>, start: Start) -> AbortOnDropHandle<()> {
        let reading = AbortOnDropHandle::new(tokio::spawn(self.clone().read(start)));
        let mut pause = Pause::default();
        while let Err(error) = self.mark().await {
            tracing::warn!(job = self.name, %error, "a job waits for its broker");
            pause.wait().await;
        }
        reading
    }

    /// Reads what nodes write down, for ever.
    async fn read(self: Arc<Self>, mut start: Start) {
        let mut pause = Pause::default();
        loop {
            let mut subscription = Subscription::new(&self.records);
            subscription.start = start;
            subscription.max_in_flight = 256;
            match self.broker.subscribe(subscription).await {
                Err(error) => {
                    tracing::warn!(job = self.name, %error, "what is known of a job cannot be read");
                }
                Ok(mut deliveries) => {
                    while let Ok(Some(delivery)) = deliveries.next().await {
                        pause = Pause::default();
                        let (message, published) =
                            (&delivery.delivered.message, delivery.delivered.published);
                        if let Some(sequence) = delivery.delivered.sequence {
                            start = Start::Sequence(sequence + 1);
                        }
                        match serde_json::from_slice(&message.body) {
                            Ok(record) => self.note(record, millis(published)),
                            // Of a program that knows more than this one.
                            Err(error) => {
                                tracing::debug!(job = self.name, %error, "an unknown record");
                            }
                        }
                        if delivery.settle(Verdict::Ack).await.is_err() {
                            break;
                        }
                    }
                }
            }
            pause.wait().await;
        }
    }

    fn note(&self, record: Record, published: Tick) {
        let mut book = self.book();
        book.last = published;
        let id = match &record {
            Record::Claim { id, .. } | Record::Mark { id } => Some(id.clone()),
            Record::Snapshot(_) => {
                book.snapshot = published;
                None
            }
            _ => None,
        };
        let is_news = matches!(record, Record::Schedule { .. } | Record::Reset { .. });
        let answer = book.known.take(record);
        if let Some(asked) = id.and_then(|id| book.waiting.remove(&id)) {
            let _ = asked.send(answer);
        }
        drop(book);
        if is_news {
            self.changed.notify_waiters();
        }
    }

    /// Says by which schedule it runs from now on, unless that is known: the node that started last is right.
    async fn announce(&self) {
        let text = self.schedule.text();
        let is_known = self.book().known.schedule.as_ref().is_some_and(|(known, _)| *known == text);
        if !is_known {
            let record = Record::Schedule { text, since: self.since };
            self.surely(written(&self.records, &record)).await;
            // Read before moments are counted by it.
            let _ = self.mark().await;
        }
    }

    /// Writes down all that is known where nobody did for long, so that it outlives what the broker keeps of older records.
    async fn refresh(&self, now: Tick) {
        let (snapshot, known) = {
            let book = self.book();
            (book.snapshot, book.known.clone())
        };
        if now.saturating_sub(snapshot) > SNAPSHOT && known.schedule.is_some() {
            if let Err(error) = self.write(&Record::Snapshot(known)).await {
                tracing::warn!(job = self.name, %error, "what is known of a job cannot be written");
            }
            self.book().snapshot = now;
        }
    }

    /// The message for a moment.
    fn moment(&self, tick: Tick, schedule: &Schedule) -> Result<Message> {
        let copy = uuid::Uuid::new_v4().to_string();
        let moment = Moment { job: self.name.clone(), time: tick, schedule: schedule.text(), copy };
        let mut message = written(&self.moments, &moment)?;
        let mut headers = HeaderMap::new();
        Trace::root().write(&mut headers);
        message.headers = Metadata::from(headers);
        let abilities = self.broker.abilities();
        if abilities.orders_by_key {
            message.key = Some(self.name.clone());
        }
        if abilities.deduplicates {
            // Fewer to look at. A moment of another schedule is another.
            let schedule = crc32fast::hash(schedule.text().as_bytes());
            message.id = Some(format!("{}@{tick}.{schedule:08x}", self.name));
        }
        Ok(message)
    }

    async fn write(&self, record: &Record) -> Result<()> {
        self.broker.publish(written(&self.records, record)?).await
    }

    /// Writes a record down and waits until it is read, with all that was written before it.
    async fn ask(&self, id: &str, record: &Record) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        self.book().waiting.insert(id.to_owned(), answer);
        let asked = async {
            self.write(record).await?;
            let ended = |_| Error::new(Code::Unavailable, "what is known of the job is read anew");
            answered.await.map_err(ended)
        };
        let answered = timeout(READ, asked).await.unwrap_or_else(|_| {
            Err(Error::deadline_exceeded(format!(
                "what nodes write down about the job {} could not be read within {READ:?}",
                self.name
            )))
        });
        self.book().waiting.remove(id);
        answered
    }

    /// Waits until all is read that was written so far.
    async fn mark(&self) -> Result<()> {
        let id = uuid::Uuid::new_v4().to_string();
        self.ask(&id, &Record::Mark { id: id.clone() }).await.map(drop)
    }

    /// Publishes for as long as it takes.
    async fn surely(&self, message: Result<Message>) {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                return tracing::error!(job = self.name, %error, "a record cannot be written");
            }
        };
        let mut pause = Pause::default();
        while let Err(error) = self.broker.publish(message.clone()).await {
            tracing::warn!(job = self.name, %error, "a job waits for its broker");
            pause.wait().await;
        }
    }

    /// Runs it for a moment, if that is this node's to do.
    async fn handle(&self, incoming: Incoming, way: &Way) -> Result<()> {
        let moment: Moment = serde_json::from_slice(&incoming.delivered.message.body)
            .map_err(|error| Error::invalid_argument(error.to_string()).without_retry())?;
        let now = millis(SystemTime::now());
        if moment.time > now + EARLY {
            let left = Duration::from_millis(moment.time - now);
            return Err(Error::unavailable("it was published too early").with_retry_after(left));
        }
        let mut ready = self.is_ready.subscribe();
        let _ = ready.wait_for(|is_ready| *is_ready).await;
        let (tick, node) = (moment.time, self.node.clone());
        let id = uuid::Uuid::new_v4().to_string();
        let claim = Record::Claim {
            id: id.clone(),
            tick,
            copy: moment.copy,
            schedule: moment.schedule,
            node: node.clone(),
            at: now,
        };
        let Answer::Yours { attempt, failed } = self.ask(&id, &claim).await? else {
            return Ok(());
        };
        if attempt == 1 && !begins(&self.current(), tick, now, self.job.missed) {
            return self.write(&Record::Skipped { tick, node, at: now }).await;
        }
        let running = Running { job: self.name.clone(), time: time(tick), attempt };
        let (outcome, took) = way.run(running, incoming.delivered).await;
        let is_last = outcome.as_ref().map_or_else(
            |error| error.forbids_retry() || failed + 1 >= self.job.max_attempts,
            |()| true,
        );
        let ended = Record::Ended {
            tick,
            node,
            at: now,
            took_ms: took.as_millis() as u64,
            error: outcome.as_ref().err().map(ToString::to_string),
            is_last,
        };
        self.write_end(&ended).await?;
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if is_last => {
                tracing::warn!(job = self.name, attempt, %error, "a run of a job failed");
                Ok(())
            }
            Err(error) => {
                let after = error.retry_after().unwrap_or_else(|| self.job.retry.wait(failed + 1));
                Err(error.with_retry_after(after))
            }
        }
    }

    /// Writes down how a run ended. What is not written is run again.
    async fn write_end(&self, ended: &Record) -> Result<()> {
        let mut attempt = 0;
        let written = async {
            loop {
                match self.write(ended).await {
                    Ok(()) => return Ok(()),
                    Err(error) if attempt >= 10 => return Err(error),
                    Err(_) => attempt += 1,
                }
                sleep(Backoff::Jittered.wait(attempt).min(LONGEST_PAUSE)).await;
            }
        };
        timeout(WRITE, written).await.unwrap_or_else(|_| {
            Err(Error::unavailable("the end of the run could not be written down"))
        })
    }
}

/// What is waited between attempts.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE)
    }
}

impl Pause {
    async fn wait(&mut self) {
        sleep(self.0.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

/// A message with a JSON body.
fn written(topic: &str, value: &impl Serialize) -> Result<Message> {
    let body = serde_json::to_vec(value).map_err(|error| Error::internal(error.to_string()))?;
    let mut message = Message::new(topic, body);
    message.content_type = Some("application/json".into());
    Ok(message)
}
