//! What the cases are made of.

use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use super::Subject;
use crate::broker::{Abilities, Broker, Deliveries, Delivery, Message, Subscription, Verdict};
use crate::error::{Code, Result};
pub(super) use crate::registry::contract::unique;

/// How long nothing comes before it is believed that nothing will.
const QUIET: Duration = Duration::from_millis(300);

impl Subject {
    pub(super) fn can(&self) -> Abilities {
        self.publisher.abilities()
    }

    pub(super) async fn publish(&self, message: Message) {
        let topic = message.topic.clone();
        let published = timeout(self.patience, self.publisher.publish(message)).await;
        let published = published.unwrap_or_else(|_| panic!("publishing to {topic} ends in time"));
        published.unwrap_or_else(|error| panic!("a message to {topic} is taken: {error}"));
    }

    pub(super) async fn subscribe(&self, subscription: Subscription) -> Taken {
        self.subscribe_at(&*self.subscriber, subscription).await
    }

    pub(super) async fn subscribe_at(
        &self,
        broker: &dyn Broker,
        subscription: Subscription,
    ) -> Taken {
        let topic = subscription.topic.clone();
        let subscribed = timeout(self.patience, broker.subscribe(subscription)).await;
        let subscribed = subscribed.unwrap_or_else(|_| panic!("subscribing to {topic} ends"));
        let deliveries =
            subscribed.unwrap_or_else(|error| panic!("one can subscribe to {topic}: {error}"));
        Taken { deliveries, topic, patience: self.patience }
    }

    /// Subscribes, acknowledges all that comes and hands it on.
    pub(super) async fn collect(&self, broker: &dyn Broker, subscription: Subscription) -> Got {
        let Taken { mut deliveries, topic, patience } =
            self.subscribe_at(broker, subscription).await;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(delivery)) = deliveries.next().await {
                let message = delivery.delivered.message.clone();
                if delivery.settle(Verdict::Ack).await.is_err() || sender.send(message).is_err() {
                    return;
                }
            }
        });
        Got { receiver, topic, patience }
    }
}

/// A subscription whose deliveries the case settles.
pub(super) struct Taken {
    pub(super) deliveries: Box<dyn Deliveries>,
    topic: String,
    patience: Duration,
}

impl Taken {
    pub(super) async fn next(&mut self) -> Delivery {
        let topic = &self.topic;
        let next = timeout(self.patience, self.deliveries.next()).await;
        let next = next.unwrap_or_else(|_| panic!("a message of {topic} is delivered in time"));
        let next =
            next.unwrap_or_else(|error| panic!("the subscription to {topic} lasts: {error}"));
        next.unwrap_or_else(|| panic!("the subscription to {topic} does not end by itself"))
    }

    /// The next one, acknowledged.
    pub(super) async fn take(&mut self) -> Message {
        let delivery = self.next().await;
        let message = delivery.delivered.message.clone();
        delivery.settle(Verdict::Ack).await.expect("an acknowledgement is taken");
        message
    }

    pub(super) async fn nothing(&mut self, promise: &str) {
        if let Ok(next) = timeout(QUIET, self.deliveries.next()).await {
            panic!("{promise}, but of {} came {next:?}", self.topic);
        }
    }
}

/// A subscription whose deliveries are acknowledged.
pub(super) struct Got {
    receiver: UnboundedReceiver<Message>,
    topic: String,
    patience: Duration,
}

impl Got {
    pub(super) async fn next(&mut self) -> Message {
        let next = timeout(self.patience, self.receiver.recv()).await;
        let next = next.unwrap_or_else(|_| panic!("a message of {} comes in time", self.topic));
        next.unwrap_or_else(|| panic!("the subscription to {} lasts", self.topic))
    }

    /// The next one, unless the time is over or there will be none.
    pub(super) async fn try_next(&mut self) -> Option<Message> {
        self.receiver.recv().await
    }

    pub(super) async fn nothing(&mut self, promise: &str) {
        if let Ok(next) = timeout(QUIET, self.receiver.recv()).await {
            panic!("{promise}, but of {} came {next:?}", self.topic);
        }
    }
}

/// A member of the queue `workers`.
pub(super) fn worker(topic: &str) -> Subscription {
    let mut subscription = Subscription::new(topic);
    subscription.queue = Some("workers".into());
    subscription
}

pub(super) fn text(message: &Message) -> &str {
    std::str::from_utf8(&message.body).expect("the body is the text that was sent")
}

pub(super) fn refused(result: Result<()>, promise: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{promise}, but it was taken"));
    assert_eq!(error.code(), Code::InvalidArgument, "{promise} with INVALID_ARGUMENT: {error}");
}
