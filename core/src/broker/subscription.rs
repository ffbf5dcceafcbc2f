//! What a subscriber asks of its broker.

use std::time::{Duration, SystemTime};

use super::abilities::Abilities;
use super::message::check_topic;
use crate::error::{Error, Result};

/// Which messages, and how they are delivered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Subscription {
    /// The topic.
    pub topic: String,
    /// Subscribers of one queue share its messages; without one, each subscriber gets every message.
    pub queue: Option<String>,
    /// Where a queue that is new begins, and a subscription without one.
    pub start: Start,
    /// Messages that are delivered and not settled yet, 16 unless set. 1 delivers one after the other.
    pub max_in_flight: usize,
    /// How often a message is delivered, 5 unless set, before it is a dead letter.
    pub max_attempts: u32,
    /// How long a message may be with its consumer without a sign of life before it is another's, 30 s unless set. A handler
    /// that runs is one.
    pub lease: Duration,
    /// Topic of messages that were delivered too often or rejected; the name of this one and `.dead` unless set.
    pub dead_letters: Option<String>,
}

/// The first message of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// The next one that is published.
    #[default]
    New,
    /// The oldest there is.
    First,
    /// The one with this number, as deliveries tell it.
    Sequence(u64),
    /// The first that was published then or later.
    Time(SystemTime),
}

impl Subscription {
    /// Every new message of `topic`.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            queue: None,
            start: Start::New,
            max_in_flight: 16,
            max_attempts: 5,
            lease: Duration::from_secs(30),
            dead_letters: None,
        }
    }

    /// Topic of its dead letters.
    pub fn dead_letters(&self) -> String {
        self.dead_letters.clone().unwrap_or_else(|| format!("{}.dead", self.topic))
    }

    /// Refuses what a broker of these abilities would ignore, and what makes no sense.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the option.
    pub fn check(&self, broker: &str, abilities: Abilities) -> Result<()> {
        let wrong = |what: &str| {
            Err(Error::invalid_argument(format!("subscription to {}: {what}", self.topic)))
        };
        check_topic(&self.topic)?;
        self.dead_letters.as_deref().map_or(Ok(()), check_topic)?;
        if let Some(queue) = &self.queue
            && (queue.is_empty() || queue.len() > 200 || queue.chars().any(char::is_control))
        {
            return wrong("`queue` has 1 to 200 bytes of text without control characters");
        }
        if !(1..=65_536).contains(&self.max_in_flight) {
            return wrong("`max_in_flight` is 1 to 65536");
        }
        if !(1..=1_000).contains(&self.max_attempts) {
            return wrong("`max_attempts` is 1 to 1000");
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(86_400)).contains(&self.lease) {
            return wrong("`lease` is 100 ms to one day");
        }
        if self.start != Start::New && !abilities.replays {
            return wrong(&format!(
                "the broker {broker} keeps no older messages: leave out `start`, or use one that does, such as durable://"
            ));
        }
        if self.dead_letters.is_some() && !abilities.redelivers {
            return wrong(&format!(
                "the broker {broker} has no dead letters: leave out `dead_letters`, or use one that has, such as durable://"
            ));
        }
        Ok(())
    }
}
