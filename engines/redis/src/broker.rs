//! The broker: publishes, and begins subscriptions.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use micro::Result;
use micro::broker::{Abilities, Broker, Deliveries, Message, Subscription};

use crate::desk::Desk;
use crate::options::Options;
use crate::shared::Shared;
use crate::{flow, upkeep};

const NAME: &str = "redis";

fn abilities() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.redelivers = true;
    abilities.persists = true;
    abilities.replays = true;
    abilities.delays = true;
    abilities.expires = true;
    abilities.deduplicates = true;
    abilities
}

/// Broker over streams of Redis. Clones are handles on the same connection.
///
/// At least once. Once [`publish`](Broker::publish) returns, the server has the message, as safe as it keeps all it is told:
/// with `appendonly yes` and `appendfsync always`, it is on the disk.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

impl Redis {
    /// As the URL `redis://`, or `rediss://` for TLS, and what follows says: `user:password@host:port/number?prefix=shop:`. It connects
    /// when it is first used.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what cannot be read.
    pub fn new(scheme: &'static str, rest: &str) -> Result<Self> {
        let options = Options::read(scheme, rest)?;
        Ok(Self { shared: Arc::new(Shared::new(options)) })
    }

    /// Removes messages that need not be kept of the topics that this process has used, at once. That happens every half a minute by
    /// itself.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the server cannot be reached.
    pub async fn tidy(&self) -> Result<()> {
        upkeep::tidy_all(&self.shared).await
    }
}

#[async_trait]
impl Broker for Redis {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abilities(&self) -> Abilities {
        abilities()
    }

    async fn publish(&self, message: Message) -> Result<()> {
        message.check(NAME, abilities())?;
        upkeep::begin(&self.shared);
        self.shared.publish(&message).await
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        subscription.check(NAME, abilities())?;
        let shared = self.shared.clone();
        let stream = shared.stream(&subscription.topic);
        shared.use_stream(&stream);
        upkeep::begin(&shared);
        let from = shared.begin(&stream, subscription.start).await?;
        if let Some(queue) = &subscription.queue {
            shared.make_group(&stream, queue, &from).await?;
        }
        let desk = Arc::new(Desk::new(shared, subscription, stream));
        Ok(Box::new(flow::begin(desk, from)))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
