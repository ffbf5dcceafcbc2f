//! What a subscription and its deliveries share: messages that are ready, and those that wait until they are tried again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use micro::broker::{Message, Subscription};
use micro::{Error, Result};
use redis::cmd;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::entry::write;
use crate::shared::Shared;

/// A message that was delivered to this subscription by the server.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) message: Message,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) ready: VecDeque<Entry>,
    /// Tried again at these times; the number tells those of one time apart.
    pub(crate) waiting: BTreeMap<(Instant, u64), Entry>,
    next_number: u64,
    /// Those that are handled at the moment.
    pub(crate) handed: usize,
    /// The subscription was dropped.
    pub(crate) is_closed: bool,
    /// Why it ended.
    pub(crate) failed: Option<Error>,
}

/// One subscription.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    pub(crate) subscription: Subscription,
    pub(crate) stream: String,
    /// Who this is within a group. Others read its lease from its name.
    pub(crate) consumer: String,
    state: Mutex<State>,
    /// Told when there is room, more waits, or the subscription was dropped.
    pub(crate) changed: Notify,
    /// Told when something is ready, or why there will not be.
    pub(crate) is_ready: Notify,
}

impl Desk {
    pub(crate) fn new(shared: Arc<Shared>, subscription: Subscription, stream: String) -> Self {
        let consumer =
            format!("micro-{:032x}:{}", fastrand::u128(..), subscription.lease.as_millis());
        Self {
            shared,
            subscription,
            stream,
            consumer,
            state: Mutex::default(),
            changed: Notify::new(),
            is_ready: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queue(&self) -> Option<&str> {
        self.subscription.queue.as_deref()
    }

    /// Places that are free.
    pub(crate) fn room(&self) -> usize {
        let state = self.state();
        self.subscription.max_in_flight.saturating_sub(state.handed + state.ready.len())
    }

    pub(crate) fn make_ready(&self, entry: Entry) {
        self.state().ready.push_back(entry);
        self.is_ready.notify_one();
    }

    /// A place is free again.
    pub(crate) fn let_go(&self) {
        self.state().handed -= 1;
        self.changed.notify_one();
        self.is_ready.notify_one();
    }

    /// Tries it again after a time, here unless the subscription has ended.
    pub(crate) fn try_again(self: &Arc<Self>, entry: Entry, after: Duration) {
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            let desk = self.clone();
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(async move {
                    let attempt = entry.attempt;
                    desk.release(&[(entry.id, attempt)]).await;
                });
            }
            return;
        }
        state.next_number += 1;
        let at = (Instant::now() + after, state.next_number);
        state.waiting.insert(at, entry);
        drop(state);
        self.changed.notify_one();
    }

    /// Lets other members of the queue have these, by id and attempts that count.
    pub(crate) async fn release(&self, entries: &[(String, u32)]) {
        let Some(queue) = self.queue() else { return };
        if entries.is_empty() {
            return;
        }
        let mut script = self.shared.scripts.release.key(&self.stream);
        let lease = self.subscription.lease.as_millis().to_string();
        script.arg(queue).arg(&self.consumer).arg(lease);
        for (id, attempts) in entries {
            script.arg(id).arg(*attempts);
        }
        if let Err(error) = self.shared.link.run::<u32>("to release messages", &script).await {
            let topic = &self.subscription.topic;
            tracing::debug!(topic, queue, %error, "messages go to others once their lease is over");
        }
    }

    /// Tells the server that these are done.
    pub(crate) async fn acknowledge(&self, ids: &[&str]) -> Result<()> {
        let Some(queue) = self.queue() else { return Ok(()) };
        let mut command = cmd("XACK");
        command.arg(&self.stream).arg(queue).arg(ids);
        self.shared.link.ask::<u64>("an acknowledgement", &command).await.map(drop)
    }

    /// Begins leases anew.
    pub(crate) async fn renew(&self, ids: &[String]) -> Result<()> {
        let Some(queue) = self.queue() else { return Ok(()) };
        if ids.is_empty() {
            return Ok(());
        }
        let mut script = self.shared.scripts.renew.key(&self.stream);
        script.arg(queue).arg(&self.consumer).arg(ids);
        self.shared.link.run::<u64>("to renew leases", &script).await.map(drop)
    }

    /// Makes a dead letter of a message that is still this subscription's.
    pub(crate) async fn bury(&self, entry: &Entry, reason: &str) -> Result<()> {
        let Entry { id, attempt, message } = entry;
        let topic = &self.subscription.topic;
        let (to, queue) = (self.subscription.dead_letters(), self.queue());
        let mut letter = message.clone().into_dead_letter(&to, queue, *attempt, reason);
        letter.id = None;
        let is_done = match queue {
            None => self.shared.publish(&letter).await.map(|()| true)?,
            Some(queue) => {
                let fields = write(&letter)?;
                let mut script = self.shared.scripts.bury.key(&self.stream);
                script.key(self.shared.stream(&to)).arg(queue).arg(&self.consumer);
                script.arg(id).arg(*attempt).arg(&fields);
                self.shared.link.run::<u32>("a dead letter", &script).await? == 1
            }
        };
        if is_done {
            tracing::warn!(
                topic,
                queue,
                id,
                attempts = attempt,
                reason,
                "a message is a dead letter"
            );
        }
        Ok(())
    }
}
