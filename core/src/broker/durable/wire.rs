//! What the owner of a data folder and the other processes of the machine say to each other about messages.

use std::time::Duration;

use bytes::Bytes;

use crate::broker::stored::{millis, read, time, write};
use crate::broker::{Message, Start, Subscription, Verdict};
use crate::error::{Code, Error, Result};

/// Endpoint that takes a message.
pub(super) const PUBLISH: &str = "Messages.Publish";
/// Endpoint that takes many, of a process of this machine: [`Frame`] one way, a [`Taken`] for each the other, after one that says
/// that it begins.
pub(super) const PUBLISHING: &str = "Messages.Publishing";
/// Endpoint that delivers: [`FromConsumer`] one way, [`ToConsumer`] the other.
pub(super) const SUBSCRIBE: &str = "Messages.Subscribe";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Publish {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(bytes = "bytes", tag = "2")]
    head: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

/// Messages that were published at the same time.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Frame {
    #[prost(message, repeated, tag = "1")]
    pub(super) messages: Vec<Publish>,
}

/// What became of a frame: its messages are published, but for those that failed, in their order.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Taken {
    #[prost(message, repeated, tag = "1")]
    pub(super) failed: Vec<Failed>,
}

/// A message of a frame that was not published.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Failed {
    #[prost(uint32, tag = "1")]
    pub(super) nth: u32,
    /// gRPC's code.
    #[prost(int32, tag = "2")]
    code: i32,
    /// As go-micro writes an error.
    #[prost(string, tag = "3")]
    error: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Done {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FromConsumer {
    #[prost(oneof = "Said", tags = "1, 2, 3")]
    pub(super) said: Option<Said>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Said {
    /// The first message, and no other.
    #[prost(message, tag = "1")]
    Subscribe(Wanted),
    #[prost(message, tag = "2")]
    Settle(Settled),
    #[prost(message, tag = "3")]
    Extend(Attempt),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Wanted {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(string, optional, tag = "2")]
    queue: Option<String>,
    /// Unset: new messages.
    #[prost(uint64, optional, tag = "3")]
    from_sequence: Option<u64>,
    /// Milliseconds since 1970.
    #[prost(uint64, optional, tag = "4")]
    from_time: Option<u64>,
    #[prost(uint32, tag = "5")]
    max_in_flight: u32,
    #[prost(uint32, tag = "6")]
    max_attempts: u32,
    /// Milliseconds.
    #[prost(uint64, tag = "7")]
    lease: u64,
    #[prost(string, optional, tag = "8")]
    dead_letters: Option<String>,
    /// The consumer's; 0 where that is on another machine.
    #[prost(uint32, tag = "9")]
    pub(super) process: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct Attempt {
    #[prost(uint64, tag = "1")]
    pub(super) sequence: u64,
    #[prost(uint32, tag = "2")]
    pub(super) attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Settled {
    #[prost(message, required, tag = "1")]
    pub(super) attempt: Attempt,
    /// Why it was not handled; unset where it was.
    #[prost(string, optional, tag = "2")]
    reason: Option<String>,
    /// Milliseconds after which it is to be delivered again; unset for a dead letter.
    #[prost(uint64, optional, tag = "3")]
    retry_after: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ToConsumer {
    #[prost(oneof = "Told", tags = "1, 2, 3")]
    pub(super) told: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Told {
    /// The subscription stands. The first message.
    #[prost(message, tag = "1")]
    Subscribed(Done),
    #[prost(message, tag = "2")]
    Message(Lent),
    /// A verdict is written down.
    #[prost(message, tag = "3")]
    Settled(Attempt),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Lent {
    #[prost(message, required, tag = "1")]
    pub(super) attempt: Attempt,
    /// Milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub(super) published: u64,
    #[prost(bytes = "bytes", tag = "3")]
    head: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    body: Bytes,
}

impl Publish {
    pub(super) fn new(message: &Message) -> Self {
        let [head, body] = write(message);
        Self { topic: message.topic.clone(), head, body }
    }

    pub(super) fn message(self) -> Result<Message> {
        joined(&self.topic, self.head, self.body)
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.head.len() + self.body.len()
    }
}

impl Failed {
    pub(super) fn new(nth: usize, error: &Error) -> Self {
        Self { nth: nth as u32, code: error.code().grpc(), error: error.to_json() }
    }

    pub(super) fn error(self) -> Error {
        Error::parse(&self.error).with_code(Code::from_grpc(self.code).unwrap_or(Code::Unknown))
    }
}

impl Lent {
    pub(super) fn new(message: &Message, attempt: Attempt, published: u64) -> Self {
        let [head, body] = write(message);
        Self { attempt, published, head, body }
    }

    pub(super) fn message(self, topic: &str) -> Result<Message> {
        joined(topic, self.head, self.body)
    }
}

/// A message from its two pieces, without a copy of its body.
fn joined(topic: &str, head: Bytes, body: Bytes) -> Result<Message> {
    let mut message = read(topic, head)?;
    message.body = body;
    Ok(message)
}

impl Wanted {
    pub(super) fn new(subscription: &Subscription, process: u32) -> Self {
        let (from_sequence, from_time) = match subscription.start {
            Start::New => (None, None),
            Start::First => (Some(0), None),
            Start::Sequence(sequence) => (Some(sequence), None),
            Start::Time(time) => (None, Some(millis(time))),
        };
        Self {
            topic: subscription.topic.clone(),
            queue: subscription.queue.clone(),
            from_sequence,
            from_time,
            max_in_flight: subscription.max_in_flight as u32,
            max_attempts: subscription.max_attempts,
            lease: subscription.lease.as_millis() as u64,
            dead_letters: subscription.dead_letters.clone(),
            process,
        }
    }

    pub(super) fn subscription(self) -> Subscription {
        let mut subscription = Subscription::new(self.topic);
        subscription.queue = self.queue;
        subscription.start = match (self.from_sequence, self.from_time.and_then(time)) {
            (Some(sequence), _) => Start::Sequence(sequence),
            (None, Some(time)) => Start::Time(time),
            (None, None) => Start::New,
        };
        subscription.max_in_flight = self.max_in_flight as usize;
        subscription.max_attempts = self.max_attempts;
        subscription.lease = Duration::from_millis(self.lease);
        subscription.dead_letters = self.dead_letters;
        subscription
    }
}

impl Settled {
    pub(super) fn new(attempt: Attempt, verdict: Verdict) -> Self {
        let (reason, retry_after) = match verdict {
            Verdict::Ack => (None, None),
            Verdict::Retry(after, reason) => (Some(reason), Some(after.as_millis() as u64)),
            Verdict::Reject(reason) => (Some(reason), None),
        };
        Self { attempt, reason, retry_after }
    }

    pub(super) fn verdict(self) -> Verdict {
        match (self.reason, self.retry_after) {
            (None, _) => Verdict::Ack,
            (Some(reason), Some(after)) => Verdict::Retry(Duration::from_millis(after), reason),
            (Some(reason), None) => Verdict::Reject(reason),
        }
    }
}

/// What a peer said that makes no sense.
pub(super) fn nonsense(what: &str) -> Error {
    Error::internal(format!("{what}: do all processes of this machine run the same version?"))
}
