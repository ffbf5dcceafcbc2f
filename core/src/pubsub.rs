//! Publish and subscribe within a process: events of one type by topic, without a broker.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::TaskTracker;

use crate::error::{Error, Result};

/// Subscribers of this process to topics, and the tasks that work for them. Clones are handles on the same.
///
/// ```
/// use std::time::Duration;
///
/// use micro::pubsub::{Event, Group};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// let group = Group::new(16, |error| eprintln!("{error}"));
/// let orders = group.subscribe("orders");
/// group.spawn(orders.each(Some(Duration::from_secs(60)), async |event| {
///     match event {
///         Event::Published(order) => println!("{order}"),
///         Event::Tick => println!("a minute is over"),
///     }
///     Ok(())
/// }));
/// assert_eq!(group.publish("orders", "a book").taken, 1);
/// group.close();
/// group.wait().await;
/// # Ok(()) }
/// ```
pub struct Group<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    /// None once it is closed.
    topics: Mutex<Option<Topics<T>>>,
    depth: usize,
    tasks: TaskTracker,
    failed: Box<dyn Fn(Error) + Send + Sync>,
}

/// Subscribers by topic.
type Topics<T> = HashMap<String, Vec<mpsc::Sender<T>>>;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// How many subscribers have it.
    pub taken: usize,
    /// How many had no room for it, and do without.
    pub full: usize,
}

/// Something that a subscriber is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<T> {
    /// What was published.
    Published(T),
    /// So much time is over again.
    Tick,
}

/// What is published to a topic from now on, until this is dropped.
pub struct Subscription<T> {
    topic: String,
    events: mpsc::Receiver<T>,
    group: Arc<Shared<T>>,
}

