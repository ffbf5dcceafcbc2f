//! A call as the layers around it see it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::client::options::CallOptions;
use crate::client::target::Target;
use crate::codec::Codec;
use crate::context::Context;
use crate::metadata::Metadata;
use crate::middleware::{Layers, Next};
use crate::server::Body;
use crate::shape::Shape;
use crate::streaming::Messages;

/// The rest of the way of a call: what a layer around calls wraps, and goes on with.
pub type CallWay = Next<Request, Response>;

/// Layers around calls.
pub(in crate::client) type CallLayers = Layers<Request, Response>;

/// An outgoing call. All of its attempts are further in.
pub struct Request {
    /// What the call was given on top of the options of its client: its metadata, addresses, filters and retries. A timeout
    /// set here counts from where the layer goes on, and only shortens [`Request::deadline`]. The codec stays as it is.
    pub options: CallOptions,
    /// The messages, in the [codec](Request::codec) of the call: one, or a stream where the caller sends one.
    pub body: Body,
    pub(in crate::client) target: Arc<Target>,
    pub(in crate::client) context: Option<Context>,
    pub(in crate::client) shape: Shape,
    pub(in crate::client) codec: Codec,
    pub(in crate::client) deadline: Option<Instant>,
    /// What is further in than the layers of the client.
    pub(in crate::client) route: CallWay,
}

impl Request {
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

    /// When the call ends, retries and layers included; `None` for a stream without a timeout.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Headers that the call was given, without those of its client.
    pub fn metadata(&self) -> &Metadata {
        &self.options.metadata
    }

    /// The same, to be changed. What the layer sets here is sent in place of what the client sends under the name.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.options.metadata
    }

    /// What the innermost layer of a client goes on with: the layers of the call, or the call.
    pub(in crate::client) fn routed() -> CallWay {
        CallWay::boxed(|request: Self| {
            let route = request.route.clone();
            route.run(request)
        })
    }

    /// A second request like this one, for layers that go on more than once; `None` where the caller sends a stream, whose
    /// messages are there once.
    pub fn try_clone(&self) -> Option<Self> {
        let Body::Message(message) = &self.body else { return None };
        Some(Self {
            options: self.options.clone(),
            body: Body::Message(message.clone()),
            target: self.target.clone(),
            context: self.context.clone(),
            shape: self.shape,
            codec: self.codec,
            deadline: self.deadline,
            route: self.route.clone(),
        })
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("service", &self.target.service)
            .field("endpoint", &self.target.endpoint)
            .field("shape", &self.shape)
            .field("codec", &self.codec)
            .field("metadata", &self.options.metadata)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The answer to a [`Request`].
#[derive(Debug)]
pub struct Response {
    /// The messages: one, or a stream where the call answers with many. The [codec](Request::codec) is that of the request.
    /// A layer that looks at the messages of a stream keeps what is around them with [`Messages::wrap`].
    pub body: Body,
    /// Headers the handler set; those of a stream are with its messages.
    pub headers: Metadata,
    /// Trailers the handler set; those of a stream are with its messages.
    pub trailers: Metadata,
    pub(in crate::client) compressed: bool,
}

impl Response {
    /// An answer of one message, for a layer that answers by itself.
    pub fn message(message: impl Into<Bytes>) -> Self {
        Self::of(Body::Message(message.into()))
    }

    /// An answer of many messages, for a layer that answers by itself.
    pub fn stream(messages: Messages) -> Self {
        Self::of(Body::Stream(messages))
    }

    pub(in crate::client) fn of(body: Body) -> Self {
        let (headers, trailers) = (Metadata::new(), Metadata::new());
        Self { body, headers, trailers, compressed: false }
    }

    /// Whether the one message came compressed.
    pub fn compressed(&self) -> bool {
        self.compressed
    }
}
