//! Deliveries of a consumer: asked for by as many as there is room for, so that what one member cannot take goes to another.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message as Received, StatusCode, Subscriber};
use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _};
use micro::broker::{Deliveries, Delivery, Start, Subscription, Verdict};
use micro::{Error, Result};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::api::{About, nanos};
use super::headers;
use super::settle::{Desk, Held, Open, again, later};
use super::stream::Stream;
use crate::link::Connected;
use crate::options::PATIENCE;

/// How long a request for messages lasts.
const ASKED_FOR: Duration = Duration::from_secs(30);
/// How often the server says that it still knows of a request.
const SIGN: Duration = Duration::from_secs(2);
/// How long without a sign until it is asked anew.
const SILENCE: Duration = Duration::from_secs(5);
/// How long it waits after the server refused something.
const PAUSE: Duration = Duration::from_millis(250);

/// A subscription.
pub(super) struct Pull {
    desk: Arc<Desk>,
    connected: Connected,
    inbox: Option<Subscriber>,
    /// Where the server sends messages.
    address: String,
    /// Messages that were asked for and have not come.
    asked: usize,
    /// When the last sign came.
    heard: Instant,
    /// The highest that has come, of a subscription without a queue.
    last: u64,
    /// The server may have lost its consumer.
    is_doubtful: bool,
}

impl Pull {
    pub(super) async fn begin(stream: Arc<Stream>, subscription: Subscription) -> Result<Self> {
        let connected = stream.link.get().await?;
        let consumer = stream.consumer(&connected, &subscription, None).await?;
        let client = connected.client.clone();
        let desk = Desk { stream, subscription, client, consumer, held: Arc::new(Held::default()) };
        let mut pull = Self {
            desk: Arc::new(desk),
            connected,
            inbox: None,
            address: String::new(),
            asked: 0,
            heard: Instant::now(),
            last: 0,
            is_doubtful: false,
        };
        pull.open_inbox().await?;
        Ok(pull)
    }

    /// Has an address that no earlier request names, so that none of them is answered any more.
    async fn open_inbox(&mut self) -> Result<()> {
        self.give_back();
        self.asked = 0;
        self.heard = Instant::now();
        self.address = self.connected.client.new_inbox();
        let subscribed = self.connected.client.subscribe(self.address.clone()).await;
        let inbox =
            subscribed.map_err(|error| self.desk.stream.link.unreachable(&error.to_string()))?;
        self.inbox = Some(inbox);
        Ok(())
    }

    /// Gives what has come and was not taken to other members.
    fn give_back(&mut self) {
        let (Some(mut inbox), Ok(runtime)) = (self.inbox.take(), Handle::try_current()) else {
            return;
        };
        let client = self.connected.client.clone();
        runtime.spawn(async move {
            let giving = async {
                // What is under way comes first, then the end.
                let _ = inbox.drain().await;
                while let Some(received) = inbox.next().await {
                    if let (None, Some(reply)) = (received.status, &received.reply) {
                        later(&client, reply, again(Duration::ZERO));
                    }
                }
            };
            let _ = timeout(PATIENCE, giving).await;
        });
    }

