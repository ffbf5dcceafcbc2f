//! The stream: made unless it is there, published to, and asked for consumers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Request, RequestErrorKind};
use micro::broker::{Message, Start, Subscription};
use micro::{Error, Result};
use serde_json::{Value, json};

use super::api::{
    CONSUMER_EXISTS, CONSUMER_NOT_FOUND, FULL, OTHER_STREAM, Refusal, STREAM_EXISTS,
    STREAM_NOT_FOUND, Stored, TOO_LARGE, begin, covers, nanos,
};
use super::headers;
use crate::link::{Connected, Link};
use crate::options::Keeping;
use crate::subject;

/// How long the server tells messages that are published twice.
const TWICE: Duration = Duration::from_secs(120);
/// How long the server keeps what it knows of a subscription without a queue that is not heard of.
const SILENCE: Duration = Duration::from_secs(300);
/// Requests for messages that may wait at one consumer.
const WAITING: u32 = 16_384;

/// The stream of a broker.
pub(super) struct Stream {
    pub(super) link: Link,
    keeping: Keeping,
    /// It was seen.
    is_there: AtomicBool,
}

impl Stream {
    pub(super) fn new(link: Link, keeping: Keeping) -> Self {
        Self { link, keeping, is_there: AtomicBool::new(false) }
    }

    pub(super) fn name(&self) -> &str {
        &self.keeping.stream
    }

    fn subject(&self, topic: &str) -> String {
        format!("{}{}", self.keeping.prefix, subject::published(topic))
    }

    /// The topic of a subject of this stream.
    pub(super) fn topic(&self, subject: &str) -> String {
        let rest = subject.strip_prefix(&self.keeping.prefix).unwrap_or(subject);
        subject::topic(rest).map_or_else(|| rest.to_owned(), std::borrow::Cow::into_owned)
    }

