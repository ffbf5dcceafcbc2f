//! What go-micro's `go.micro.broker` is asked, and what it answers (wire reference 10.3).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::broker::{Message, envelope};
use crate::error::{Error, Result};

/// The service, unless another is named.
pub(super) const SERVICE: &str = "go.micro.broker";
/// Endpoint that takes a message.
pub(super) const PUBLISH: &str = "Broker.Publish";
/// Endpoint that delivers messages, one after the other.
pub(super) const SUBSCRIBE: &str = "Broker.Subscribe";

/// Bytes of a message with its headers: what clients of gRPC accept unless they are told otherwise, go-micro's too.
pub(super) const MESSAGE_BYTES: usize = 4 << 20;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PublishRequest {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(message, optional, tag = "2")]
    pub(super) message: Option<Carried>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SubscribeRequest {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    /// Empty: all messages.
    #[prost(string, tag = "2")]
    pub(super) queue: String,
}

/// A message with its headers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Carried {
    #[prost(btree_map = "string, string", tag = "1")]
    header: BTreeMap<String, String>,
    #[prost(bytes = "bytes", tag = "2")]
    body: Bytes,
}

impl Carried {
    /// A message as it is carried.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for one that is too large.
    pub(super) fn new(message: &Message) -> Result<Self> {
        let carried = Self { header: envelope::header(message), body: message.body.clone() };
        // The topic comes beside it, with a few bytes of framing.
        let size = prost::Message::encoded_len(&carried) + message.topic.len() + 16;
        if size > MESSAGE_BYTES {
            return Err(Error::invalid_argument(format!(
                "a message to {} has {size} bytes with its headers, and go.micro.broker carries {MESSAGE_BYTES} at most: publish \
                 where the rest is, or use another broker, such as durable://",
                message.topic
            )));
        }
        Ok(carried)
    }

    /// The message that was carried.
    ///
    /// # Errors
    /// What makes its headers none, see [`crate::Metadata`].
    pub(super) fn message(self, topic: &str) -> Result<Message> {
        envelope::message(Some(topic), self.header, self.body)
    }
}
