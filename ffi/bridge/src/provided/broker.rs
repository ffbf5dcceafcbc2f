//! Brokers of a host's own.
//!
//! A message to be published comes with its terms as arguments, its headers as metadata and its body as payload, and is answered
//! once the broker has it. A subscription is a stream both ways: the host answers with an empty message once it stands, then with
//! one for each delivery, a head in JSON behind its length (four bytes, little-endian) and then the body; it is sent what became of
//! each, in JSON, and answers that with a head of `settled`, the delivery's number, and
//! perhaps `error`, why it could not do that.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT as BASE64;
use bytes::{Buf as _, Bytes};
use futures_util::stream::unfold;
use micro::broker::{
    self, Abilities, Broker, Deliveries, Delivery, Message, Settle, Start, Subscription, Verdict,
};
use micro::server::Body;
use micro::{Error, Messages, Metadata, Shape};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::abilities::abilities;
use super::area;
use super::asked::{Hosted, Operation};
use super::names::{SCHEME, find};
use crate::delivery::millis;
use crate::operations;

/// The number of the question that publishes a message.
pub const PUBLISH: u32 = 0x0402;

const PUBLISHES: Operation = Operation { number: PUBLISH, name: "broker.publish" };
const SUBSCRIBES: Operation =
    Operation { number: operations::BROKER_SUBSCRIBE, name: "broker.subscribe" };

/// How long the last verdicts of a subscription that ends are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Makes the scheme known, once.
pub(super) fn open_scheme() {
    // Taken means that it is known already: nothing else has it.
    let _ = broker::provide(SCHEME, |name| {
        find(area::BROKER, name)?;
        Ok(Arc::new(HostedBroker(Arc::new(Hosted { area: area::BROKER, name: name.to_owned() }))))
    });
}

/// A broker that a host provides.
struct HostedBroker(Arc<Hosted>);

impl fmt::Debug for HostedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl Broker for HostedBroker {
    fn name(&self) -> &str {
        SCHEME
    }

    fn abilities(&self) -> Abilities {
        let entry = find(area::BROKER, &self.0.name);
        entry.map(|entry| abilities(entry.abilities)).unwrap_or_default()
    }

    async fn publish(&self, message: Message) -> micro::Result<()> {
        message.check(SCHEME, self.abilities())?;
        let args = json!({
            "topic": message.topic, "type": message.content_type, "key": message.key, "id": message.id,
            "priority": message.priority, "due": message.due.map(millis), "expires": message.expires.map(millis),
        });
        self.0.ask(PUBLISHES, message.headers, &args, message.body).await.map(drop)
    }

    async fn subscribe(&self, it: Subscription) -> micro::Result<Box<dyn Deliveries>> {
        it.check(SCHEME, self.abilities())?;
        let start = match it.start {
            Start::First => json!("first"),
            Start::Sequence(sequence) => json!({ "sequence": sequence }),
            Start::Time(time) => json!({ "time": millis(time) }),
            _ => json!("new"),
        };
        let args = json!({
            "topic": it.topic, "queue": it.queue, "start": start, "max_in_flight": it.max_in_flight,
            "max_attempts": it.max_attempts, "lease": it.lease.as_millis() as u64, "dead_letters": it.dead_letters,
        });
        // What is said of messages: of each that is out, a verdict and perhaps that it goes on.
        let (told, telling) = mpsc::channel::<Bytes>(it.max_in_flight * 2);
        let said =
            unfold(telling, |mut telling| async { Some((Ok(telling.recv().await?), telling)) });
        let body = Body::Stream(Messages::new(said));
        let messages = self.0.follow(SUBSCRIBES, &args, Shape::BidiStream, body).await?;
        let way = Arc::new(Way { told, settling: Mutex::new(Some(HashMap::new())) });
        let (sender, deliveries) = mpsc::channel(it.max_in_flight);
        let reading = Reading { hosted: self.0.clone(), topic: it.topic, way: way.clone() };
        let reading = AbortOnDropHandle::new(tokio::spawn(reading.run(messages, sender)));
        Ok(Box::new(Subscribed { deliveries, way, reading: Some(reading) }))
    }
}

struct Subscribed {
    deliveries: mpsc::Receiver<micro::Result<Delivery>>,
    way: Arc<Way>,
    reading: Option<AbortOnDropHandle<()>>,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.deliveries.close();
        let Some(reading) = self.reading.take().filter(|_| !self.way.is_settled()) else { return };
        // Verdicts that are on their way count.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(LAST_WORDS, reading));
        }
    }
}

#[async_trait]
impl Deliveries for Subscribed {
    async fn next(&mut self) -> micro::Result<Option<Delivery>> {
        self.deliveries.recv().await.transpose()
    }
}

/// The way back to the host.
struct Way {
    told: mpsc::Sender<Bytes>,
    /// Verdicts that the host has not answered; none after the end.
    settling: Mutex<Option<Settling>>,
}

/// Those who wait for an answer.
type Settling = HashMap<u64, oneshot::Sender<micro::Result<()>>>;

impl Way {
    fn settling(&self) -> MutexGuard<'_, Option<Settling>> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the host has answered every verdict.
    fn is_settled(&self) -> bool {
        self.settling().as_ref().is_none_or(HashMap::is_empty)
    }
}

/// Ends those who wait, however the reading ends.
struct Over(Arc<Way>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.settling().take();
    }
}

/// Reads what the host sends, also while its deliveries are not asked for.
struct Reading {
    hosted: Arc<Hosted>,
    topic: String,
    way: Arc<Way>,
}

