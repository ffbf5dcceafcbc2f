//! A broker inside this process: for tests, and for services that share one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{Abilities, Broker, Deliveries, Delivery, Message, Settle, Subscription, Verdict};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::named::ByName;

/// Broker of this process. Clones are handles on the same subscriptions.
///
/// As go-micro's: a message is delivered to whoever is subscribed at that moment, in the order of publishing, and
/// [`publish`](Broker::publish) returns once all of them have handled it, with the first failure if there was one. One that is
/// published by a handler of messages is not waited for, which keeps handlers that publish to each other from waiting for
/// themselves. Nothing is kept and nothing is delivered twice.
#[derive(Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    topics: Mutex<Topics>,
}

#[derive(Default)]
struct Topics {
    members: BTreeMap<String, Vec<Member>>,
    next: u64,
}

/// One subscription.
struct Member {
    id: u64,
    queue: Option<String>,
    sender: mpsc::Sender<Delivery>,
}

/// Brokers that `memory://name` shares within this process, as long as they are held.
static NAMED: LazyLock<ByName<Shared>> = LazyLock::new(ByName::default);

/// Makes what this file shares in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    LazyLock::force(&NAMED);
}

/// In a child of a fork.
pub(crate) fn in_child() {
    NAMED.begin_anew();
}

impl Memory {
    /// A broker of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// The broker of that name in this process, the same for all who name it while one of them holds it.
    pub fn named(name: &str) -> Self {
        Self { shared: NAMED.get(name) }
    }
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topics {
    /// Whoever gets the next message of `topic`: of each queue, the one with the most room.
    fn chosen(&self, topic: &str) -> Vec<mpsc::Sender<Delivery>> {
        let mut chosen: BTreeMap<&str, &Member> = BTreeMap::new();
        let mut senders = Vec::new();
        for member in self.members.get(topic).into_iter().flatten() {
            let Some(queue) = &member.queue else {
                senders.push(member.sender.clone());
                continue;
            };
            let best = chosen.entry(queue).or_insert(member);
            if member.sender.capacity() > best.sender.capacity() {
                *best = member;
            }
        }
        senders.extend(chosen.into_values().map(|member| member.sender.clone()));
        senders
    }
}

#[async_trait]
impl Broker for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn publish(&self, message: Message) -> Result<()> {
        message.check(self.name(), self.abilities())?;
        let mut outcomes = Vec::new();
        for sender in self.shared.topics().chosen(&message.topic) {
            let (settle, outcome) = oneshot::channel();
            let settle = Box::new(Outcome(settle));
            let delivery = Delivery::new(message.clone(), 1, None, SystemTime::now(), settle);
            outcomes.push((sender, delivery, outcome));
        }
        let mut waiting = Vec::new();
        for (sender, delivery, outcome) in outcomes {
            // One that has gone meanwhile gets nothing.
            if sender.send(delivery).await.is_ok() {
                waiting.push(outcome);
            }
        }
        if Context::current().is_some_and(|context| context.is_message()) {
            return Ok(());
        }
        let mut first = Ok(());
        for outcome in waiting {
            let failed = match outcome.await {
                Ok(Verdict::Retry(_, reason) | Verdict::Reject(reason)) => reason,
                Ok(Verdict::Ack) => continue,
                Err(_) => "a subscriber ended before it had handled the message".to_owned(),
            };
            first = first.and(Err(Error::internal(format!("subscriber error: {failed}"))));
        }
        first
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        subscription.check(self.name(), self.abilities())?;
        let (sender, receiver) = mpsc::channel(subscription.max_in_flight);
        let mut topics = self.shared.topics();
        topics.next += 1;
        let id = topics.next;
        let member = Member { id, queue: subscription.queue, sender };
        topics.members.entry(subscription.topic.clone()).or_default().push(member);
        let shared = self.shared.clone();
        Ok(Box::new(Membership { shared, topic: subscription.topic, id, receiver }))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

struct Membership {
    shared: Arc<Shared>,
    topic: String,
    id: u64,
    receiver: mpsc::Receiver<Delivery>,
}

#[async_trait]
impl Deliveries for Membership {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        Ok(self.receiver.recv().await)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut topics = self.shared.topics();
        if let Some(members) = topics.members.get_mut(&self.topic) {
            members.retain(|member| member.id != self.id);
            if members.is_empty() {
                topics.members.remove(&self.topic);
            }
        }
    }
}

/// Tells the publisher.
struct Outcome(oneshot::Sender<Verdict>);

#[async_trait]
impl Settle for Outcome {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Result<()> {
        // A publisher that no longer waits is no failure.
        let _ = self.0.send(verdict);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::contract::Subject;

    crate::broker_contract!(|| {
        let broker = Memory::new();
        Subject::new(broker.clone(), broker)
    });

    #[tokio::test]
    async fn a_publisher_hears_of_the_first_failure_and_all_get_the_message() {
        let broker = Memory::new();
        let mut members = Vec::new();
        for _ in 0..2 {
            members.push(broker.subscribe(Subscription::new("a")).await.unwrap());
        }
        let handling = tokio::spawn(async move {
            for (nth, member) in members.iter_mut().enumerate() {
                let delivery = member.next().await.unwrap().unwrap();
                delivery.settle(Verdict::Reject(format!("no {nth}"))).await.unwrap();
            }
        });
        let error = broker.publish(Message::new("a", "1")).await.unwrap_err();
        assert_eq!(error.detail(), "subscriber error: no 0");
        handling.await.unwrap();
    }
}
