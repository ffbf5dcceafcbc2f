//! What a call looks like to middleware: one request, one response, unary and streams alike.

use bytes::Bytes;
use futures_util::stream;

use crate::codec::{Codec, Message, read_request};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::middleware::Next;
use crate::shape::Shape;
use crate::streaming::Messages;

/// An inbound call.
#[derive(Debug)]
pub struct Request {
    /// What is known about the call.
    pub context: Context,
    /// Shape of the endpoint.
    pub shape: Shape,
    /// How the messages are written.
    pub codec: Codec,
    /// The messages.
    pub body: Body,
    pub(crate) route: Handler,
}

impl Request {
    /// The one message of the caller, read.
    pub(crate) async fn message<T: Message>(self) -> Result<(Context, T)> {
        let message = read_request(self.codec, self.body.into_message().await?)?;
        Ok((self.context, message))
    }
}

/// The answer to a [`Request`]; failures are an [`Error`] instead.
#[derive(Debug)]
pub struct Response {
    /// The messages.
    pub body: Body,
}

/// Messages of one direction of a call.
#[derive(Debug)]
pub enum Body {
    /// Exactly one.
    Message(Bytes),
    /// Any number.
    Stream(Messages),
}

impl Body {
    /// The messages as a stream, whichever they are.
    pub fn into_messages(self) -> Messages {
        match self {
            Self::Message(bytes) => Messages::new(stream::once(async { Ok(bytes) })),
            Self::Stream(messages) => messages,
        }
    }

    /// The one message.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` when there is none, as gRPC prescribes.
    pub async fn into_message(self) -> Result<Bytes> {
        match self {
            Self::Message(bytes) => Ok(bytes),
            Self::Stream(mut messages) => {
                messages.message().await?.ok_or_else(|| Error::unimplemented(NO_MESSAGE))
            }
        }
    }
}

pub(super) const NO_MESSAGE: &str = "expected one request message, got none";

/// The rest of the way to the handler: what a [layer](crate::middleware) of a server wraps.
///
/// A layer is an ordinary tower layer whose service takes a [`Request`] and answers a [`Response`] or an [`Error`], or a plain
/// function of a request and a handler. It meets every call of an endpoint, streams included, but for those every server has:
/// see [`ServerBuilder::layer`](super::ServerBuilder::layer).
pub type Handler = Next<Request, Response>;

impl Handler {
    /// Goes to the endpoint the request was routed to; what the innermost layer wraps.
    pub(crate) fn routed() -> Self {
        Self::boxed(|request: Request| {
            let route = request.route.clone();
            route.run(request)
        })
    }
}
