//! What is said of topics, queues and dead letters. Times are in milliseconds since 1970.

use serde::{Deserialize, Serialize};

/// A page of topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Topics {
    /// The topics, in order of their names.
    pub topics: Vec<Topic>,
    /// The name behind which there are more; none where these were the last.
    pub next: Option<String>,
}

/// A topic, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Messages that are kept.
    pub messages: u64,
    /// Bytes that they have on the disk.
    pub bytes: u64,
    /// The first message that is kept.
    pub first: Option<Mark>,
    /// The last one.
    pub last: Option<Mark>,
    /// Messages in the topic with `.dead` behind its name.
    pub dead_letters: u64,
    /// Its queues, in order of their names; the first 1000 where there are more.
    pub queues: Vec<QueueState>,
}

/// A message among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mark {
    /// Its number.
    pub sequence: u64,
    /// When it was published.
    pub time: u64,
}

/// A queue of a topic, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Number of the next message that it has not read yet.
    pub position: u64,
    /// Messages that are not handled yet.
    pub lag: u64,
    /// Those of them that its consumers have.
    pub held: u64,
    /// Those of them that wait for another attempt or for their time.
    pub waiting: u64,
    /// Consumers that are there.
    pub consumers: u64,
    /// The oldest message that is not handled yet.
    pub oldest: Option<Oldest>,
}

/// The oldest message of a queue that is not handled yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Oldest {
    /// Its number.
    pub sequence: u64,
    /// When it was published.
    pub time: u64,
    /// How often it was delivered.
    pub attempts: u32,
    /// The consumer that has it, such as `consumer 3 of process 4711`.
    pub holder: Option<String>,
}

/// Dead letters of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    topic: String,
    dead_letters: Option<String>,
    queue: Option<String>,
    sequence: Option<u64>,
}

impl Letters {
    /// All dead letters of `topic`.
    pub fn of(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), dead_letters: None, queue: None, sequence: None }
    }

    /// Those in the topic that its subscribers name for them; the one with `.dead` behind its name unless set.
    #[must_use]
    pub fn within(mut self, dead_letters: impl Into<String>) -> Self {
        self.dead_letters = Some(dead_letters.into());
        self
    }

    /// Only those of this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Only the one with this number among the dead letters.
    #[must_use]
    pub fn sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// The topic that they came from.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic that has them.
    pub fn place(&self) -> String {
        self.dead_letters.clone().unwrap_or_else(|| format!("{}.dead", self.topic))
    }

    /// Whether a letter with this number and of this queue is one of them.
    pub(super) fn has(&self, sequence: u64, queue: Option<&str>) -> bool {
        self.sequence.is_none_or(|wanted| wanted == sequence)
            && self.queue.as_deref().is_none_or(|wanted| queue == Some(wanted))
    }

    /// The first number that is looked at.
    pub(super) fn from(&self, from: u64) -> u64 {
        self.sequence.map_or(from, |sequence| sequence.max(from))
    }

    /// Whether nothing behind this number is looked at.
    pub(super) fn ends_at(&self, sequence: u64) -> bool {
        self.sequence.is_some_and(|last| last <= sequence)
    }
}

/// A page of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetters {
    /// The letters, oldest first.
    pub letters: Vec<DeadLetter>,
    /// The number from which on there may be more; none where these were the last.
    pub next: Option<u64>,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number among the dead letters.
    pub sequence: u64,
    /// When it was given up.
    pub time: u64,
    /// The queue that gave it up; none of a subscription without one.
    pub queue: Option<String>,
    /// How often it was delivered.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// How its body is written.
    pub content_type: Option<String>,
    /// Bytes of its body.
    pub bytes: u64,
}

/// A part of some work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Batch {
    /// Messages that were dealt with.
    pub done: u64,
    /// The number from which on to go on; none at the end.
    pub next: Option<u64>,
}

impl Batch {
    pub(super) fn new(done: u64, next: Option<u64>) -> Self {
        Self { done, next }
    }
}