    /// Has the server store a message. Of several with the same `once`, it keeps the first.
    pub(super) async fn publish(&self, message: Message, once: Option<&str>) -> Result<()> {
        let subject = self.subject(&message.topic);
        let headers = headers::write(&message, self.name(), &subject, once);
        let connected = self.link.get().await?;
        self.link.check_size(&connected.client, &message.topic, message.body.len())?;
        if !self.is_there.load(Ordering::Acquire) {
            self.look(&connected).await?;
        }
        let mut is_second = false;
        let answer = loop {
            let request = Request::new().headers(headers.clone()).payload(message.body.clone());
            match connected.client.send_request(subject.clone(), request).await {
                Ok(answer) => break answer,
                // Taken by nothing, so that it is not stored twice.
                Err(error) if error.kind() == RequestErrorKind::NoResponders && !is_second => {
                    is_second = true;
                    self.look(&connected).await?;
                }
                Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                    return Err(self.not_covered(&message.topic, &subject));
                }
                Err(error) => return Err(self.link.unanswered(&connected, &error)),
            }
        };
        let stored: Stored = serde_json::from_slice(&answer.payload)
            .map_err(|_| self.not_covered(&message.topic, &subject))?;
        match stored {
            Stored { error: Some(refusal), .. } => Err(self.refused(&message.topic, &refusal)),
            Stored { seq: Some(_), .. } => Ok(()),
            Stored { .. } => Err(self.not_covered(&message.topic, &subject)),
        }
    }

    fn not_covered(&self, topic: &str, subject: &str) -> Error {
        Error::failed_precondition(format!(
            "the stream {} does not keep messages of {topic}: add the subject {subject} to it, or leave out `stream` of the URL",
            self.name()
        ))
    }

    fn refused(&self, what: &str, refusal: &Refusal) -> Error {
        let Refusal { code, err_code, description } = refusal;
        let said = format!("the stream {} refuses {what}: {description} ({err_code})", self.name());
        match err_code {
            &TOO_LARGE => {
                Error::invalid_argument(format!("{said}: raise `max_msg_size` of the stream"))
            }
            &OTHER_STREAM => Error::failed_precondition(format!(
                "{said}: the subject belongs to another stream: name that one by `stream` of the URL"
            )),
            full if FULL.contains(full) => Error::resource_exhausted(format!(
                "{said}: raise the limits of the stream or of the server"
            )),
            _ if *code == 400 => Error::invalid_argument(said),
            _ if *code == 401 || *code == 403 => Error::permission_denied(said),
            _ => Error::unavailable(said),
        }
    }

    /// Asks the server something.
    async fn ask(
        &self,
        connected: &Connected,
        what: &str,
        body: &Value,
    ) -> Result<std::result::Result<Value, Refusal>> {
        let asked = connected.client.request(format!("$JS.API.{what}"), body.to_string().into());
        let answer = asked.await.map_err(|error| self.link.unanswered(connected, &error))?;
        let mut answer: Value = serde_json::from_slice(&answer.payload).map_err(|error| {
            Error::unavailable(format!("the server answers {what} with what is no JSON: {error}"))
        })?;
        let Some(refusal) = answer.get_mut("error").map(Value::take) else { return Ok(Ok(answer)) };
        let refusal = serde_json::from_value(refusal).unwrap_or_else(|error| Refusal {
            code: 500,
            err_code: 0,
            description: error.to_string(),
        });
        Ok(Err(refusal))
    }

    /// Looks whether the stream is there, and makes it where that is ours to do. Its subjects.
    async fn look(&self, connected: &Connected) -> Result<Vec<String>> {
        let Keeping { stream, prefix, replicas, max_bytes, max_age } = &self.keeping;
        let info = format!("STREAM.INFO.{stream}");
        let mut found = self.ask(connected, &info, &json!({})).await?;
        if matches!(&found, Err(refusal) if refusal.err_code == STREAM_NOT_FOUND) {
            if prefix.is_empty() {
                return Err(Error::failed_precondition(format!(
                    "there is no stream {stream}: make it, with the subjects of its topics and of their dead letters, or leave out \
                     `stream` of the URL"
                )));
            }
            let config = json!({
                "name": stream,
                "subjects": [format!("{prefix}>")],
                "description": "messages of micro",
                "retention": "limits",
                "discard": "old",
                "storage": "file",
                "num_replicas": replicas,
                "max_bytes": max_bytes.map_or(-1, |bytes| bytes.try_into().unwrap_or(i64::MAX)),
                "max_age": nanos(*max_age),
                "duplicate_window": nanos(TWICE.min(*max_age)),
                "allow_direct": true,
            });
            found = self.ask(connected, &format!("STREAM.CREATE.{stream}"), &config).await?;
            if matches!(&found, Err(refusal) if refusal.err_code == STREAM_EXISTS) {
                // Another process was faster, and says otherwise.
                found = self.ask(connected, &info, &json!({})).await?;
            }
        }
        let found = found.map_err(|refusal| self.refused("to be looked at", &refusal))?;
        self.is_there.store(true, Ordering::Release);
        let subjects = found.pointer("/config/subjects").and_then(Value::as_array);
        let subjects = subjects.into_iter().flatten().filter_map(Value::as_str);
        Ok(subjects.map(str::to_owned).collect())
    }

    /// The name of the consumer that serves a subscription: that of its queue, made unless it is there, or else a new one. `again`
    /// is where to begin instead, for one that has begun already.
    pub(super) async fn consumer(
        &self,
        connected: &Connected,
        subscription: &Subscription,
        again: Option<Start>,
    ) -> Result<String> {
        let topic = &subscription.topic;
        let wanted = format!("{}{}", self.keeping.prefix, subject::subscribed(topic));
        let subjects = self.look(connected).await?;
        let dead = self.subject(&subscription.dead_letters());
        for subject in [&wanted, &dead] {
            if !subjects.iter().any(|pattern| covers(pattern, subject)) {
                return Err(self.not_covered(topic, subject));
            }
        }
        let name = match &subscription.queue {
            Some(queue) => consumer_name(topic, queue),
            None => format!("micro-{}", connected.client.new_inbox().replace('.', "-")),
        };
        let stream = self.name();
        let mut config = begin(again.unwrap_or(subscription.start));
        merge(
            &mut config,
            json!({
                "name": name,
                "ack_policy": "explicit",
                "ack_wait": nanos(subscription.lease),
                // Messages that fail too often are ours to bury.
                "max_deliver": -1,
                "max_ack_pending": -1,
                "max_waiting": WAITING,
                "filter_subject": wanted,
                "replay_policy": "instant",
            }),
        );
        match &subscription.queue {
            Some(queue) => merge(
                &mut config,
                json!({
                    "durable_name": name,
                    "description": format!("queue {queue} of {topic}"),
                }),
            ),
            None => merge(&mut config, json!({ "inactive_threshold": nanos(SILENCE) })),
        }
        let refused =
            |refusal: Refusal| self.refused(&format!("a subscription to {topic}"), &refusal);
        if subscription.queue.is_some() {
            let info = format!("CONSUMER.INFO.{stream}.{name}");
            match self.ask(connected, &info, &json!({})).await? {
                Ok(found) => {
                    let mut known = found.get("config").cloned().unwrap_or_default();
                    if known.get("ack_wait") != config.get("ack_wait") {
                        merge(&mut known, json!({ "ack_wait": nanos(subscription.lease) }));
                        self.make(connected, &name, &known).await?.map_err(refused)?;
                    }
                    return Ok(name);
                }
                Err(refusal) if refusal.err_code == CONSUMER_NOT_FOUND => {}
                Err(refusal) => return Err(refused(refusal)),
            }
        }
        match self.make(connected, &name, &config).await? {
            Ok(_) => Ok(name),
            // Another member was faster.
            Err(refusal) if CONSUMER_EXISTS.contains(&refusal.err_code) => Ok(name),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    async fn make(
        &self,
        connected: &Connected,
        name: &str,
        config: &Value,
    ) -> Result<std::result::Result<Value, Refusal>> {
        let stream = self.name();
        let body = json!({ "stream_name": stream, "config": config });
        self.ask(connected, &format!("CONSUMER.CREATE.{stream}.{name}"), &body).await
    }

    /// Whether a consumer is still there.
    pub(super) async fn has_consumer(&self, connected: &Connected, name: &str) -> Result<bool> {
        let info = format!("CONSUMER.INFO.{}.{name}", self.name());
        match self.ask(connected, &info, &json!({})).await? {
            Ok(_) => Ok(true),
            Err(refusal) if [CONSUMER_NOT_FOUND, STREAM_NOT_FOUND].contains(&refusal.err_code) => {
                Ok(false)
            }
            Err(refusal) => Err(self.refused("to be looked at", &refusal)),
        }
    }

    /// Takes a consumer away that nothing else uses.
    pub(super) async fn remove(&self, connected: &Connected, name: &str) {
        let delete = format!("CONSUMER.DELETE.{}.{name}", self.name());
        if let Err(error) = self.ask(connected, &delete, &json!({})).await {
            tracing::debug!(name, %error, "a consumer stays until the server takes it away");
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream")
            .field("servers", &self.link.options.servers)
            .field("stream", &self.keeping.stream)
            .finish_non_exhaustive()
    }
}

fn merge(config: &mut Value, more: Value) {
    if let (Value::Object(config), Value::Object(more)) = (config, more) {
        config.extend(more);
    }
}

/// A name that a consumer may have: what is readable of both, and a digest, since names have fewer letters than topics and queues.
fn consumer_name(topic: &str, queue: &str) -> String {
    let readable = |text: &str| -> String {
        let letters = text.chars().take(60);
        letters
            .map(
                |letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' },
            )
            .collect()
    };
    let digest = topic
        .bytes()
        .chain([0])
        .chain(queue.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{}-{}-{digest:016x}", readable(queue), readable(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_have_names_that_tell_queues_and_topics_apart() {
        let pairs = [
            ("orders", "workers"),
            ("orders.", "workers"),
            ("a.b", "c d"),
            ("a_b", "c_d"),
            ("orders-workers", "x"),
            ("workers", "x-orders"),
        ];
        let names: std::collections::BTreeSet<String> =
            pairs.iter().map(|(topic, queue)| consumer_name(topic, queue)).collect();
        assert_eq!(names.len(), pairs.len());
        assert_eq!(consumer_name("orders", "workers"), "workers-orders-3d2b2c098a12c91b");
        let long = consumer_name(&"é.".repeat(200), &"x".repeat(200));
        assert!(
            long.len() < 160
                && long.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
    }
}