impl<T: Clone + Send + 'static> Group<T> {
    /// For subscribers that may be so many events behind, at least one. What a task [fails](Self::spawn) with is told to `failed`.
    pub fn new(depth: usize, failed: impl Fn(Error) + Send + Sync + 'static) -> Self {
        let (topics, tasks) = (Mutex::new(Some(HashMap::new())), TaskTracker::new());
        let failed = Box::new(failed);
        Self { shared: Arc::new(Shared { topics, depth: depth.max(1), tasks, failed }) }
    }

    /// Subscribes to the topic of exactly this name. In a group that is closed, nothing comes.
    pub fn subscribe(&self, topic: &str) -> Subscription<T> {
        let (sender, events) = mpsc::channel(self.shared.depth);
        if let Some(topics) = self.shared.topics().as_mut() {
            topics.entry(topic.to_owned()).or_default().push(sender);
        }
        Subscription { topic: topic.to_owned(), events, group: self.shared.clone() }
    }

    /// Publishes to all who subscribe to it now and have room. It never waits.
    pub fn publish(&self, topic: &str, event: T) -> Published {
        let mut published = Published::default();
        let mut topics = self.shared.topics();
        let subscribers = topics.as_mut().and_then(|topics| topics.get(topic));
        for subscriber in subscribers.into_iter().flatten() {
            match subscriber.try_send(event.clone()) {
                Ok(()) => published.taken += 1,
                Err(mpsc::error::TrySendError::Full(_)) => published.full += 1,
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
        published
    }

    /// Does work of the group, on the runtime that this is called in. What it fails with is told to the group's handler.
    pub fn spawn(&self, work: impl Future<Output = Result<()>> + Send + 'static) {
        // A task that held the group would keep it from ending with its last handle.
        let shared = Arc::downgrade(&self.shared);
        self.shared.tasks.spawn(async move {
            if let Err(error) = work.await
                && let Some(shared) = shared.upgrade()
            {
                (shared.failed)(error);
            }
        });
    }

    /// Publishes nothing any more: subscriptions end once what was published before is taken.
    pub fn close(&self) {
        self.shared.topics().take();
    }

    /// Waits until all work has ended that was [spawned](Self::spawn), also what is while this waits.
    pub async fn wait(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl<T> Shared<T> {
    fn topics(&self) -> MutexGuard<'_, Option<Topics<T>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Subscription<T> {
    /// The next event, none when the group is closed. Waiting may be given up at any time, and nothing is lost by it.
    pub async fn next(&mut self) -> Option<T> {
        self.events.recv().await
    }

    /// Has `handler` told of each event, one after the other, and of each time that `every` is over, if it is given; a handler that takes
    /// longer misses ticks, and no events but those for which there is no room. Ends when the group is closed.
    ///
    /// # Errors
    /// What the handler fails with, which ends it; `INVALID_ARGUMENT` for ticks without any time between them.
    pub async fn each<F>(
        mut self,
        every: Option<Duration>,
        mut handler: impl FnMut(Event<T>) -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        if every == Some(Duration::ZERO) {
            return Err(Error::invalid_argument("ticks need a time between them"));
        }
        let mut ticks = every.map(|every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        loop {
            let event = tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => Event::Published(event),
                    None => return Ok(()),
                },
                () = async {
                    match &mut ticks {
                        Some(ticks) => drop(ticks.tick().await),
                        None => std::future::pending().await,
                    }
                } => Event::Tick,
            };
            handler(event).await?;
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.events.close();
        if let Some(topics) = self.group.topics().as_mut()
            && let Some(subscribers) = topics.get_mut(&self.topic)
        {
            subscribers.retain(|subscriber| !subscriber.is_closed());
            if subscribers.is_empty() {
                topics.remove(&self.topic);
            }
        }
    }
}

impl<T> Clone for Group<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for Group<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Group")
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("topic", &self.topic).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_is_for_those_who_subscribe_to_its_topic_and_have_room() {
        let group = Group::new(2, |_| {});
        assert_eq!(group.publish("orders", 0), Published::default());
        let (mut one, mut two) = (group.subscribe("orders"), group.subscribe("orders"));
        let other = group.subscribe("orders.new");
        for event in 1..=2 {
            assert_eq!(group.publish("orders", event), Published { taken: 2, full: 0 });
        }
        assert_eq!(one.next().await, Some(1));
        assert_eq!(group.publish("orders", 3), Published { taken: 1, full: 1 });
        drop(one);
        assert_eq!(two.next().await, Some(1));
        assert_eq!(group.publish("orders", 4), Published { taken: 1, full: 0 });
        drop(other);
        assert_eq!(group.shared.topics().as_ref().unwrap().len(), 1, "topics without any are gone");
        group.close();
        assert_eq!(group.publish("orders", 5), Published::default());
        assert_eq!(
            (two.next().await, two.next().await, two.next().await),
            (Some(2), Some(4), None)
        );
        assert_eq!(group.subscribe("orders").next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn handlers_hear_of_events_and_time_and_their_failures_are_told() {
        let (told, mut failures) = mpsc::unbounded_channel();
        let group = Group::new(8, move |error| told.send(error).unwrap());
        let (seen, mut events) = mpsc::unbounded_channel();
        let second = Duration::from_secs(1);
        group.spawn(group.subscribe("orders").each(Some(second), move |event| {
            seen.send(event).unwrap();
            std::future::ready(match event {
                Event::Published(13) => Err(Error::internal("unlucky")),
                _ => Ok(()),
            })
        }));
        group.publish("orders", 7);
        assert_eq!(events.recv().await, Some(Event::Published(7)));
        let before = Instant::now();
        assert_eq!(events.recv().await, Some(Event::Tick));
        assert_eq!(events.recv().await, Some(Event::Tick));
        assert_eq!(before.elapsed(), second * 2);
        group.publish("orders", 13);
        group.wait().await;
        assert_eq!(failures.recv().await.unwrap().detail(), "unlucky");
        assert_eq!(
            group.publish("orders", 1),
            Published::default(),
            "its end is its subscription's"
        );
        let never = group.subscribe("orders").each(Some(Duration::ZERO), async |_| Ok(()));
        assert!(never.await.is_err());
    }
}
