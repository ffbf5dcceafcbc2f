//! What became of a delivery, told to the server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, Subject};
use async_trait::async_trait;
use micro::broker::{Message, Settle, Subscription, Verdict};
use micro::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::stream::Stream;

/// What a subscription holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    sequences: Mutex<BTreeSet<u64>>,
    /// Told when there is one fewer.
    pub(super) fewer: Notify,
}

impl Held {
    pub(super) fn sequences(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, sequence: u64) {
        self.sequences().remove(&sequence);
        self.fewer.notify_one();
    }
}

/// What all deliveries of a subscription share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) stream: Arc<Stream>,
    pub(super) subscription: Subscription,
    pub(super) client: Client,
    /// Name of its consumer.
    pub(super) consumer: String,
    pub(super) held: Arc<Held>,
}

/// One delivery.
pub(super) struct Open {
    desk: Arc<Desk>,
    reply: Subject,
    message: Message,
    sequence: u64,
    attempt: u32,
    /// When the server gives it to another.
    until: Mutex<Instant>,
    is_settled: bool,
}

impl Open {
    pub(super) fn new(
        desk: Arc<Desk>,
        reply: Subject,
        message: Message,
        sequence: u64,
        attempt: u32,
    ) -> Self {
        let until = Mutex::new(Instant::now() + desk.subscription.lease);
        Self { desk, reply, message, sequence, attempt, until, is_settled: false }
    }

    /// Tells the server, and waits until it has heard.
    async fn tell(&self, what: String) -> Result<()> {
        let told = self.desk.client.request(self.reply.clone(), what.into()).await;
        told.map(drop).map_err(|error| {
            Error::unavailable(format!(
                "the server was not told what became of message {} of {}: {error}",
                self.sequence, self.desk.subscription.topic
            ))
        })
    }

    /// Settles it, whoever waits for that.
    pub(super) fn settle_alone(self, verdict: Verdict) {
        tokio::spawn(async move {
            let sequence = self.sequence;
            if let Err(error) = Box::new(self).settle(verdict).await {
                tracing::warn!(sequence, %error, "a message that is not delivered could not be settled yet");
            }
        });
    }

    fn is_over(&self) -> bool {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) <= Instant::now()
    }

    /// Makes it a dead letter, once: what becomes of it later is the same one.
    async fn bury(&self, reason: &str) -> Result<()> {
        let Desk { stream, subscription, consumer, .. } = &*self.desk;
        let topic = &self.message.topic;
        let dead = subscription.dead_letters();
        let queue = subscription.queue.as_deref();
        let letter = self.message.clone().into_dead_letter(&dead, queue, self.attempt, reason);
        let once = format!("dead:{}:{consumer}:{}", stream.name(), self.sequence);
        stream.publish(letter, Some(&once)).await?;
        tracing::warn!(
            topic,
            queue,
            sequence = self.sequence,
            attempts = self.attempt,
            reason,
            "a message is a dead letter"
        );
        self.tell("+TERM".into()).await
    }
}

#[async_trait]
impl Settle for Open {
    async fn settle(mut self: Box<Self>, verdict: Verdict) -> Result<()> {
        // Whatever comes of it: what the server does not hear it delivers again.
        self.is_settled = true;
        match verdict {
            Verdict::Ack => self.tell("+ACK".into()).await,
            // It is with another already.
            _ if self.is_over() => Ok(()),
            Verdict::Retry(after, _) if self.attempt < self.desk.subscription.max_attempts => {
                self.tell(again(after)).await
            }
            Verdict::Retry(_, reason) | Verdict::Reject(reason) => self.bury(&reason).await,
            _ => self.tell(again(Duration::ZERO)).await,
        }
    }

    fn extend(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) =
            Instant::now() + self.desk.subscription.lease;
        later(&self.desk.client, &self.reply, "+WPI".into());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.desk.held.release(self.sequence);
        if !self.is_settled && !self.is_over() {
            later(&self.desk.client, &self.reply, again(Duration::ZERO));
        }
    }
}

pub(super) fn again(after: Duration) -> String {
    match after.is_zero() {
        true => "-NAK".into(),
        false => format!(r#"-NAK {{"delay": {}}}"#, super::api::nanos(after)),
    }
}

/// Tells the server without waiting for it.
pub(super) fn later(client: &Client, reply: &Subject, what: String) {
    let (client, reply) = (client.clone(), reply.clone());
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            if let Err(error) = client.publish(reply, what.into()).await {
                tracing::debug!(%error, "the server was not told: it waits until the lease is over");
            }
        });
    }
}
