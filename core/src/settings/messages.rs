//! What is said of messages: of one that is published, and of those that are subscribed to.

use std::time::{Duration, UNIX_EPOCH};

use super::call::backoffs;
use super::document::{Document, document};
use super::endpoint::schema;
use super::value::Value;
use crate::broker::{CloudEvent, Start, Subscriber};
use crate::client::Publish;
use crate::codec::{Message, Schema};
use crate::error::Result;
use crate::resilience::Backoff;

/// The terms of a message.
///
/// ```
/// use micro::settings::PublishSettings;
/// # async fn example(client: micro::Client) -> micro::Result<()> {
/// let settings = PublishSettings::from_json(r#"{"key": "customer-7", "delay": "5m"}"#)?;
/// client.publish("reminders", micro::Raw::from("call back")).settings(&settings).await
/// # }
/// ```
///
/// | key | value |
/// |---|---|
/// | `key` | a text; messages of one key are delivered one after the other |
/// | `delay` | a duration: not delivered before |
/// | `expires_in` | a duration: delivered within it, or not at all |
/// | `id` | a text; published again with the same one, it is delivered once |
/// | `priority` | 0 to 9, the highest first |
/// | `exchange` | a topic of the broker to publish to, while the message says its own |
/// | `cloud_event` | what it says of itself as an event of CloudEvents 1.0: `source` and `type`, perhaps `id`, `subject`, `time` (milliseconds since 1970; now unless set) and others as `attributes` |
/// | `detached` | `true`: takes nothing along from the call or message that is being handled |
#[derive(Debug, Clone, Default)]
pub struct PublishSettings {
    key: Option<String>,
    delay: Option<Duration>,
    expires_in: Option<Duration>,
    id: Option<String>,
    priority: Option<u8>,
    exchange: Option<String>,
    cloud_event: Option<CloudEvent>,
    detached: bool,
}

impl Document for PublishSettings {
    const NAME: &'static str = "publish settings";

    fn read(value: Value) -> Result<Self> {
        let mut fields = value.fields()?;
        let settings = Self {
            key: fields.read("key", Value::text)?,
            delay: fields.read("delay", Value::duration)?,
            expires_in: fields.read("expires_in", Value::period)?,
            id: fields.read("id", Value::text)?,
            priority: fields.read("priority", Value::count)?,
            exchange: fields.read("exchange", Value::text)?,
            cloud_event: fields.read("cloud_event", CloudEvent::read)?,
            detached: fields.read("detached", Value::flag)?.unwrap_or_default(),
        };
        fields.finish()?;
        Ok(settings)
    }
}

document!(PublishSettings);

impl<T: Message> Publish<T> {
    /// Sets all that `settings` say, as if each were set here.
    pub fn settings(mut self, settings: &PublishSettings) -> Self {
        let PublishSettings {
            key,
            delay,
            expires_in,
            id,
            priority,
            exchange,
            cloud_event,
            detached,
        } = settings.clone();
        if let Some(key) = key {
            self = self.key(key);
        }
        if let Some(delay) = delay {
            self = self.delay(delay);
        }
        if let Some(life) = expires_in {
            self = self.expires_in(life);
        }
        if let Some(id) = id {
            self = self.id(id);
        }
        if let Some(priority) = priority {
            self = self.priority(priority);
        }
        if let Some(exchange) = exchange {
            self = self.exchange(exchange);
        }
        if let Some(event) = cloud_event {
            self = self.cloud_event(event);
        }
        if detached { self.detached() } else { self }
    }
}

/// What a subscriber of a service asks of its broker, and what may be known of it.
///
/// | key | value |
/// |---|---|
/// | `queue` | a text; subscribers of one queue share its messages |
/// | `start` | where a queue that is new begins: `"new"`, `"first"`, `{"sequence": 7}` or `{"time": 1764000000000}` (milliseconds since 1970) |
/// | `max_in_flight` | messages that are handled at a time, 1 to 65536 |
/// | `max_attempts` | how often a message is delivered before it is a dead letter, 1 to 1000 |
/// | `lease` | a duration: how long a message may be with a process that gives no sign of life |
/// | `dead_letters` | topic of messages that failed too often |
/// | `backoff` | how long a message waits after a failure: `"jittered"`, `"go_micro"` or `"none"` |
/// | `timeout` | a duration: the most time for one message |
/// | `internal` | `true`: subscribes without telling the registry |
/// | `request` | name of the message type, or a tree of its fields as the registry has them |
#[derive(Debug, Clone, Default)]
pub struct SubscriberSettings {
    queue: Option<String>,
    start: Option<Start>,
    max_in_flight: Option<usize>,
    max_attempts: Option<u32>,
    lease: Option<Duration>,
    dead_letters: Option<String>,
    backoff: Option<Backoff>,
    timeout: Option<Duration>,
    internal: bool,
    request: Option<Schema>,
}

