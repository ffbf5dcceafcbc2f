//! What is delivered, and what becomes of it.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::message::Message;
use crate::error::Result;

/// Messages of a subscription. Dropped, it ends the subscription; what was delivered and not settled is another's.
#[async_trait]
pub trait Deliveries: Send {
    /// The next message; `None` when the broker has ended. May be cancelled without losing one.
    ///
    /// # Errors
    /// Why there are no more for now; whoever subscribed subscribes again.
    async fn next(&mut self) -> Result<Option<Delivery>>;

    /// Asks for no more. True where what has arrived would be lost with the subscription: then [`next`](Self::next) tells the
    /// rest of it, and `None` at its end. False, as it is unless an implementation says otherwise, where it would be delivered to
    /// another.
    async fn drain(&mut self) -> bool {
        false
    }
}

/// A message as it is delivered, and the way to say what became of it.
pub struct Delivery {
    /// The message and what is known of it.
    pub delivered: Delivered,
    settle: Box<dyn Settle>,
}

/// A message as it is delivered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivered {
    /// The message.
    pub message: Message,
    /// How often it was delivered to its queue, this time included.
    pub attempt: u32,
    /// Its number, which grows through a topic, where the broker keeps messages.
    pub sequence: Option<u64>,
    /// When it was published.
    pub published: SystemTime,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It was handled.
    Ack,
    /// It is to be delivered again, after a time, unless that was tried too often already. Why, for its dead letter.
    Retry(Duration, String),
    /// It is a dead letter, and why.
    Reject(String),
}

/// The way back to a broker for one delivery. Dropped without a verdict, the message is delivered again where the broker can.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Tells the broker what became of it.
    ///
    /// # Errors
    /// The broker was not told: it may deliver the message again.
    async fn settle(self: Box<Self>, verdict: Verdict) -> Result<()>;

    /// Tells the broker that the message is still being handled. Returns at once.
    fn extend(&self) {}
}

impl Delivery {
    /// A delivery of a broker.
    pub fn new(
        message: Message,
        attempt: u32,
        sequence: Option<u64>,
        published: SystemTime,
        settle: Box<dyn Settle>,
    ) -> Self {
        Self { delivered: Delivered { message, attempt, sequence, published }, settle }
    }

    /// Says what became of it.
    ///
    /// # Errors
    /// As [`Settle::settle`].
    pub async fn settle(self, verdict: Verdict) -> Result<()> {
        self.settle.settle(verdict).await
    }

    /// Says that it is still being handled, so that its lease begins anew.
    pub fn extend(&self) {
        self.settle.extend();
    }

    /// The same, with another way back.
    pub(super) fn settled_by(self, way: impl FnOnce(Box<dyn Settle>) -> Box<dyn Settle>) -> Self {
        Self { delivered: self.delivered, settle: way(self.settle) }
    }

    pub(super) fn into_parts(self) -> (Delivered, Box<dyn Settle>) {
        (self.delivered, self.settle)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delivered.fmt(f)
    }
}
