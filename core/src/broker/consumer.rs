//! Subscribers at work: takes deliveries, runs handlers, says what became of each, and subscribes again when that ends.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::subscriber::{Incoming, MessageHandler, Subscriber};
use super::supervised::Supervised;
use super::{Broker, Delivered, Delivery, Settle, Verdict};
use crate::context::{Arrival, Context, Home};
use crate::error::{Error, Result};
use crate::middleware::Layers;
use crate::resilience::Backoff;
use crate::server::failure::{panicked, told};
use crate::telemetry::{Handling, Metrics, Outcome, QueueStats};

/// Leases for which a message may be held before that is a stall.
pub(super) const STALLED: u32 = 10;

/// What every consumer of a service has.
#[derive(Clone)]
pub(crate) struct Consumer {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) home: Arc<Home>,
    /// Around every message.
    pub(crate) layers: Arc<Layers<Incoming, ()>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Hears of failures.
    pub(crate) errors: Option<MessageErrors>,
}

/// What hears of messages that were not handled, and why.
#[derive(Clone)]
pub(crate) struct MessageErrors(Arc<Hear>);

type Hear = dyn Fn(&Delivered, &Error) + Send + Sync;

impl MessageErrors {
    pub(crate) fn new(hear: impl Fn(&Delivered, &Error) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Tells it of a failure. A panic there changes nothing for the message.
    fn hear(&self, delivered: &Delivered, error: &Error) {
        let heard = std::panic::catch_unwind(AssertUnwindSafe(|| (self.0)(delivered, error)));
        if heard.is_err() {
            let topic = &*delivered.message.topic;
            tracing::error!(topic, "what hears of failures of messages panicked");
        }
    }
}

impl fmt::Debug for MessageErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageErrors")
    }
}

/// Subscribers that are at work.
#[derive(Debug)]
pub(crate) struct Consumers {
    /// No more are taken.
    ending: CancellationToken,
    /// Those under way are given up.
    ended: CancellationToken,
    tasks: TaskTracker,
}

impl Consumers {
    /// Subscribes all, each once.
    ///
    /// # Errors
    /// What its broker says of a subscription that it will never take. One that cannot be reached is tried again and again.
    pub(crate) async fn begin(consumer: Consumer, subscribers: Vec<Subscriber>) -> Result<Self> {
        let consumers = Self {
            ending: CancellationToken::new(),
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        for subscriber in subscribers {
            let subscription = subscriber.subscription.clone();
            let deliveries = Supervised::begin(consumer.broker.clone(), subscription).await?;
            let handler = consumer.layers.around(subscriber.handler.clone());
            let at_work = AtWork {
                consumer: consumer.clone(),
                topic: subscriber.topic().into(),
                places: Arc::new(Semaphore::new(subscriber.subscription.max_in_flight)),
                handler,
                stats: consumer.metrics.queue(subscriber.topic(), subscriber.queue_name()),
                subscriber,
                ended: consumers.ended.clone(),
                running: consumers.tasks.clone(),
            };
            let ending = consumers.ending.clone();
            consumers.tasks.spawn(at_work.run(deliveries, ending));
        }
        consumers.tasks.close();
        Ok(consumers)
    }

    /// Takes no more messages.
    pub(crate) fn take_no_more(&self) {
        self.ending.cancel();
    }

    /// Takes no more messages, and waits at most for `grace` for those under way. True when all were done.
    pub(crate) async fn end(&self, grace: Duration) -> bool {
        self.ending.cancel();
        let is_done = timeout(grace, self.tasks.wait()).await.is_ok();
        self.ended.cancel();
        self.tasks.wait().await;
        is_done
    }
}

impl Drop for Consumers {
    fn drop(&mut self) {
        self.ending.cancel();
        self.ended.cancel();
    }
}

/// A subscriber at work.
struct AtWork {
    consumer: Consumer,
    topic: Arc<str>,
    subscriber: Subscriber,
    handler: MessageHandler,
    stats: Arc<QueueStats>,
    places: Arc<Semaphore>,
    ended: CancellationToken,
    running: TaskTracker,
}

impl AtWork {
    async fn run(self, mut deliveries: Supervised, ending: CancellationToken) {
        tokio::select! {
            () = self.take(&mut deliveries) => {}
            () = self.watch() => {}
            () = ending.cancelled() => {}
        }
        tokio::select! {
            () = self.take_rest(&mut deliveries) => {}
            () = self.ended.cancelled() => {}
        }
        // The broker hears verdicts by the subscription, so it ends after the last of them.
        let most = self.subscriber.subscription.max_in_flight as u32;
        tokio::select! {
            _ = self.places.acquire_many(most) => {}
            () = self.ended.cancelled() => {}
        }
    }

    /// Takes deliveries for ever.
    async fn take(&self, deliveries: &mut Supervised) {
        // Closed by nobody.
        while let Ok(place) = self.places.clone().acquire_owned().await {
            let delivery = deliveries.next().await;
            self.begin(delivery, place);
        }
    }

    /// Looks once a lease for a message that is held for too long.
    async fn watch(&self) {
        let subscription = &self.subscriber.subscription;
        let (lease, queue) = (subscription.lease, subscription.queue.as_deref());
        let mut looks = interval_at(Instant::now() + lease, lease);
        loop {
            looks.tick().await;
            let oldest = self.stats.oldest().filter(|(age, _)| *age >= lease * STALLED);
            if !self.stats.set_stalled(oldest.is_some()) {
                continue;
            }
            match oldest {
                Some((age, sequence)) => tracing::warn!(
                    topic = &*self.topic,
                    queue,
                    sequence,
                    ?age,
                    holder = format!("process {}", std::process::id()),
                    "a subscription stalls: a handler has had this message for more than {STALLED} leases; give it a \
                     `timeout`, or find out what it waits for"
                ),
                None => {
                    tracing::info!(topic = &*self.topic, queue, "a subscription moves again");
                }
            }
        }
    }

