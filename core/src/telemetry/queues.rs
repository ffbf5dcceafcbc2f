//! What became of messages, by the topic and the queue that they were handled for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use foldhash::fast::RandomState;
use papaya::HashMap;

use super::clipped::clipped;

/// Queues kept apart; what comes later is counted together under `other`.
const MAX_QUEUES: usize = 1024;

/// Of which topic, and of which queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueName {
    /// The topic, as far as 128 bytes of it.
    pub topic: Box<str>,
    /// The queue, as far as 128 bytes of it; empty for subscribers without one.
    pub queue: Box<str>,
}

/// The numbers of one queue in this process.
#[derive(Debug, Default)]
pub struct QueueStats {
    delivered: AtomicU64,
    acked: AtomicU64,
    retried: AtomicU64,
    dead: AtomicU64,
    /// Milliseconds that the message which was delivered last had waited.
    lag: AtomicU64,
    is_stalled: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// Since when, and the number of the message, in the order of their delivery.
    messages: BTreeMap<u64, (Instant, Option<u64>)>,
}

/// A message that is being handled, until this is dropped.
#[derive(Debug)]
pub(crate) struct Handling {
    stats: Arc<QueueStats>,
    number: u64,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    Retried,
    Dead,
}

impl QueueStats {
    /// Messages that were delivered, each as often as it was.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages that were handled.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Failures after which a message is delivered again, where the broker can.
    pub fn retried(&self) -> u64 {
        self.retried.load(Ordering::Relaxed)
    }

    /// Messages that failed for good.
    pub fn dead(&self) -> u64 {
        self.dead.load(Ordering::Relaxed)
    }

    /// How long the message that was delivered last had waited since it was published, to the millisecond.
    pub fn lag(&self) -> Duration {
        Duration::from_millis(self.lag.load(Ordering::Relaxed))
    }

    /// Messages that are being handled.
    pub fn held(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).messages.len()
    }

    /// How long the oldest of them has been for, and its number where the broker tells one.
    pub fn oldest(&self) -> Option<(Duration, Option<u64>)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.messages.first_key_value().map(|(_, (since, number))| (since.elapsed(), *number))
    }

    /// Whether it has been held for so long that something is wrong: ten leases.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }

    /// Notes whether it has; true where that was not so before.
    pub(crate) fn set_stalled(&self, is_stalled: bool) -> bool {
        self.is_stalled.swap(is_stalled, Ordering::Relaxed) != is_stalled
    }

    /// A message was delivered.
    pub(crate) fn begin(
        self: &Arc<Self>,
        sequence: Option<u64>,
        published: SystemTime,
    ) -> Handling {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        let waited = published.elapsed().unwrap_or_default().as_millis() as u64;
        self.lag.store(waited, Ordering::Relaxed);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.next += 1;
        let number = held.next;
        held.messages.insert(number, (Instant::now(), sequence));
        Handling { stats: self.clone(), number }
    }

    fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.oldest();
        let value = serde_json::json!({
            "delivered": self.delivered(),
            "acked": self.acked(),
            "retried": self.retried(),
            "dead": self.dead(),
            "held": self.held(),
            "lag_ms": millis(self.lag()),
            "oldest_ms": oldest.map_or(0, |(age, _)| millis(age)),
            "stalled": self.is_stalled(),
        });
        match value {
            serde_json::Value::Object(map) => map,
            _ => serde_json::Map::new(),
        }
    }
}

impl Handling {
    /// Counts what became of it.
    pub(crate) fn end(self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Acked => &self.stats.acked,
            Outcome::Retried => &self.stats.retried,
            Outcome::Dead => &self.stats.dead,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut held = self.stats.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.messages.remove(&self.number);
    }
}

/// Every queue that this process has handled messages for.
#[derive(Debug, Default)]
pub(super) struct Queues(HashMap<QueueName, Arc<QueueStats>, RandomState>);

impl Queues {
    pub(super) fn get(&self, topic: &str, queue: &str) -> Arc<QueueStats> {
        let queues = self.0.pin();
        let mut name = QueueName { topic: clipped(topic).into(), queue: clipped(queue).into() };
        if !queues.contains_key(&name) && queues.len() >= MAX_QUEUES {
            name = QueueName { topic: "other".into(), queue: "other".into() };
        }
        queues.get_or_insert_with(name, Arc::default).clone()
    }

    pub(super) fn snapshot(&self) -> Vec<(QueueName, Arc<QueueStats>)> {
        let queues = self.0.pin();
        let mut queues: Vec<_> =
            queues.iter().map(|(name, stats)| (name.clone(), stats.clone())).collect();
        queues.sort_by(|(a, _), (b, _)| (&a.topic, &a.queue).cmp(&(&b.topic, &b.queue)));
        queues
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let queue = |(name, stats): (QueueName, Arc<QueueStats>)| {
            let mut told = stats.to_json();
            told.insert("topic".to_owned(), name.topic.as_ref().into());
            told.insert("queue".to_owned(), name.queue.as_ref().into());
            serde_json::Value::Object(told)
        };
        self.snapshot().into_iter().map(queue).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_counted_by_what_became_of_it_and_is_held_until_then() {
        let queues = Queues::default();
        let stats = queues.get("orders", "billing");
        let published = SystemTime::now() - Duration::from_secs(5);
        let first = stats.begin(Some(7), published);
        let second = stats.begin(Some(8), published);
        let third = stats.begin(None, SystemTime::now());
        let fourth = stats.begin(None, published);
        assert_eq!((stats.delivered(), stats.held()), (4, 4));
        assert_eq!(stats.oldest().and_then(|(_, sequence)| sequence), Some(7));
        assert!(stats.lag() >= Duration::from_secs(5));
        first.end(Outcome::Acked);
        second.end(Outcome::Retried);
        third.end(Outcome::Dead);
        drop(fourth);
        let same = queues.get("orders", "billing");
        assert_eq!((same.acked(), same.retried(), same.dead(), same.held()), (1, 1, 1, 0));
        assert!(stats.oldest().is_none());
        assert!(stats.set_stalled(true) && !stats.set_stalled(true) && stats.is_stalled());
        let json = queues.to_json();
        assert_eq!((&json[0]["queue"], &json[0]["dead"]), (&"billing".into(), &1.into()));
        assert_eq!(json[0]["stalled"], true);
    }

    #[test]
    fn past_the_limit_queues_are_counted_together() {
        let queues = Queues::default();
        for number in 0..MAX_QUEUES + 10 {
            queues.get(&number.to_string(), "");
        }
        assert_eq!(queues.snapshot().len(), MAX_QUEUES + 1);
        let first = queues.get("0", "");
        drop(first.begin(None, SystemTime::now()));
        assert_eq!(queues.get("0", "").delivered(), 1, "one that was there before is its own");
    }
}
