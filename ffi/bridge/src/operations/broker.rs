//! What is asked of the broker that a client publishes with.

use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use micro::broker::{Delivery, Start, Subscription};
use micro::settings::{Fields, Value};

use super::ground::{Args, At};

/// Of `broker.subscribe`.
pub(crate) struct Subscribe {
    topic: String,
    /// Each subscription gets every message, without it.
    queue: Option<String>,
    start: Option<Start>,
    max_in_flight: Option<usize>,
    max_attempts: Option<u32>,
    lease: Option<Duration>,
    dead_letters: Option<String>,
}

impl Args for Subscribe {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            topic: fields.require("topic", Value::text)?,
            queue: fields.read("queue", Value::text)?,
            start: fields.read("start", Start::read)?,
            max_in_flight: fields.read("max_in_flight", Value::count)?,
            max_attempts: fields.read("max_attempts", Value::count)?,
            lease: fields.read("lease", Value::duration)?,
            dead_letters: fields.read("dead_letters", Value::text)?,
        })
    }
}

impl From<Subscribe> for Subscription {
    fn from(args: Subscribe) -> Self {
        let mut subscription = Self::new(args.topic);
        subscription.queue = args.queue;
        subscription.start = args.start.unwrap_or_default();
        subscription.dead_letters = args.dead_letters;
        if let Some(messages) = args.max_in_flight {
            subscription.max_in_flight = messages;
        }
        if let Some(attempts) = args.max_attempts {
            subscription.max_attempts = attempts;
        }
        if let Some(lease) = args.lease {
            subscription.lease = lease;
        }
        subscription
    }
}

/// Messages of a topic, each lent to the host until it settles it. Goes on for ever: a subscription that ends is made again.
pub(crate) async fn subscribe(
    at: At,
    args: Subscribe,
) -> micro::Result<impl Stream<Item = Delivery> + Send + 'static> {
    let subscribed = at.client.subscribe(args.into()).await?;
    Ok(unfold(subscribed, |mut subscribed| async {
        let delivery = subscribed.next().await;
        Some((delivery, subscribed))
    }))
}