    /// Takes what has arrived already, and would be lost.
    async fn take_rest(&self, deliveries: &mut Supervised) {
        if !deliveries.drain().await {
            return;
        }
        while let Ok(place) = self.places.clone().acquire_owned().await {
            match deliveries.rest().await {
                Some(delivery) => self.begin(delivery, place),
                None => return,
            }
        }
    }

    fn begin(&self, delivery: Delivery, place: OwnedSemaphorePermit) {
        let Delivered { sequence, published, .. } = delivery.delivered;
        let counted = self.stats.begin(sequence, published);
        let way = Way {
            handler: self.handler.clone(),
            subscriber: self.subscriber.clone(),
            topic: self.topic.clone(),
            errors: self.consumer.errors.clone(),
        };
        let handling = handle(delivery, counted, self.context(), way);
        let ended = self.ended.clone();
        self.running.spawn(async move {
            let _place = place;
            tokio::select! {
                () = handling => {}
                () = ended.cancelled() => {}
            }
        });
    }

    fn context(&self) -> impl FnOnce(&Delivered, Option<Duration>) -> Context + use<> {
        let (home, endpoint) = (self.consumer.home.clone(), self.topic.clone());
        move |delivered, limit| {
            Context::new(Arrival {
                home,
                endpoint,
                metadata: delivered.message.headers.clone(),
                deadline: limit.map(|limit| Instant::now() + limit),
                peer: None,
            })
        }
    }
}

/// What a delivery meets.
struct Way {
    handler: MessageHandler,
    subscriber: Subscriber,
    topic: Arc<str>,
    errors: Option<MessageErrors>,
}

/// Handles one delivery, and says what became of it.
async fn handle(
    delivery: Delivery,
    counted: Handling,
    context: impl FnOnce(&Delivered, Option<Duration>) -> Context,
    way: Way,
) {
    let Way { handler, subscriber, topic, errors } = way;
    let (delivered, settle) = delivery.into_parts();
    let delivered = Arc::new(delivered);
    let limit = limit(&delivered, &subscriber);
    let context = context(&delivered, limit);
    context.insert(delivered.clone());
    let incoming = Incoming { context: context.clone(), delivered: delivered.clone() };
    let lease = subscriber.subscription.lease;
    let outcome = run(context, handler, incoming, limit, &*settle, lease).await;
    if let (Err(error), Some(errors)) = (&outcome, &errors) {
        errors.hear(&delivered, error);
    }
    let verdict = verdict(outcome, delivered.attempt, &subscriber.retry, &topic);
    let is_last = delivered.attempt >= subscriber.subscription.max_attempts;
    let outcome = match &verdict {
        Verdict::Ack => Outcome::Acked,
        Verdict::Retry(..) if !is_last => Outcome::Retried,
        _ => Outcome::Dead,
    };
    if let Err(error) = settle.settle(verdict).await {
        tracing::warn!(topic = &*topic, %error,
            "the broker was not told what became of a message, and may deliver it again");
    }
    counted.end(outcome);
}

/// The most time for a message: what is left of its life, at most what its subscriber allows.
fn limit(delivered: &Delivered, subscriber: &Subscriber) -> Option<Duration> {
    let expires = delivered.message.expires;
    let left = expires.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
    [subscriber.timeout, left].into_iter().flatten().min()
}

/// Runs the handler; a panic and too long a time are failures. While it runs, the lease does not end.
async fn run(
    context: Context,
    handler: MessageHandler,
    incoming: Incoming,
    limit: Option<Duration>,
    settle: &dyn Settle,
    lease: Duration,
) -> Result<()> {
    let handled = async move { handler.run(incoming).await };
    let handled = AssertUnwindSafe(context.clone().scope(handled)).catch_unwind();
    let handled = async {
        match limit {
            Some(limit) => timeout(limit, handled).await.unwrap_or_else(|_| {
                Ok(Err(Error::deadline_exceeded(format!(
                    "the handler did not end within {limit:?}"
                ))))
            }),
            None => handled.await,
        }
    };
    let mut handled = std::pin::pin!(handled);
    let mut signs = interval_at(Instant::now() + lease / 3, lease / 3);
    let outcome = loop {
        tokio::select! {
            outcome = &mut handled => break outcome,
            _ = signs.tick() => settle.extend(),
        }
    };
    context.end();
    // A dead letter says why to whoever reads it, as an answer does to its caller.
    match outcome {
        Ok(outcome) => outcome.map_err(|error| told(error, &context)),
        Err(panic) => Err(panicked(panic.as_ref(), &context)),
    }
}

fn verdict(outcome: Result<()>, attempt: u32, backoff: &Backoff, topic: &str) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Ack,
        Err(error) => {
            tracing::warn!(topic, attempt, %error, "a message was not handled");
            let reason = error.to_string();
            match error.forbids_retry() {
                true => Verdict::Reject(reason),
                false => {
                    let after = error.retry_after().unwrap_or_else(|| backoff.wait(attempt));
                    Verdict::Retry(after, reason)
                }
            }
        }
    }
}
