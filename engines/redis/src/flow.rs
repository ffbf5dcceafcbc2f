//! The way of messages from the server to a subscription: read on a connection of its own, since that waits for them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use micro::broker::{Deliveries, Delivery};
use micro::{Code, Error, Result};
use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::desk::{Desk, Entry};
use crate::entry::{Raw, is_over, published, read, sequence};
use crate::link::{PATIENCE, has_no_group};
use crate::settle::Open;

/// How long the server waits for a message before it says that there is none.
const BLOCK: Duration = Duration::from_secs(2);
/// The first and the longest pause after something failed.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Messages of a subscription that wait until they are tried again; with more, no new ones are read.
const MOST_WAITING: usize = 1024;
/// Messages that are read at once.
const MOST_READ: usize = 1024;

/// Streams, and their entries.
type Answer = Option<Vec<(String, Vec<Raw>)>>;
/// Entries with their attempts.
type Claimed = Vec<(String, i64, Option<Vec<Vec<u8>>>)>;

/// A subscription.
pub(crate) struct Member(Arc<Desk>);

/// Begins to read what comes after `from`.
pub(crate) fn begin(desk: Arc<Desk>, from: String) -> Member {
    tokio::spawn(Flow { desk: desk.clone(), last: from, pause: FIRST_PAUSE }.run());
    Member(desk)
}

#[async_trait]
impl Deliveries for Member {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        let desk = &self.0;
        loop {
            let entry = {
                let mut state = desk.state();
                let has_place = state.handed < desk.subscription.max_in_flight;
                let entry = if has_place { state.ready.pop_front() } else { None };
                if entry.is_some() {
                    state.handed += 1;
                } else if let Some(failed) = state.failed.take() {
                    return Err(failed);
                }
                entry
            };
            if let Some(entry) = entry {
                let (number, at) = (sequence(&entry.id), published(&entry.id));
                let (message, attempt) = (entry.message.clone(), entry.attempt);
                let open = Box::new(Open::new(desk.clone(), entry));
                return Ok(Some(Delivery::new(message, attempt, number, at, open)));
            }
            desk.is_ready.notified().await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.changed.notify_one();
    }
}

/// A connection that reads, and its number at the server.
struct Reading {
    connection: MultiplexedConnection,
    id: i64,
}

/// What came of reading.
type Came = (Option<Reading>, std::result::Result<Vec<Raw>, Fault>);

enum Fault {
    /// The group is not there any more.
    NoGroup,
    Other(Error),
}

struct Flow {
    desk: Arc<Desk>,
    /// The last that was read, without a queue.
    last: String,
    pause: Duration,
}

