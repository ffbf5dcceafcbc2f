//! What a call looks like to middleware: one request, one response, unary and streams alike.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures_util::stream;
use tower_layer::Layer;
use tower_service::Service;

use crate::codec::{Codec, Message, read_request};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::streaming::Messages;

/// A future that can be moved and named.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Puts the future that `make` returns into a box without building it elsewhere first. `Box::pin` copies the whole state,
/// kilobytes of which nothing is set yet.
#[inline(always)]
pub(super) fn in_place<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}

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

/// The rest of the way to the handler: what a [`Layer`] wraps.
///
/// A layer is an ordinary tower layer whose service takes a [`Request`] and answers a
/// [`Response`] or an [`Error`]; it meets every call of the server, streams included.
#[derive(Clone)]
pub struct Handler(Arc<dyn Fn(Request) -> BoxFuture<Result<Response>> + Send + Sync>);

impl Handler {
    pub(crate) fn new<F, R>(handle: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        Self(Arc::new(move |request| in_place(|| handle(request))))
    }

    /// What makes its futures itself.
    #[cfg(feature = "tonic")]
    pub(super) fn direct(
        handle: impl Fn(Request) -> BoxFuture<Result<Response>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(handle))
    }

    /// Goes to the endpoint the request was routed to; what the innermost layer wraps.
    pub(crate) fn routed() -> Self {
        Self(Arc::new(|request| {
            let route = request.route.clone();
            route.handle(request)
        }))
    }

    pub(crate) fn handle(&self, request: Request) -> BoxFuture<Result<Response>> {
        (self.0)(request)
    }

    /// This handler with `layer` around it.
    pub(crate) fn wrap<L>(self, layer: &L) -> Self
    where
        L: Layer<Self>,
        L::Service:
            Service<Request, Response = Response, Error = Error> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        let service = layer.layer(self);
        Self::new(move |request| {
            let mut service = service.clone();
            async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }
        })
    }
}

impl Service<Request> for Handler {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<Result<Response>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.handle(request)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}