impl Reading {
    async fn run(self, mut messages: Messages, deliveries: mpsc::Sender<micro::Result<Delivery>>) {
        let _over = Over(self.way.clone());
        loop {
            let read = match messages.message().await {
                Ok(Some(told)) => self.read(told).transpose(),
                Ok(None) => return,
                Err(error) => Some(Err(error)),
            };
            if let Some(read) = read {
                let is_last = read.is_err();
                let _ = deliveries.send(read).await;
                if is_last {
                    return;
                }
            }
            // What comes for no reader is another's once the subscription has ended.
            if deliveries.is_closed() && self.way.is_settled() {
                return;
            }
        }
    }

    /// A delivery; nothing of a verdict that the host has heard.
    fn read(&self, told: Bytes) -> micro::Result<Option<Delivery>> {
        let broken = |why: &str| self.hosted.broken(SUBSCRIBES.name, why);
        let (head, body) = split(told).ok_or_else(|| broken("a delivery is cut short"))?;
        let head: Head =
            serde_json::from_slice(&head).map_err(|error| broken(&error.to_string()))?;
        let head = match head {
            Head::Settled { settled, error } => {
                let done = self.way.settling().as_mut().and_then(|all| all.remove(&settled));
                if let Some(done) = done {
                    let _ = done.send(error.map_or(Ok(()), |error| Err(Error::unavailable(error))));
                }
                return Ok(None);
            }
            Head::Delivery(head) => head,
        };
        let mut message = Message::new(&self.topic, body);
        message.headers = headers(head.headers)?;
        message.content_type = head.content_type;
        message.key = head.key;
        message.id = head.id;
        message.priority = head.priority;
        let published = head.published.map(|millis| UNIX_EPOCH + Duration::from_millis(millis));
        let published = published.unwrap_or_else(SystemTime::now);
        let settle = Box::new(Answered { way: self.way.clone(), delivery: Some(head.delivery) });
        Ok(Some(Delivery::new(message, head.attempt, head.sequence, published, settle)))
    }
}

/// What comes before the body of a delivery.
#[derive(Deserialize)]
#[serde(untagged)]
enum Head {
    /// A verdict was heard.
    Settled {
        settled: u64,
        error: Option<String>,
    },
    Delivery(Box<Lent>),
}

#[derive(Deserialize)]
struct Lent {
    /// What the host calls it when it is told of the verdict.
    delivery: u64,
    #[serde(default = "one")]
    attempt: u32,
    sequence: Option<u64>,
    /// Milliseconds since 1970.
    published: Option<u64>,
    #[serde(rename = "type")]
    content_type: Option<String>,
    key: Option<String>,
    id: Option<String>,
    #[serde(default)]
    priority: u8,
    /// Values by name; those of names that end in `-bin` are base64.
    #[serde(default)]
    headers: BTreeMap<String, Vec<String>>,
}

fn one() -> u32 {
    1
}

fn split(mut told: Bytes) -> Option<(Bytes, Bytes)> {
    let length = told.try_get_u32_le().ok()? as usize;
    (length <= told.len()).then(|| (told.split_to(length), told))
}

fn headers(told: BTreeMap<String, Vec<String>>) -> micro::Result<Metadata> {
    let mut headers = Metadata::new();
    for (name, values) in told {
        for value in values {
            match name.ends_with("-bin") {
                true => {
                    let bytes = BASE64.decode(&value).map_err(|error| {
                        Error::internal(format!(
                            "the header {name} of a message is no base64: {error}"
                        ))
                    })?;
                    headers.append_bin(&name, &bytes)?;
                }
                false => headers.append(&name, &value)?,
            }
        }
    }
    Ok(headers)
}

/// The way back for one delivery.
struct Answered {
    way: Arc<Way>,
    /// Gone once it is settled.
    delivery: Option<u64>,
}

fn said(value: &Value) -> Bytes {
    value.to_string().into()
}

#[async_trait]
impl Settle for Answered {
    async fn settle(mut self: Box<Self>, verdict: Verdict) -> micro::Result<()> {
        let gone = || Error::unavailable("the host has ended the subscription");
        let value = match &verdict {
            Verdict::Ack => json!({ "verdict": "ack" }),
            Verdict::Retry(after, reason) => {
                json!({ "verdict": "retry", "delay": after.as_millis() as u64, "reason": reason })
            }
            Verdict::Reject(reason) => json!({ "verdict": "reject", "reason": reason }),
            _ => return Err(Error::unimplemented("a verdict that hosts do not know")),
        };
        let Some(delivery) = self.delivery.take() else { return Err(gone()) };
        let (done, heard) = oneshot::channel();
        self.way.settling().as_mut().ok_or_else(gone)?.insert(delivery, done);
        let told = self.way.told.send(said(&with(value, delivery))).await;
        told.map_err(|_| gone())?;
        heard.await.map_err(|_| gone())?
    }

    fn extend(&self) {
        if let Some(delivery) = self.delivery {
            // One that finds no place is followed by another.
            let _ = self.way.told.try_send(said(&with(json!({ "verdict": "extend" }), delivery)));
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            let value =
                json!({ "verdict": "retry", "delay": 0, "reason": "its consumer gave it up" });
            let _ = self.way.told.try_send(said(&with(value, delivery)));
        }
    }
}

fn with(mut verdict: Value, delivery: u64) -> Value {
    verdict["delivery"] = delivery.into();
    verdict
}