impl Flow {
    async fn run(mut self) {
        let desk = self.desk.clone();
        let lease = desk.subscription.lease;
        let mut sweeps =
            interval((lease / 4).clamp(Duration::from_millis(100), Duration::from_millis(500)));
        let mut renewals = interval(lease / 3);
        for times in [&mut sweeps, &mut renewals] {
            times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut idle = None;
        let mut reading: Option<(i64, BoxFuture<'static, Came>)> = None;
        loop {
            let (is_closed, due, has_waiting_room) = {
                let state = desk.state();
                let due = state.waiting.first_key_value().map(|((at, _), _)| *at);
                (state.is_closed, due, state.waiting.len() < MOST_WAITING)
            };
            if is_closed {
                break;
            }
            let room = desk.room();
            if reading.is_none() && room > 0 && has_waiting_room {
                let open = match idle.take() {
                    Some(open) => Ok(open),
                    None => self.connect().await,
                };
                match open {
                    Ok(open) => reading = Some((open.id, self.read(open, room))),
                    Err(error) => {
                        if self.fails(error).await {
                            return;
                        }
                    }
                }
                continue;
            }
            let coming = async {
                match &mut reading {
                    Some((_, coming)) => coming.await,
                    None => std::future::pending().await,
                }
            };
            let time = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (open, came) = coming => {
                    reading = None;
                    idle = open;
                    if self.take(came).await {
                        return;
                    }
                }
                () = time, if room > 0 => self.again().await,
                _ = sweeps.tick(), if room > 0 && desk.queue().is_some() => self.sweep(room).await,
                _ = renewals.tick(), if desk.queue().is_some() => self.renew().await,
                () = desk.changed.notified() => {}
            }
        }
        self.end(reading).await;
    }

    /// What was read. True when the subscription has ended.
    async fn take(&mut self, came: std::result::Result<Vec<Raw>, Fault>) -> bool {
        match came {
            Ok(entries) => {
                self.pause = FIRST_PAUSE;
                if let Some((id, _)) = entries.last() {
                    self.last.clone_from(id);
                }
                let first = entries.into_iter().map(|(id, fields)| (id, 1, fields));
                self.deliver(first).await;
                false
            }
            Err(Fault::NoGroup) => {
                let (desk, topic) = (self.desk.clone(), &self.desk.subscription.topic);
                let queue = desk.queue().unwrap_or_default();
                tracing::warn!(
                    topic,
                    queue,
                    "the server has lost a queue: it begins with what there is now"
                );
                match desk.shared.make_group(&desk.stream, queue, "0-0").await {
                    Ok(()) => false,
                    Err(error) => self.fails(error).await,
                }
            }
            Err(Fault::Other(error)) => self.fails(error).await,
        }
    }

    /// Waits, unless trying again is of no use: true then.
    async fn fails(&mut self, error: Error) -> bool {
        let Desk { subscription, is_ready, .. } = &*self.desk;
        if error.code() != Code::Unavailable {
            self.desk.state().failed = Some(error);
            is_ready.notify_one();
            return true;
        }
        tracing::debug!(topic = subscription.topic, %error, "a subscription waits for its server");
        tokio::select! {
            () = sleep(self.pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            () = self.desk.changed.notified() => {}
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        false
    }

    async fn connect(&self) -> Result<Reading> {
        let link = &self.desk.shared.link;
        let mut connection = link.own().await?;
        let mut command = cmd("CLIENT");
        command.arg("ID");
        let asked = timeout(PATIENCE, command.query_async(&mut connection)).await;
        let asked = asked.map_err(|_| link.unreachable("it did not answer in time"))?;
        let id = asked.map_err(|error| link.failed("to say who this is", &error))?;
        Ok(Reading { connection, id })
    }

    /// Reads at most `room` messages.
    fn read(&self, mut open: Reading, room: usize) -> BoxFuture<'static, Came> {
        let desk = self.desk.clone();
        let mut command = match desk.queue() {
            Some(queue) => {
                let mut command = cmd("XREADGROUP");
                command.arg("GROUP").arg(queue).arg(&desk.consumer);
                command
            }
            None => cmd("XREAD"),
        };
        command
            .arg("COUNT")
            .arg(room.min(MOST_READ))
            .arg("BLOCK")
            .arg(BLOCK.as_millis().to_string());
        let from = if desk.queue().is_some() { ">" } else { self.last.as_str() };
        command.arg("STREAMS").arg(&desk.stream).arg(from);
        async move {
            let asked =
                timeout(BLOCK + PATIENCE, command.query_async::<Answer>(&mut open.connection));
            let link = &desk.shared.link;
            match asked.await {
                Err(_) => (None, Err(Fault::Other(link.unreachable("it did not answer in time")))),
                Ok(Err(error)) if has_no_group(&error) => (Some(open), Err(Fault::NoGroup)),
                Ok(Err(error)) => (None, Err(Fault::Other(link.failed("to be read", &error)))),
                Ok(Ok(answer)) => {
                    let streams = answer.unwrap_or_default();
                    let entries = streams.into_iter().flat_map(|(_, entries)| entries).collect();
                    (Some(open), Ok(entries))
                }
            }
        }
        .boxed()
    }

    /// Makes messages ready, by id, attempt and fields.
    async fn deliver(&self, entries: impl Iterator<Item = (String, i64, Option<Vec<Vec<u8>>>)>) {
        let desk = &self.desk;
        let mut over = Vec::new();
        for (id, attempt, fields) in entries {
            // Removed meanwhile.
            let Some(fields) = fields else {
                over.push(id);
                continue;
            };
            let message = read(&desk.subscription.topic, fields);
            let count = u32::try_from(attempt.unsigned_abs()).unwrap_or(u32::MAX);
            let entry = Entry { id, attempt: count, message };
            if attempt < 0 {
                let reason = "its consumer ended, or gave no sign of life, before it was handled";
                if let Err(error) = desk.bury(&entry, reason).await {
                    tracing::warn!(topic = desk.subscription.topic, %error, "a dead letter cannot be written yet");
                }
            } else if is_over(&entry.message) {
                over.push(entry.id);
            } else {
                desk.make_ready(entry);
            }
        }
        let over: Vec<&str> = over.iter().map(String::as_str).collect();
        if !over.is_empty()
            && let Err(error) = desk.acknowledge(&over).await
        {
            tracing::debug!(%error, "what is of no use any more is passed over again");
        }
    }

    /// Takes what other members have let go, or this one has lost.
    async fn sweep(&self, room: usize) {
        let desk = &self.desk;
        let Desk { shared, subscription, stream, consumer, .. } = &**desk;
        let mut script = shared.scripts.claim.key(stream);
        script.arg(desk.queue()).arg(consumer).arg(subscription.lease.as_millis().to_string());
        script.arg(room.min(MOST_READ)).arg(subscription.max_attempts);
        match shared.link.run::<Claimed>("to claim messages", &script).await {
            Ok(claimed) => {
                // What is claimed is not with this one any more in an earlier attempt.
                {
                    let mut state = desk.state();
                    let is_claimed = |id: &str| claimed.iter().any(|(claimed, ..)| claimed == id);
                    state.ready.retain(|entry| !is_claimed(&entry.id));
                    state.waiting.retain(|_, entry| !is_claimed(&entry.id));
                }
                self.deliver(claimed.into_iter()).await;
            }
            Err(error) => tracing::debug!(%error, "what others have let go cannot be looked for"),
        }
    }

    /// Makes the first of those ready that waited long enough.
    async fn again(&self) {
        let desk = &self.desk;
        let entry = {
            let mut state = desk.state();
            match state.waiting.first_entry() {
                Some(first) if first.key().0 <= Instant::now() => first.remove(),
                _ => return,
            }
        };
        if let Some(queue) = desk.queue() {
            let mut script = desk.shared.scripts.again.key(&desk.stream);
            script.arg(queue).arg(&desk.consumer).arg(&entry.id).arg(entry.attempt);
            match desk.shared.link.run::<u32>("to try a message again", &script).await {
                Ok(1) => {}
                // It is with another, or gone.
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(%error, "a message waits for its server");
                    return desk.try_again(entry, LONGEST_PAUSE);
                }
            }
        }
        desk.make_ready(Entry { attempt: entry.attempt + 1, ..entry });
    }

    /// Keeps what is here and not being handled.
    async fn renew(&self) {
        let ids: Vec<String> = {
            let state = self.desk.state();
            state.ready.iter().chain(state.waiting.values()).map(|entry| entry.id.clone()).collect()
        };
        if let Err(error) = self.desk.renew(&ids).await {
            tracing::debug!(%error, "leases cannot be renewed");
        }
    }

    /// Lets others have what was not handled, and leaves.
    async fn end(self, reading: Option<(i64, BoxFuture<'static, Came>)>) {
        let desk = &self.desk;
        let Some(queue) = desk.queue() else { return };
        let mut released = Vec::new();
        if let Some((id, coming)) = reading {
            let mut command = cmd("CLIENT");
            command.arg("UNBLOCK").arg(id);
            // Unless it hears that, it ends by itself soon.
            let _ = desk.shared.link.ask::<i64>("to end a wait", &command).await;
            if let Ok((_, Ok(entries))) = timeout(BLOCK + PATIENCE, coming).await {
                released.extend(entries.into_iter().map(|(id, _)| (id, 0)));
            }
        }
        {
            let mut state = desk.state();
            // What was not handled is no attempt.
            released.extend(state.ready.drain(..).map(|entry| (entry.id, entry.attempt - 1)));
            let waiting = std::mem::take(&mut state.waiting);
            released.extend(waiting.into_values().map(|entry| (entry.id, entry.attempt)));
        }
        desk.release(&released).await;
        let mut script = desk.shared.scripts.leave.key(&desk.stream);
        script.arg(queue).arg(&desk.consumer);
        if let Err(error) = desk.shared.link.run::<u32>("to leave", &script).await {
            tracing::debug!(%error, "a consumer stays until it is forgotten");
        }
    }
}
