//! A queue of one topic: reads the log, lends messages to its consumers, and writes down how far it has come.

mod standing;
mod verdicts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::command::{Command, Joined, Lent, Name, priorities, refuse};
use super::letters::is_for;
use super::progress::{Candidate, Loan, MAX_PENDING, Progress, Terms};
use crate::broker::stored::{millis, read, time};
use crate::broker::{Message, Start, Subscription};
use crate::data::log::{Append, Level, Limit, Log, Record};
use crate::error::Result;

/// Commands that wait for a queue.
const COMMANDS: usize = 1024;
/// Bytes of messages read at once.
const READ_BYTES: usize = 4 << 20;
/// Messages among which the ones of the highest priority are looked for.
const AHEAD: usize = 1024;
/// How long a queue pauses after its log failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Begins a queue; it ends once it has no consumers, and is told nothing then.
pub(super) fn begin(log: Arc<Log>, name: Name, ranked: Arc<AtomicUsize>) -> mpsc::Sender<Command> {
    let (sender, commands) = mpsc::channel(COMMANDS);
    tokio::spawn(async move {
        let queue = Queue {
            progress_topic: name.progress(),
            log,
            name,
            progress: None,
            consumers: BTreeMap::new(),
            next_consumer: 0,
            commands,
            is_changed: false,
            read: BTreeMap::new(),
            read_bytes: 0,
            is_ranked: false,
            ranked_seen: None,
            ranked,
            is_over: false,
        };
        queue.run().await;
    });
    sender
}

struct Queue {
    log: Arc<Log>,
    name: Name,
    progress_topic: Option<Bytes>,
    /// Known once the first consumer has come.
    progress: Option<Progress>,
    consumers: BTreeMap<u64, Consumer>,
    next_consumer: u64,
    commands: mpsc::Receiver<Command>,
    /// What is written down is not what is.
    is_changed: bool,
    /// Messages that were read and not lent yet.
    read: BTreeMap<u64, Record>,
    read_bytes: usize,
    /// Messages of the topic have priorities.
    is_ranked: bool,
    /// What `ranked` was when that was found.
    ranked_seen: Option<usize>,
    /// How many topics have got priorities.
    ranked: Arc<AtomicUsize>,
    /// What comes is for another that begins after it.
    is_over: bool,
}

struct Consumer {
    /// Where it is.
    process: u32,
    subscription: Subscription,
    sender: mpsc::Sender<Lent>,
    /// Messages that it is lent.
    held: usize,
}

impl Consumer {
    fn credit(&self) -> usize {
        self.subscription.max_in_flight.saturating_sub(self.held)
    }
}

/// What is done once the log has taken it.
#[derive(Default)]
struct Turn {
    /// Messages that are lent, and to whom.
    lent: Vec<(u64, Lent)>,
    settled: Vec<oneshot::Sender<Result<()>>>,
    dead: Vec<Append>,
}

