//! An attempt as the layers around it see it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::client::target::Target;
use crate::codec::Codec;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::middleware::{Layers, Next};
use crate::selector::Node;
use crate::shape::Shape;

/// The rest of the way of an attempt: what a layer around attempts wraps, and goes on with.
pub type AttemptWay = Next<AttemptRequest, AttemptResponse>;

/// Layers around attempts.
pub(in crate::client) type AttemptLayers = Layers<AttemptRequest, AttemptResponse>;

/// One attempt of a call at the node that was picked for it. What a layer changes holds for this attempt alone.
///
/// An attempt at a stream is to open it: its messages are not part of it, and are seen by layers around the call.
pub struct AttemptRequest {
    /// Headers that the call was given, without those of its client.
    pub metadata: Metadata,
    /// The one message, in the codec of the call; `None` where the caller sends a stream, or is a stub of tonic.
    pub message: Option<Bytes>,
    pub(in crate::client) target: Arc<Target>,
    pub(in crate::client) context: Option<Context>,
    pub(in crate::client) shape: Shape,
    pub(in crate::client) codec: Codec,
    pub(in crate::client) deadline: Option<Instant>,
    pub(in crate::client) node: Arc<Node>,
    pub(in crate::client) address: Option<String>,
    pub(in crate::client) number: u32,
    /// The layers of the call, within those of its client.
    pub(in crate::client) route: Option<AttemptWay>,
    pub(in crate::client) performer: mpsc::Sender<Perform>,
}

/// What a layer asks of the call: to make the attempt.
pub(in crate::client) struct Perform {
    pub(in crate::client) asked: Asked,
    pub(in crate::client) answer: oneshot::Sender<Result<AttemptResponse>>,
}

/// What layers made of the attempt.
pub(in crate::client) struct Asked {
    pub(in crate::client) metadata: Metadata,
    pub(in crate::client) message: Option<Bytes>,
    pub(in crate::client) address: Option<String>,
}

impl AttemptRequest {
    /// Service that is called; empty for a call by a path alone.
    pub fn service(&self) -> &str {
        &self.target.service
    }

    /// Endpoint that is called, as the caller named it.
    pub fn endpoint(&self) -> &str {
        &self.target.endpoint
    }

    /// The inbound call that this one is part of, if it is part of one.
    pub fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// How many messages go each way.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How the messages are written.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// When the call ends, other attempts included; `None` for a stream without a timeout.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The node that was picked.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Index of the attempt, from 0.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Goes to this address (`host:port`, `https://host`) instead of to the node that was picked.
    pub fn set_address(&mut self, address: impl Into<String>) {
        self.address = Some(address.into());
    }

    /// Has the attempt made by the call it belongs to.
    async fn perform(self) -> Result<AttemptResponse> {
        let (answer, answered) = oneshot::channel();
        let Self { metadata, message, address, .. } = self;
        let asked = Asked { metadata, message, address };
        let over = || Error::cancelled("the attempt is over").with_id("go.micro.client");
        self.performer.send(Perform { asked, answer }).await.map_err(|_| over())?;
        answered.await.unwrap_or_else(|_| Err(over()))
    }

    /// What the innermost layer of a call goes on with.
    pub(in crate::client) fn innermost() -> AttemptWay {
        Next::new(Self::perform)
    }

    /// What the innermost layer of a client goes on with: the layers of the call, or the attempt.
    pub(in crate::client) fn routed() -> AttemptWay {
        Next::new(|mut request: Self| async move {
            match request.route.take() {
                Some(route) => route.run(request).await,
                None => request.perform().await,
            }
        })
    }
}

impl fmt::Debug for AttemptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptRequest")
            .field("service", &self.target.service)
            .field("endpoint", &self.target.endpoint)
            .field("shape", &self.shape)
            .field("node", &self.node.id())
            .field("number", &self.number)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// The answer to an [`AttemptRequest`].
#[derive(Debug)]
pub struct AttemptResponse {
    /// The one message, in the codec of the call; `None` for a stream, which has been opened.
    pub message: Option<Bytes>,
    /// Headers the handler set, where there is one message.
    pub headers: Metadata,
    /// Trailers the handler set, where there is one message.
    pub trailers: Metadata,
    pub(in crate::client) compressed: bool,
}

impl AttemptResponse {
    /// An answer for a layer that answers by itself. A call whose answer is a stream is answered by a layer around the call.
    pub fn message(message: impl Into<Bytes>) -> Self {
        Self { message: Some(message.into()), ..Self::opened() }
    }

    /// A stream has been opened.
    pub(in crate::client) fn opened() -> Self {
        let (headers, trailers) = (Metadata::new(), Metadata::new());
        Self { message: None, headers, trailers, compressed: false }
    }
}
