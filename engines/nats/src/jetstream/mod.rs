//! Messages that a NATS server keeps: at least once, replayed, and shared by queues.

mod api;
mod headers;
mod pull;
mod settle;
mod stream;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use micro::broker::{Abilities, Broker, Deliveries, Message, Subscription};
use micro::{Error, Result};

use self::pull::Pull;
use self::stream::Stream;
use crate::link::Link;
use crate::options::{Keeping, Options};
use crate::subject;

const SCHEME: &str = "jetstream";

/// What a broker of this kind can do. It cannot deliver one key after the other, nor hold a message back.
fn abilities() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.redelivers = true;
    abilities.persists = true;
    abilities.replays = true;
    abilities.expires = true;
    abilities.deduplicates = true;
    abilities
}

/// Broker over JetStream. Clones are handles on the same connection.
///
/// [`publish`](Broker::publish) waits until the server has stored the message. A queue is a durable consumer of the stream; when a
/// message is delivered again, given up or replayed follows from what the server keeps of it, so that a queue goes on where it was
/// whatever process or server ends.
#[derive(Clone)]
pub struct JetStream {
    stream: Arc<Stream>,
}

impl JetStream {
    /// As the URL `jetstream://` and what follows says: `host:port`, `user:password@host?stream=ORDERS`. It connects when it is first
    /// used.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what cannot be read.
    pub fn new(rest: &str) -> Result<Self> {
        let options = Options::read(SCHEME, rest)?;
        let keeping = Keeping::read(&options)?;
        Ok(Self { stream: Arc::new(Stream::new(Link::new(SCHEME, options), keeping)) })
    }
}

#[async_trait]
impl Broker for JetStream {
    fn name(&self) -> &'static str {
        SCHEME
    }

    fn abilities(&self) -> Abilities {
        abilities()
    }

    async fn publish(&self, message: Message) -> Result<()> {
        message.check(SCHEME, abilities())?;
        self.stream.publish(message, None).await
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        subscription.check(SCHEME, abilities())?;
        if subject::is_pattern(&subscription.topic) {
            let wrong = |what: &str| {
                Err(Error::invalid_argument(format!(
                    "subscription to {}: with wildcards, {what}: set `dead_letters` to a topic that it does not match",
                    subscription.topic
                )))
            };
            match &subscription.dead_letters {
                None => return wrong("dead letters need a topic of their own"),
                Some(dead) if subject::matches(&subscription.topic, dead) => {
                    return wrong("it would get its own dead letters again and again");
                }
                Some(_) => {}
            }
        }
        Ok(Box::new(Pull::begin(self.stream.clone(), subscription).await?))
    }
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}
