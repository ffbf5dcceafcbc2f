//! What is published.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::abilities::Abilities;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::spelling::quoted;

/// Bytes of a topic's name.
const TOPIC_BYTES: usize = 512;
/// Bytes of an id.
const ID_BYTES: usize = 200;
/// The highest priority.
const HIGHEST: u8 = 9;

/// A message: a topic, headers, bytes, and the terms on which it is delivered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// What it is about: any text of 1 to 512 bytes without control characters.
    pub topic: String,
    /// What is said about it. Names ignore case.
    pub headers: Metadata,
    /// How its body is written, such as `application/json`.
    pub content_type: Option<String>,
    /// The message itself.
    pub body: Bytes,
    /// Messages of one key are delivered one after the other.
    pub key: Option<String>,
    /// Not to be delivered before.
    pub due: Option<SystemTime>,
    /// Not to be delivered after.
    pub expires: Option<SystemTime>,
    /// What tells it from all others of its topic: any text of 1 to 200 bytes without control characters. A message that is
    /// published again with the same one is delivered once.
    pub id: Option<String>,
    /// From 0, unless set, to 9: of the messages that could be delivered, those of the highest are delivered first, but none
    /// before an older one of its key.
    pub priority: u8,
}

impl Message {
    /// A message without headers and terms.
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            headers: Metadata::new(),
            content_type: None,
            body: body.into(),
            key: None,
            due: None,
            expires: None,
            id: None,
            priority: 0,
        }
    }

    /// Delivers it after `delay`.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.due = SystemTime::now().checked_add(delay);
        self
    }

    /// Delivers it within `life`, or not at all.
    #[must_use]
    pub fn expires_in(mut self, life: Duration) -> Self {
        self.expires = SystemTime::now().checked_add(life);
        self
    }

    /// Refuses what a broker of these abilities would ignore.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the topic or the term.
    pub fn check(&self, broker: &str, abilities: Abilities) -> Result<()> {
        check_topic(&self.topic)?;
        if let Some(id) = &self.id
            && (!(1..=ID_BYTES).contains(&id.len()) || id.chars().any(char::is_control))
        {
            return Err(Error::invalid_argument(format!(
                "`id` of a message has 1 to {ID_BYTES} bytes of text without control characters"
            )));
        }
        if self.priority > HIGHEST {
            return Err(Error::invalid_argument(format!(
                "`priority` of a message is 0 to {HIGHEST}, and not {}",
                self.priority
            )));
        }
        for (is_asked, is_able, term) in [
            (self.due.is_some(), abilities.delays, "a delay"),
            (self.key.is_some(), abilities.orders_by_key, "a key"),
            (self.expires.is_some(), abilities.expires, "an expiry"),
            (self.id.is_some(), abilities.deduplicates, "an id"),
            (self.priority > 0, abilities.prioritizes, "a priority"),
        ] {
            if is_asked && !is_able {
                return Err(Error::invalid_argument(format!(
                    "the broker {broker} does not know {term} of messages: leave it out, or use one that does, such as \
                     durable://"
                )));
            }
        }
        Ok(())
    }
}

/// Refuses what cannot be a topic.
pub(super) fn check_topic(topic: &str) -> Result<()> {
    let is_one = (1..=TOPIC_BYTES).contains(&topic.len()) && !topic.chars().any(char::is_control);
    match is_one {
        true => Ok(()),
        false => Err(Error::invalid_argument(format!(
            "topic {}: use 1 to {TOPIC_BYTES} bytes of text without control characters",
            quoted(topic)
        ))),
    }
}
