//! Messages that a program takes and settles itself.

use std::fmt;

use super::handle::Client;
use crate::broker::{Delivery, Subscription, Supervised};
use crate::error::Result;

/// Messages of a topic. Dropped, it ends the subscription; what was delivered and not settled is another's.
pub struct Subscribed {
    deliveries: Supervised,
    topic: String,
}

impl Client {
    /// Subscribes to a topic, for a program that takes each message when it is ready for it and says itself what became of it.
    /// Services do that by [`Subscriber`](crate::broker::Subscriber)s.
    ///
    /// When its broker ends the subscription or cannot be reached, it is made again.
    ///
    /// ```
    /// # async fn example(client: micro::Client) -> micro::Result<()> {
    /// use micro::broker::{Subscription, Verdict};
    ///
    /// let mut orders = client.subscribe(Subscription::new("orders")).await?;
    /// let order = orders.next().await;
    /// println!("{:?}", order.delivered.message.body);
    /// order.settle(Verdict::Ack).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a subscription that asks for what the broker of this client cannot do.
    pub async fn subscribe(&self, subscription: Subscription) -> Result<Subscribed> {
        let topic = subscription.topic.clone();
        let deliveries = Supervised::begin(self.broker().clone(), subscription).await?;
        Ok(Subscribed { deliveries, topic })
    }
}

impl Subscribed {
    /// The next message, once there is one. It is to be settled within the lease of the subscription, or
    /// [extended](Delivery::extend) meanwhile. May be cancelled without losing one.
    pub async fn next(&mut self) -> Delivery {
        self.deliveries.next().await
    }
}

impl fmt::Debug for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribed").field("topic", &self.topic).finish_non_exhaustive()
    }
}
