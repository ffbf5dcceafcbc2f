//! Core NATS, as go-micro's broker uses it: at most once, to whoever is subscribed at that moment (wire reference 6.4).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_nats::{PublishErrorKind, Subscriber};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use micro::broker::{
    Abilities, Broker, Deliveries, Delivery, Message, Settle, Subscription, Verdict, envelope,
};
use micro::{Error, Result};
use tokio::time::timeout;

use crate::link::Link;
use crate::options::{Options, PATIENCE};
use crate::subject;

const SCHEME: &str = "nats";

/// Broker over core NATS. Clones are handles on the same connection.
///
/// Programs with go-micro v2 and its NATS broker publish to these subscribers, and are published to. A subscription to a topic with
/// the tokens `*`, or `>` at its end, is one to all topics that match. Nothing is kept and nothing is delivered twice.
#[derive(Clone)]
pub struct Nats {
    link: Arc<Link>,
}

impl Nats {
    /// As the URL `nats://` and what follows says: `host:port`, `user:password@host`, `a,b,c?tls=true`. It connects when it is first
    /// used.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what cannot be read.
    pub fn new(rest: &str) -> Result<Self> {
        let options = Options::read(SCHEME, rest)?;
        if let Some((name, _)) = options.others.first() {
            return Err(Options::unknown(SCHEME, name, &[]));
        }
        Ok(Self { link: Arc::new(Link::new(SCHEME, options)) })
    }
}

#[async_trait]
impl Broker for Nats {
    fn name(&self) -> &'static str {
        SCHEME
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn publish(&self, message: Message) -> Result<()> {
        message.check(SCHEME, self.abilities())?;
        let bytes = envelope::write(&message);
        let connected = self.link.get().await?;
        self.link.check_size(&connected.client, &message.topic, bytes.len())?;
        let sending = async {
            let sent = connected.client.publish(subject::published(&message.topic), bytes).await;
            sent.map_err(|error| match error.kind() {
                PublishErrorKind::Send => {
                    self.link.forget(&connected);
                    self.link.unreachable("the connection was closed")
                }
                _ => Error::invalid_argument(error.to_string()),
            })?;
            // Only then does it outlive the process.
            let flushed = connected.client.flush().await;
            flushed.map_err(|error| self.link.unreachable(&error.to_string()))
        };
        let sent = timeout(PATIENCE, sending).await;
        sent.map_err(|_| self.link.unreachable("what was to be sent had no room in time"))?
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        subscription.check(SCHEME, self.abilities())?;
        let Subscription { topic, queue, .. } = subscription;
        let wanted = subject::subscribed(&topic);
        let connected = self.link.get().await?;
        let client = &connected.client;
        let subscribing = async {
            let failed = |error: async_nats::SubscribeError| {
                self.link.forget(&connected);
                self.link.unreachable(&error.to_string())
            };
            let subscriber = match queue {
                // No white space, and go-micro's queues stay what they are.
                Some(queue) => client.queue_subscribe(wanted, queue_group(&queue)).await,
                None => client.subscribe(wanted).await,
            };
            let subscriber = subscriber.map_err(failed)?;
            // The server answers requests in their order: once it answers this one, it knows of the subscription.
            let inbox = client.new_inbox();
            let mut answer = client.subscribe(inbox.clone()).await.map_err(failed)?;
            let asked = client.publish(inbox, "".into()).await;
            asked.map_err(|error| self.link.unreachable(&error.to_string()))?;
            answer
                .next()
                .await
                .ok_or_else(|| self.link.unreachable("the connection was closed"))?;
            Ok::<_, Error>(subscriber)
        };
        let subscribed = timeout(PATIENCE, subscribing).await;
        let subscriber =
            subscribed.map_err(|_| self.link.unreachable("it did not answer in time"))??;
        Ok(Box::new(Received { subscriber, topic }))
    }
}

fn queue_group(queue: &str) -> String {
    match queue.contains(char::is_whitespace) {
        false => queue.to_owned(),
        true => subject::published(queue),
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("servers", &self.link.options.servers).finish_non_exhaustive()
    }
}

/// A subscription, which the connection renews whenever it is made again.
struct Received {
    subscriber: Subscriber,
    topic: String,
}

#[async_trait]
impl Deliveries for Received {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        while let Some(received) = self.subscriber.next().await {
            let read = subject::topic(&received.subject)
                .ok_or_else(|| Error::invalid_argument("its subject is no text"))
                .and_then(|topic| envelope::read(&received.payload, Some(&topic)));
            match read {
                Ok(message) => {
                    let now = SystemTime::now();
                    return Ok(Some(Delivery::new(message, 1, None, now, Box::new(Forgotten))));
                }
                // As go-micro does: nothing follows from it but that it is told.
                Err(error) => {
                    tracing::warn!(topic = self.topic, subject = %received.subject, %error,
                    "what was received is no message of go-micro, and is passed over")
                }
            }
        }
        Ok(None)
    }

    async fn drain(&mut self) -> bool {
        matches!(timeout(PATIENCE, self.subscriber.drain()).await, Ok(Ok(())))
    }
}

/// Nothing is told to the publisher.
struct Forgotten;

#[async_trait]
impl Settle for Forgotten {
    async fn settle(self: Box<Self>, _verdict: Verdict) -> Result<()> {
        Ok(())
    }
}
