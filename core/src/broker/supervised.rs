//! A subscription that is made again whenever it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Broker, Deliveries, Delivery, Subscription};
use crate::error::{Code, Result};

/// The first and the longest pause before a subscription that ended is made again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Deliveries of a subscription, whatever becomes of its broker meanwhile.
pub(crate) struct Supervised {
    broker: Arc<dyn Broker>,
    subscription: Subscription,
    deliveries: Option<Box<dyn Deliveries>>,
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
        let mut made = Self { broker, subscription, deliveries: None, since, pause };
        match made.subscribe().await {
            Err(error) if error.code() == Code::InvalidArgument => Err(error),
            _ => Ok(made),
        }
    }

    /// The next message. May be cancelled without losing one.
    pub(crate) async fn next(&mut self) -> Delivery {
        loop {
            if let Some(deliveries) = &mut self.deliveries {
                let why = match deliveries.next().await {
                    Ok(Some(delivery)) => return delivery,
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
        self.deliveries.as_mut()?.next().await.ok().flatten()
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
