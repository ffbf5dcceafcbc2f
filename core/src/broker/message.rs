//! What is published.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::abilities::Abilities;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::spelling::quoted;

/// Bytes of a topic's name.
const TOPIC_BYTES: usize = 512;

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
        for (is_asked, is_able, term) in [
            (self.due.is_some(), abilities.delays, "a delay"),
            (self.key.is_some(), abilities.orders_by_key, "a key"),
            (self.expires.is_some(), abilities.expires, "an expiry"),
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