impl Document for SubscriberSettings {
    const NAME: &'static str = "subscriber settings";

    fn read(value: Value) -> Result<Self> {
        let mut fields = value.fields()?;
        let settings = Self {
            queue: fields.read("queue", Value::text)?,
            start: fields.read("start", Start::read)?,
            max_in_flight: fields.read("max_in_flight", Value::count)?,
            max_attempts: fields.read("max_attempts", Value::count)?,
            lease: fields.read("lease", Value::duration)?,
            dead_letters: fields.read("dead_letters", Value::text)?,
            backoff: fields.read("backoff", |value| value.choice(&backoffs()))?,
            timeout: fields.read("timeout", Value::period)?,
            internal: fields.read("internal", Value::flag)?.unwrap_or_default(),
            request: schema(&mut fields, "request", None)?,
        };
        fields.finish()?;
        Ok(settings)
    }
}

document!(SubscriberSettings);

impl SubscriberSettings {
    /// The subscriber with these settings. What its broker cannot do is refused when the service starts.
    pub fn apply(self, mut subscriber: Subscriber) -> Subscriber {
        if let Some(queue) = self.queue {
            subscriber = subscriber.queue(queue);
        }
        if let Some(start) = self.start {
            subscriber = subscriber.start(start);
        }
        if let Some(messages) = self.max_in_flight {
            subscriber = subscriber.max_in_flight(messages);
        }
        if let Some(attempts) = self.max_attempts {
            subscriber = subscriber.max_attempts(attempts);
        }
        if let Some(lease) = self.lease {
            subscriber = subscriber.lease(lease);
        }
        if let Some(topic) = self.dead_letters {
            subscriber = subscriber.dead_letters(topic);
        }
        if let Some(backoff) = self.backoff {
            subscriber = subscriber.retry(backoff);
        }
        if let Some(timeout) = self.timeout {
            subscriber = subscriber.timeout(timeout);
        }
        if let Some(request) = self.request {
            subscriber = subscriber.schema(request);
        }
        if self.internal { subscriber.internal() } else { subscriber }
    }
}

impl Start {
    /// What a document says: `"new"`, `"first"`, `{"sequence": 7}` or `{"time": 1764000000000}`, in milliseconds since 1970.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for anything else.
    pub fn read(value: Value) -> Result<Self> {
        if !value.is_object() {
            return value.choice(&[("new", Self::New), ("first", Self::First)]);
        }
        let mut fields = value.fields()?;
        let sequence = fields.read("sequence", Value::count)?;
        let time = fields.read("time", Value::count)?;
        let start = match (sequence, time) {
            (Some(sequence), None) => Ok(Self::Sequence(sequence)),
            (None, Some(millis)) => Ok(Self::Time(UNIX_EPOCH + Duration::from_millis(millis))),
            _ => Err(fields.path.wrong("write `sequence` or `time`, and one of them alone")),
        };
        fields.finish()?;
        start
    }
}

impl CloudEvent {
    fn read(value: Value) -> Result<Self> {
        let mut fields = value.fields()?;
        let source = fields.require("source", Value::text)?;
        let mut event = Self::new(source, fields.require("type", Value::text)?);
        event.id = fields.read("id", Value::text)?;
        event.subject = fields.read("subject", Value::text)?;
        if let Some(millis) = fields.read("time", Value::count)? {
            event.time = Some(UNIX_EPOCH + Duration::from_millis(millis));
        }
        event.attributes = fields.read("attributes", Value::labels)?.unwrap_or_default();
        fields.finish()?;
        Ok(event)
    }
}
