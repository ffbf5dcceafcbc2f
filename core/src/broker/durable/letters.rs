//! What a dead letter says of itself, and which queue a message is for that was one.

use http::header::HeaderName;
use percent_encoding::percent_decode_str;

use crate::broker::Message;
use crate::broker::dead::{ATTEMPTS, QUEUE, REASON, TOPIC, encoded, put};

/// The one queue that a message is for: it was its dead letter, and is tried again.
const ONLY: HeaderName = HeaderName::from_static("micro-retry-queue");

/// Why a message is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) topic: String,
    pub(super) queue: Option<String>,
    pub(super) attempts: u32,
    pub(super) reason: String,
}

/// Why a message is a dead letter, if it is one.
pub(super) fn death(message: &Message) -> Option<Death> {
    let get = |name: &str| {
        let value = message.headers.get(name)?;
        percent_decode_str(value).decode_utf8().ok().map(|text| text.into_owned())
    };
    Some(Death {
        topic: get(TOPIC)?,
        queue: get(QUEUE).filter(|queue| !queue.is_empty()),
        attempts: get(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or_default(),
        reason: get(REASON).unwrap_or_default(),
    })
}

/// A dead letter as the message that it was, for the queue that had it alone.
pub(super) fn raise(letter: Message, death: &Death) -> Message {
    let mut message = Message { topic: death.topic.clone(), id: None, ..letter };
    for name in [TOPIC, QUEUE, ATTEMPTS, REASON] {
        message.headers.remove(name);
    }
    put(&mut message, ONLY.as_str(), death.queue.as_deref().unwrap_or_default());
    message
}

/// Whether the queue is one that the message is for.
pub(super) fn is_for(message: &Message, queue: Option<&str>) -> bool {
    let Some(only) = message.headers.headers().get(ONLY) else { return true };
    let Some(queue) = queue else { return false };
    only.as_bytes() == queue.as_bytes() || only.as_bytes() == encoded(queue).as_bytes()
}