    /// Asks for as many messages as there is room for.
    async fn ask(&mut self) -> Result<()> {
        let most = self.desk.subscription.max_in_flight;
        let held = self.desk.held.sequences().len();
        let missing = most.saturating_sub(held + self.asked);
        // One request for many is cheaper than many for one.
        if missing == 0 || (self.asked > 0 && missing < most.div_ceil(2)) {
            return Ok(());
        }
        let body =
            json!({ "batch": missing, "expires": nanos(ASKED_FOR), "idle_heartbeat": nanos(SIGN) });
        let next =
            format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.desk.stream.name(), self.desk.consumer);
        if self.asked == 0 {
            self.heard = Instant::now();
        }
        // Counted before it is sent: cancelled in between, silence has it asked anew.
        self.asked += missing;
        let client = &self.connected.client;
        let asked =
            client.publish_with_reply(next, self.address.clone(), body.to_string().into()).await;
        asked.map_err(|error| self.desk.stream.link.unreachable(&error.to_string()))
    }

    /// Begins anew after the connection broke, the server fell silent, or the consumer was lost.
    async fn renew(&mut self) -> Result<()> {
        let stream = self.desk.stream.clone();
        self.connected = stream.link.get().await?;
        let Desk { subscription, consumer, held, .. } = &*self.desk;
        let mut name = consumer.clone();
        if !stream.has_consumer(&self.connected, consumer).await? {
            let topic = &subscription.topic;
            tracing::warn!(
                topic,
                queue = subscription.queue.as_deref(),
                "the server has lost a subscription: it is made again"
            );
            let again = match (&subscription.queue, self.last) {
                // What nobody else has seen is in the stream, if anything is.
                (Some(_), _) => Some(Start::First),
                (None, 0) => None,
                (None, last) => {
                    let oldest = held.sequences().first().copied();
                    Some(Start::Sequence(oldest.unwrap_or(last + 1).min(last + 1)))
                }
            };
            name = stream.consumer(&self.connected, subscription, again).await?;
        }
        let desk = Desk {
            stream,
            subscription: subscription.clone(),
            client: self.connected.client.clone(),
            consumer: name,
            held: held.clone(),
        };
        self.desk = Arc::new(desk);
        self.open_inbox().await?;
        self.is_doubtful = false;
        Ok(())
    }

    async fn take(&mut self, received: Received) -> Option<Delivery> {
        match received.status.filter(|status| *status != StatusCode::OK) {
            Some(status) => {
                self.obey(status, &received).await;
                None
            }
            None => self.open(received),
        }
    }

    /// What the server says that is no message.
    async fn obey(&mut self, status: StatusCode, received: &Received) {
        self.heard = Instant::now();
        let pending =
            received.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        let pending: Option<usize> = pending.and_then(|pending| pending.as_str().parse().ok());
        match status {
            StatusCode::IDLE_HEARTBEAT => {}
            // A request is over.
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => {
                self.asked = self.asked.saturating_sub(pending.unwrap_or(self.asked));
            }
            other => {
                let said = received.description.as_deref().unwrap_or_default();
                tracing::debug!(
                    status = other.as_u16(),
                    said,
                    "the server ends a request for messages"
                );
                self.is_doubtful = true;
                sleep(PAUSE).await;
            }
        }
    }

    /// The delivery of what was received; `None` for what is not to be handled.
    fn open(&mut self, received: Received) -> Option<Delivery> {
        self.heard = Instant::now();
        self.asked = self.asked.saturating_sub(1);
        let reply = received.reply?;
        let Some(About { attempt, sequence, published }) = About::read(&reply) else {
            tracing::warn!(reply = reply.as_str(), "the server sends what is no delivery");
            return None;
        };
        self.last = self.last.max(sequence);
        let topic = self.desk.stream.topic(&received.subject);
        let message =
            headers::read(&topic, &received.subject, received.headers.as_ref(), received.payload);
        self.desk.held.sequences().insert(sequence);
        let is_worn_out = attempt > self.desk.subscription.max_attempts;
        let attempt = if is_worn_out { attempt - 1 } else { attempt };
        let open = Open::new(self.desk.clone(), reply, message.clone(), sequence, attempt);
        if is_worn_out {
            // Its last consumer died with it, or lost its lease.
            let reason = "its consumer ended, or gave no sign of life, before it was handled";
            open.settle_alone(Verdict::Reject(reason.into()));
            return None;
        }
        if headers::is_over(&message) {
            open.settle_alone(Verdict::Ack);
            return None;
        }
        Some(Delivery::new(message, attempt, Some(sequence), published, Box::new(open)))
    }
}

#[async_trait]
impl Deliveries for Pull {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        loop {
            // What came before is still ours.
            let waiting = match self.is_doubtful {
                true => self.inbox.as_mut().and_then(|inbox| inbox.next().now_or_never().flatten()),
                false => None,
            };
            if let Some(received) = waiting {
                match self.take(received).await {
                    Some(delivery) => return Ok(Some(delivery)),
                    None => continue,
                }
            }
            if self.is_doubtful
                && let Err(error) = self.renew().await
            {
                if error.code() == micro::Code::InvalidArgument {
                    return Err(error);
                }
                tracing::debug!(topic = self.desk.subscription.topic, %error, "a subscription waits for its server");
                sleep(PAUSE).await;
                continue;
            }
            self.ask().await?;
            let Some(inbox) = &mut self.inbox else {
                return Err(Error::unavailable("the subscription was closed"));
            };
            let silent = async {
                match self.asked {
                    0 => std::future::pending().await,
                    _ => sleep_until(self.heard + SILENCE).await,
                }
            };
            let received = tokio::select! {
                biased;
                received = inbox.next() => received,
                changed = self.connected.times.changed() => {
                    self.is_doubtful = true;
                    if changed.is_err() { None } else { continue }
                }
                () = self.desk.held.fewer.notified() => continue,
                () = silent => {
                    self.is_doubtful = true;
                    continue;
                }
            };
            let Some(received) = received else {
                self.desk.stream.link.forget(&self.connected);
                return Err(Error::unavailable("the connection was closed"));
            };
            if let Some(delivery) = self.take(received).await {
                return Ok(Some(delivery));
            }
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.give_back();
        let desk = self.desk.clone();
        if desk.subscription.queue.is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            let connected = self.connected.clone();
            runtime.spawn(async move {
                let _ = timeout(PATIENCE, desk.stream.remove(&connected, &desk.consumer)).await;
            });
        }
    }
}
