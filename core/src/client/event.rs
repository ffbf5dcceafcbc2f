//! go-micro's events: a topic that is published to more than once.

use super::handle::Client;
use super::publish::Publish;
use crate::codec::Message;

/// Publishes to one topic.
///
/// ```
/// # async fn example(client: micro::Client) -> micro::Result<()> {
/// use micro::Json;
///
/// let orders = client.event("orders");
/// orders.publish(Json(7_u64)).await?;
/// orders.publish(Json(8_u64)).key("customer-7").await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    client: Client,
    topic: String,
}

impl Client {
    /// A topic to publish to, as go-micro's `NewEvent` makes it.
    pub fn event(&self, topic: impl Into<String>) -> Event {
        Event { client: self.clone(), topic: topic.into() }
    }
}

impl Event {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// As [`Client::publish`] to this topic.
    pub fn publish<T: Message>(&self, message: T) -> Publish<T> {
        self.client.publish(self.topic.as_str(), message)
    }
}
