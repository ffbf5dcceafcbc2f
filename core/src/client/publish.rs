//! Messages being put together: what is published, and on which terms.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::handle::Client;
use super::heads::replace;
use crate::broker::{CloudEvent, Message as Published};
use crate::codec::{Codec, Message, Side};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::forward::forward;
use crate::metadata::Metadata;
use crate::middleware::BoxFuture;
use crate::telemetry::Trace;
use crate::transport::FROM_SERVICE;

/// A message that is being put together. Await it to publish.
#[derive(Debug)]
#[must_use = "a message is published when it is awaited"]
pub struct Publish<T> {
    client: Client,
    topic: String,
    message: T,
    exchange: Option<String>,
    codec: Option<Codec>,
    metadata: Metadata,
    key: Option<String>,
    due: Option<SystemTime>,
    expires: Option<SystemTime>,
    id: Option<String>,
    priority: u8,
    cloud_event: Option<Box<CloudEvent>>,
    is_detached: bool,
    wrong: Option<Error>,
}

impl Client {
    /// Publishes a message to whoever subscribes to `topic`, with the broker of this client.
    ///
    /// Within a handler, metadata and trace of what it serves go along.
    ///
    /// ```
    /// # async fn example(client: micro::Client) -> micro::Result<()> {
    /// use std::time::Duration;
    ///
    /// use micro::Json;
    ///
    /// client.publish("orders", Json(7_u64)).metadata("tenant", "blue").await?;
    /// client.publish("reminders", Json("wake up".to_owned())).delay(Duration::from_secs(3600)).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Broker::publish`](crate::broker::Broker::publish).
    pub fn publish<T: Message>(&self, topic: impl Into<String>, message: T) -> Publish<T> {
        Publish {
            client: self.clone(),
            topic: topic.into(),
            message,
            exchange: None,
            codec: None,
            metadata: Metadata::new(),
            key: None,
            due: None,
            expires: None,
            id: None,
            priority: 0,
            cloud_event: None,
            is_detached: false,
            wrong: None,
        }
    }
}

impl<T: Message> Publish<T> {
    /// Sends a header with it; a name that is given twice has both values.
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        if let Err(error) = self.metadata.append(name, value) {
            self.wrong.get_or_insert(error);
        }
        self
    }

    /// Sends all of these headers with it.
    pub fn metadata_all(mut self, metadata: Metadata) -> Self {
        if let Err(error) = self.metadata.append_all(metadata) {
            self.wrong.get_or_insert(error);
        }
        self
    }

    /// Writes the message in this codec instead of the one its type prefers.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Messages of one key are delivered one after the other.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Delivers it after `delay`.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.due = SystemTime::now().checked_add(delay);
        self
    }

    /// Delivers it within `life`, or not at all.
    pub fn expires_in(mut self, life: Duration) -> Self {
        self.expires = SystemTime::now().checked_add(life);
        self
    }

    /// Tells it from all others of its topic: published again with the same id, it is delivered once. 1 to 200 bytes of text
    /// without control characters.
    ///
    /// How long ids are remembered is up to the broker: `durable://` does for two minutes, unless its option `dedup` says
    /// otherwise. With an id, the broker may send a message again by itself where it does not know what became of it.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Delivers it before messages of lower priority that could be delivered as well, but not before an older one of its key:
    /// 0, unless set, to 9.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Says of itself what an event of CloudEvents 1.0 does, in headers; see [`CloudEvent`].
    pub fn cloud_event(mut self, event: CloudEvent) -> Self {
        self.cloud_event = Some(Box::new(event));
        self
    }

    /// Publishes to this topic of the broker, while the message keeps saying its own: go-micro's `WithExchange`.
    pub fn exchange(mut self, topic: impl Into<String>) -> Self {
        self.exchange = Some(topic.into());
        self
    }

    /// Takes nothing along from the call or message that is being handled.
    pub fn detached(mut self) -> Self {
        self.is_detached = true;
        self
    }

    /// The message as it would be published, for what publishes it later, such as an outbox.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for metadata, or a message, that cannot be written.
    pub fn into_message(mut self) -> Result<Published> {
        if let Some(error) = self.wrong.take() {
            return Err(error);
        }
        let codec = self.codec.unwrap_or_else(T::preferred);
        let headers = self.headers()?;
        let body = self.message.into_bytes(codec, Side::Client)?;
        let mut message = Published::new(self.exchange.unwrap_or(self.topic), body);
        message.headers = Metadata::from(headers);
        message.content_type = Some(content_type(codec).to_owned());
        message.key = self.key;
        message.due = self.due;
        message.expires = self.expires;
        message.id = self.id;
        message.priority = self.priority;
        Ok(message)
    }

    async fn send(self) -> Result<()> {
        let broker = self.client.broker().clone();
        broker.publish(self.into_message()?).await
    }

    /// What go-micro's publishers send (wire reference 6.2), what is inherited, and what the message was given, which comes first.
    fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let context = if self.is_detached { None } else { Context::current() };
        if let Some(context) = &context {
            let rule = self.client.0.options.forward.as_deref();
            forward(context.metadata().headers(), &mut headers, rule, false);
        }
        let trace = context.as_ref().map_or_else(Trace::root, |context| context.trace().child());
        trace.write(&mut headers);
        let mut ours = Metadata::new();
        ours.insert("micro-topic", &self.topic)?;
        let id = uuid::Uuid::new_v4().to_string();
        ours.insert("micro-id", &id)?;
        if let Some(event) = &self.cloud_event {
            ours.append_all(event.write(self.id.as_deref().unwrap_or(&id))?)?;
        }
        if !self.client.name().is_empty() && !headers.contains_key(FROM_SERVICE) {
            ours.insert(FROM_SERVICE.as_str(), self.client.name())?;
        }
        replace(&mut headers, ours.headers())?;
        replace(&mut headers, self.metadata.headers())?;
        Ok(headers)
    }
}

impl<T: Message> IntoFuture for Publish<T> {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Content type of a message on its own, which servers of both of go-micro's kinds read.
pub(crate) fn content_type(codec: Codec) -> &'static str {
    match codec {
        Codec::Proto => "application/protobuf",
        Codec::Json => "application/json",
        Codec::Bytes => "application/grpc+bytes",
        Codec::Text => "text/plain",
        Codec::Added(_) => codec.grpc_content_type(),
    }
}