impl Queue {
    async fn run(mut self) {
        let log = self.log.clone();
        let changed = log.changed(self.name.topic.as_bytes());
        let mut turn = Turn::default();
        loop {
            while !self.is_over
                && let Ok(command) = self.commands.try_recv()
            {
                self.obey(command, &mut turn).await;
            }
            if self.is_over || (self.consumers.is_empty() && self.next_consumer > 0) {
                let _ = self.finish_turn(&mut turn).await;
                // Whoever comes now begins it anew.
                self.commands.close();
                while let Some(command) = self.commands.recv().await {
                    refuse(command);
                }
                return;
            }
            let mut next_message = std::pin::pin!(changed.notified());
            next_message.as_mut().enable();
            if let Err(error) = self.turn(&mut turn).await {
                if self.log.is_closed() {
                    return;
                }
                tracing::warn!(topic = self.name.topic, queue = self.name.queue, %error,
                    "a queue pauses: messages cannot be read or its progress cannot be written");
                sleep(PAUSE).await;
                continue;
            }
            let until = self.progress.as_ref().and_then(Progress::next_time);
            let has_credit = self.credit() > 0 && self.pending() < MAX_PENDING;
            let timer = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command, &mut turn).await,
                    None => return,
                },
                () = timer => {}
                () = next_message, if has_credit => {}
            }
        }
    }

    fn credit(&self) -> usize {
        self.consumers.values().map(Consumer::credit).sum()
    }

    fn pending(&self) -> usize {
        self.progress.as_ref().map_or(0, Progress::pending)
    }

    async fn obey(&mut self, command: Command, turn: &mut Turn) {
        match command {
            Command::Join { subscription, process, joined } => {
                let outcome = self.join(subscription, process).await;
                if let Err(Ok(Joined { consumer, .. })) = joined.send(outcome) {
                    self.leave(consumer);
                }
            }
            Command::Leave(consumer) => self.leave(consumer),
            Command::Settle { sequence, attempt, verdict, done } => {
                self.settle(sequence, attempt, verdict, turn).await;
                turn.settled.push(done);
            }
            Command::Extend { sequence, attempt } => {
                if let Some(progress) = &mut self.progress
                    && progress.is_lent(sequence, attempt)
                {
                    progress.extend(sequence, Instant::now());
                }
            }
            Command::Report(told) => drop(told.send(Ok(self.standing()))),
            Command::Reset { start, done } => {
                let outcome = self.reset(start, turn).await;
                self.is_over |= outcome.is_ok();
                let _ = done.send(outcome);
            }
            Command::Reread => {
                self.read.clear();
                self.read_bytes = 0;
            }
        }
    }

    async fn join(&mut self, subscription: Subscription, process: u32) -> Result<Joined> {
        if self.progress.is_none() {
            self.progress = Some(self.restore(subscription.start).await?);
        }
        self.next_consumer += 1;
        let consumer = self.next_consumer;
        let (sender, messages) = mpsc::channel(subscription.max_in_flight);
        self.consumers.insert(consumer, Consumer { process, subscription, sender, held: 0 });
        Ok(Joined { consumer, messages })
    }

    /// How far it came before, or where it starts.
    async fn restore(&mut self, start: Start) -> Result<Progress> {
        let topic = self.name.topic.as_bytes();
        if let Some(written) = &self.progress_topic
            && let Some(last) = self.log.topic_end(written).checked_sub(1)
        {
            let one = Limit { records: 1, bytes: usize::MAX };
            if let Some(record) = self.log.read(written, last, one).await?.first()
                && !Progress::is_dropped(&record.body)
            {
                let mut progress = Progress::read(&record.body)?;
                for sequence in progress.unread() {
                    match self.log.read(topic, sequence, one).await?.into_iter().next() {
                        Some(record) if record.sequence == sequence => {
                            take(&mut progress, &self.name, &record);
                        }
                        _ => progress.skipped(sequence),
                    }
                }
                return Ok(progress);
            }
        }
        self.is_changed = true;
        Ok(Progress::starting(self.first(start).await?))
    }

    /// Number of the first message from there on.
    async fn first(&self, start: Start) -> Result<u64> {
        let topic = self.name.topic.as_bytes();
        Ok(match start {
            Start::New => self.log.topic_end(topic),
            Start::First => 0,
            Start::Sequence(sequence) => sequence,
            Start::Time(time) => self.log.at(topic, millis(time)).await?,
        })
    }

    fn leave(&mut self, consumer: u64) {
        self.consumers.remove(&consumer);
        if let Some(progress) = &mut self.progress {
            progress.left(consumer);
        }
    }

    /// The message with this number, if it is still there.
    async fn record(&mut self, sequence: u64) -> Result<Option<Record>> {
        if let Some(record) = self.read.remove(&sequence) {
            self.read_bytes -= record.body.len();
            return Ok(Some(record));
        }
        let one = Limit { records: 1, bytes: usize::MAX };
        let records = self.log.read(self.name.topic.as_bytes(), sequence, one).await?;
        Ok(records.into_iter().next().filter(|record| record.sequence == sequence))
    }

    /// Reads and lends what can be, and tells the log.
    async fn turn(&mut self, turn: &mut Turn) -> Result<()> {
        if let Some(progress) = &mut self.progress {
            for consumer in progress.advance(Instant::now()) {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.held = consumer.held.saturating_sub(1);
                }
            }
        }
        loop {
            // Messages that are passed over, such as those that waited for too long, are not the last there are.
            let before = self.came_to(turn);
            self.read_on().await?;
            self.lend(turn).await?;
            if self.came_to(turn) == before || turn.lent.len() >= COMMANDS {
                break;
            }
        }
        self.finish_turn(turn).await
    }

    /// Differs once a message was read, lent, buried or passed over.
    fn came_to(&self, turn: &Turn) -> (usize, Option<u64>, usize) {
        let next = self.progress.as_ref().map(Progress::next);
        (turn.lent.len() + turn.dead.len(), next, self.pending())
    }

    /// Reads as much as consumers can take.
    async fn read_on(&mut self) -> Result<()> {
        let credit = self.credit();
        self.look_for_priorities();
        let Some(progress) = &mut self.progress else { return Ok(()) };
        let (wanted, ready) = (if self.is_ranked { AHEAD } else { 1 }, progress.ready());
        if credit == 0 || ready >= wanted || progress.pending() >= MAX_PENDING {
            return Ok(());
        }
        let records = if self.is_ranked { AHEAD - ready } else { credit.min(AHEAD) };
        let limit = Limit { records, bytes: READ_BYTES };
        let topic = self.name.topic.as_bytes();
        for record in self.log.read(topic, progress.next(), limit).await? {
            self.is_changed = true;
            // What finds no room here is read again when it is lent.
            if take(progress, &self.name, &record)
                && (self.read.is_empty() || self.read_bytes + record.body.len() <= READ_BYTES)
            {
                self.read_bytes += record.body.len();
                self.read.insert(record.sequence, record);
            }
        }
        Ok(())
    }

    fn look_for_priorities(&mut self) {
        let ranked = self.ranked.load(Ordering::Acquire);
        if !self.is_ranked && self.ranked_seen != Some(ranked) {
            self.ranked_seen = Some(ranked);
            self.is_ranked = self.log.topic_end(&priorities(&self.name.topic)) > 0;
        }
    }

    /// Lends what can be lent to those who have credit.
    async fn lend(&mut self, turn: &mut Turn) -> Result<()> {
        let now = Instant::now();
        while let Some(candidate) = self.progress.as_ref().and_then(Progress::candidate) {
            let most = self.consumers.iter_mut().max_by_key(|(_, consumer)| consumer.credit());
            let Some((&id, consumer)) = most else { break };
            if consumer.credit() == 0 {
                break;
            }
            let sequence = candidate.sequence;
            let subscription = &consumer.subscription;
            let (lease, dead_letters) = (subscription.lease, subscription.dead_letters());
            if candidate.attempts >= subscription.max_attempts {
                self.is_changed = true;
                self.bury(candidate, &dead_letters, turn).await;
                continue;
            }
            let record = self.record(sequence).await?;
            let Some(progress) = &mut self.progress else { break };
            let message = record.map(|record| (read(&self.name.topic, record.body), record.time));
            self.is_changed = true;
            match message {
                // It waited for too long.
                Some((Ok(message), _)) if is_over(&message) => progress.skipped(sequence),
                Some((Ok(message), published)) => {
                    if let Some(consumer) = self.consumers.get_mut(&id) {
                        consumer.held += 1;
                    }
                    let loan = Loan { consumer: id, lease, until: now + lease };
                    let attempt = progress.lend(sequence, loan);
                    let published = time(published).unwrap_or_else(SystemTime::now);
                    turn.lent.push((id, Lent { message, attempt, sequence, published }));
                }
                Some((Err(error), _)) => {
                    let candidate = Candidate { reason: error.to_string(), ..candidate };
                    self.bury(candidate, &dead_letters, turn).await;
                }
                // Retention has removed it.
                None => progress.skipped(sequence),
            }
        }
        Ok(())
    }

    /// Tells the log what has changed, then those who wait for it.
    async fn finish_turn(&mut self, turn: &mut Turn) -> Result<()> {
        let written = self.write_down(&mut turn.dead).await;
        for done in turn.settled.drain(..) {
            let _ = done.send(written.clone());
        }
        for (id, lent) in turn.lent.drain(..) {
            let sequence = lent.sequence;
            let consumer = self.consumers.get_mut(&id);
            let handed = match (&written, consumer) {
                (Ok(()), Some(consumer)) => consumer.sender.try_send(lent).is_ok(),
                (Err(_), Some(consumer)) => {
                    consumer.held = consumer.held.saturating_sub(1);
                    false
                }
                (_, None) => false,
            };
            if !handed && let Some(progress) = &mut self.progress {
                progress.unlend(sequence);
            }
        }
        written
    }

    async fn write_down(&mut self, dead: &mut Vec<Append>) -> Result<()> {
        let mut records = std::mem::take(dead);
        let level = if records.is_empty() { Level::Written } else { Level::Synced };
        if let (true, Some(topic), Some(progress)) =
            (self.is_changed, &self.progress_topic, &self.progress)
        {
            records.push(Append {
                topic: topic.clone(),
                body: [progress.write().into(), Bytes::new()],
            });
        }
        if records.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.log.append(records.clone(), level).await {
            // Progress is written anew.
            records.retain(|record| Some(&record.topic) != self.progress_topic.as_ref());
            *dead = records;
            return Err(error);
        }
        self.is_changed = false;
        Ok(())
    }
}

/// Notes a message that was read; false where it need not be delivered.
fn take(progress: &mut Progress, name: &Name, record: &Record) -> bool {
    let sequence = record.sequence;
    // One that does not read is found when it is lent.
    let message = read(&name.topic, record.body.clone()).ok();
    let is_wanted = |message: &Message| !is_over(message) && is_for(message, name.queue.as_deref());
    if !message.as_ref().is_none_or(is_wanted) {
        progress.skipped(sequence);
        return false;
    }
    let now = SystemTime::now();
    let due = message.as_ref().and_then(|message| message.due);
    let due = due.and_then(|due| due.duration_since(now).ok()).map(|left| Instant::now() + left);
    let priority = message.as_ref().map_or(0, |message| message.priority);
    let key = message.and_then(|message| message.key).map(Arc::from);
    progress.took(sequence, Terms { key, priority, due });
    // One that waits is read again.
    due.is_none()
}

/// Whether it is of no use any more.
fn is_over(message: &Message) -> bool {
    message.expires.is_some_and(|expires| expires <= SystemTime::now())
}
