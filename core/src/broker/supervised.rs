//! A subscription that is made again whenever it ends, and goes on where it was.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};

use super::{Broker, Deliveries, Delivery, Settle, Start, Subscription, Verdict};
use crate::error::{Code, Result};

/// The first and the longest pause before a subscription that ended is made again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Deliveries of a subscription, whatever becomes of its broker meanwhile.
pub(crate) struct Supervised {
    broker: Arc<dyn Broker>,
    subscription: Subscription,
    deliveries: Option<Box<dyn Deliveries>>,
    /// Where it is, without a queue: of a queue the broker knows.
    place: Option<Arc<Place>>,
    /// Since when there are deliveries, or when they are asked for again.
    since: Instant,
    pause: Duration,
}

impl Supervised {
    /// Subscribes. A broker that cannot be reached is tried again and again.
    ///
    /// # Errors
    /// What the broker says of a subscription that it will never take.
    pub(crate) async fn begin(broker: Arc<dyn Broker>, subscription: Subscription) -> Result<Self> {
        subscription.check(broker.name(), broker.abilities())?;
        let (since, pause) = (Instant::now(), FIRST_PAUSE);
        let keeps = subscription.queue.is_none() && broker.abilities().replays;
        let place = keeps.then(Arc::default);
        let mut made = Self { broker, subscription, deliveries: None, place, since, pause };
        let now = SystemTime::now();
        let begun = made.subscribe().await;
        if made.place.is_some() && made.subscription.start == Start::New {
            // Before the first message there is no number to go on from.
            made.subscription.start = Start::Time(now);
        }
        match begun {
            Err(error) if error.code() == Code::InvalidArgument => Err(error),
            _ => Ok(made),
        }
    }

    /// The next message. May be cancelled without losing one.
    pub(crate) async fn next(&mut self) -> Delivery {
        loop {
            if let Some(deliveries) = &mut self.deliveries {
                let why = match deliveries.next().await {
                    Ok(Some(delivery)) => return self.noted(delivery),
                    Ok(None) => "its broker ended it".to_owned(),
                    Err(error) => error.to_string(),
                };
                self.ended(&why);
            }
            sleep_until(self.since).await;
            // What was wrong is told.
            let _ = self.subscribe().await;
        }
    }

    /// Asks for no more messages, and says whether there is a [rest](Self::rest).
    pub(crate) async fn drain(&mut self) -> bool {
        match &mut self.deliveries {
            Some(deliveries) => deliveries.drain().await,
            None => false,
        }
    }

    /// The next message of what had arrived before it was drained.
    pub(crate) async fn rest(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.as_mut()?.next().await.ok().flatten()?;
        Some(self.noted(delivery))
    }

    /// A delivery that is out until it is settled.
    fn noted(&self, delivery: Delivery) -> Delivery {
        let Some((place, sequence)) = self.place.as_ref().zip(delivery.delivered.sequence) else {
            return delivery;
        };
        place.out().took(sequence);
        let is_last = delivery.delivered.attempt >= self.subscription.max_attempts;
        let place = place.clone();
        delivery.settled_by(|inside| Box::new(Noted { inside, place, sequence, is_last }))
    }

    async fn subscribe(&mut self) -> Result<()> {
        let subscribed = self.broker.subscribe(self.subscription.clone()).await;
        let subscribed = subscribed.inspect_err(|error| {
            let topic = &self.subscription.topic;
            tracing::warn!(topic, %error, "cannot subscribe yet: it is tried again");
        });
        match subscribed {
            Ok(deliveries) => {
                (self.deliveries, self.since) = (Some(deliveries), Instant::now());
                Ok(())
            }
            Err(error) => {
                self.wait();
                Err(error)
            }
        }
    }

    fn ended(&mut self, why: &str) {
        self.deliveries = None;
        if let Some(place) = &mut self.place {
            if let Some(next) = place.out().next() {
                self.subscription.start = Start::Sequence(next);
            }
            // What was out comes again, and is settled anew.
            let last = place.out().last;
            *place = Arc::new(Place(Mutex::new(Out { last, open: BTreeSet::new() })));
        }
        if self.since.elapsed() > LONGEST_PAUSE {
            self.pause = FIRST_PAUSE;
        }
        let Subscription { topic, queue, .. } = &self.subscription;
        let queue = queue.as_deref();
        tracing::warn!(topic, queue, why, "a subscription ended: it is made again");
        self.wait();
    }

    fn wait(&mut self) {
        self.since = Instant::now() + self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// How far a subscription has come.
#[derive(Default)]
struct Place(Mutex<Out>);

#[derive(Default)]
struct Out {
    /// The last number that was delivered.
    last: Option<u64>,
    /// Those that are not settled.
    open: BTreeSet<u64>,
}

impl Place {
    fn out(&self) -> MutexGuard<'_, Out> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    fn took(&mut self, sequence: u64) {
        self.last = self.last.max(Some(sequence));
        self.open.insert(sequence);
    }

    /// The first that is not settled, or comes after all.
    fn next(&self) -> Option<u64> {
        self.open.first().copied().or_else(|| Some(self.last? + 1))
    }
}

/// The way back for a delivery that is noted.
struct Noted {
    inside: Box<dyn Settle>,
    place: Arc<Place>,
    sequence: u64,
    /// There is no further attempt.
    is_last: bool,
}

#[async_trait]
impl Settle for Noted {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Result<()> {
        let is_over = self.is_last || !matches!(verdict, Verdict::Retry(..));
        self.inside.settle(verdict).await?;
        if is_over {
            self.place.out().open.remove(&self.sequence);
        }
        Ok(())
    }

    fn extend(&self) {
        self.inside.extend();
    }
}
