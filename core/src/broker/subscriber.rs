//! Subscribers of a service: a topic, the terms of its deliveries, and the function that handles its messages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Delivered, Start, Subscription};
use crate::codec::{self, Codec, Schema};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::middleware::Next;
use crate::registry::{self, Labels};
use crate::resilience::Backoff;

/// The rest of the way of a message to its handler: what a [layer](crate::middleware) around messages wraps.
pub type MessageHandler = Next<Incoming, ()>;

/// A message on its way to a handler.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Incoming {
    /// What is known of the message, as a handler is told.
    pub context: Context,
    /// The message.
    pub delivered: Arc<Delivered>,
}

/// A subscriber of a service.
#[derive(Clone)]
#[must_use = "a subscriber is subscribed by the service it is added to"]
pub struct Subscriber {
    pub(crate) subscription: Subscription,
    pub(crate) handler: MessageHandler,
    pub(crate) retry: Backoff,
    /// The most time for one message.
    pub(crate) timeout: Option<Duration>,
    schema: Schema,
    pub(crate) internal: bool,
    /// It answers [tasks](crate::tasks).
    pub(crate) is_task: bool,
}

impl Subscriber {
    /// Handles messages of `topic`, read by their content type. A failure has the message delivered again, where the broker can,
    /// and one that cannot be read is a dead letter at once.
    pub fn new<T, F, R>(topic: impl Into<String>, handler: F) -> Self
    where
        T: codec::Message,
        F: Fn(Context, T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = MessageHandler::new(move |incoming: Incoming| {
            let handler = handler.clone();
            async move {
                let message = &incoming.delivered.message;
                let codec = match &message.content_type {
                    Some(name) => Codec::from_content_type(name).map_err(unreadable)?,
                    None => T::preferred(),
                };
                let read = T::decode(codec, message.body.clone()).map_err(unreadable)?;
                handler(incoming.context, read).await
            }
        });
        Self::raw_with(topic.into(), handler, T::schema())
    }

    /// Handles messages of `topic` as they are.
    pub fn raw<F, R>(topic: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Incoming) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let schema = <codec::Raw as codec::Message>::schema();
        Self::raw_with(topic.into(), MessageHandler::new(handler), schema)
    }

    pub(crate) fn raw_with(topic: String, handler: MessageHandler, schema: Schema) -> Self {
        Self {
            subscription: Subscription::new(topic),
            handler,
            retry: Backoff::default(),
            timeout: None,
            schema,
            internal: false,
            is_task: false,
        }
    }

    /// Shares the messages with all subscribers of this queue, in every process and every language.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.subscription.queue = Some(name.into());
        self
    }

    /// Where a queue that is new begins; with new messages unless set.
    pub fn start(mut self, start: Start) -> Self {
        self.subscription.start = start;
        self
    }

    /// Messages that are handled at a time, 16 unless set. With 1, one after the other.
    pub fn max_in_flight(mut self, messages: usize) -> Self {
        self.subscription.max_in_flight = messages;
        self
    }

    /// How often a message is delivered, 5 unless set, before it is a dead letter.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.subscription.max_attempts = attempts;
        self
    }

    /// How long a message waits after a failure.
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.retry = backoff;
        self
    }

    /// The most time for one message; unset, there is no limit. One that takes longer has failed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long a message may be with a process that gives no sign of life, 30 s unless set.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.subscription.lease = lease;
        self
    }

    /// Topic of messages that failed too often; that of the subscriber and `.dead` unless set.
    pub fn dead_letters(mut self, topic: impl Into<String>) -> Self {
        self.subscription.dead_letters = Some(topic.into());
        self
    }

    /// Subscribes without telling the registry.
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// What the registry says its messages are.
    pub(crate) fn schema(mut self, schema: Schema) -> Self {
        self.schema = schema;
        self
    }

    /// Topic of its messages.
    pub fn topic(&self) -> &str {
        &self.subscription.topic
    }

    pub(crate) fn queue_name(&self) -> Option<&str> {
        self.subscription.queue.as_deref()
    }

    /// What the registry says about this subscriber, as go-micro's nodes do (wire reference 3).
    pub(crate) fn record(&self) -> registry::Endpoint {
        let mut metadata = Labels::new();
        metadata.insert("topic".into(), self.subscription.topic.clone());
        metadata.insert("subscriber".into(), "true".into());
        registry::Endpoint {
            name: "Func".into(),
            request: Some(self.schema.value().clone()),
            response: None,
            metadata,
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("subscription", &self.subscription)
            .finish_non_exhaustive()
    }
}

/// A message that will never be read: to try again is of no use.
fn unreadable(error: Error) -> Error {
    error.without_retry()
}
