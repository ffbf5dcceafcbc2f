//! Endpoints: a name, a shape, two types and the function that answers.

use std::fmt;
use std::sync::Arc;

use futures_util::Stream;
use tower_layer::Layer;
use tower_service::Service;

use super::encoded::Encoded;
use super::handler::{Body, Handler, Request, Response};
use crate::codec::{Message, Raw, Schema, Side};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::middleware::{Layers, from_fn};
use crate::registry::{self, Labels};
use crate::resilience::Gate;
use crate::shape::Shape;
use crate::streaming::{Messages, Streaming};

/// One endpoint of a server.
#[derive(Clone)]
#[must_use = "an endpoint is served by the server it is added to"]
pub struct Endpoint {
    pub(super) name: Arc<str>,
    /// Package of the protobuf service it is a method of, where that was named.
    pub(super) package: Option<Box<str>>,
    pub(super) shape: Shape,
    pub(super) request: Schema,
    pub(super) response: Schema,
    pub(super) metadata: Labels,
    pub(super) internal: bool,
    pub(super) read_only: bool,
    pub(super) handler: Handler,
    /// Layers that are still to be put around the handler.
    pub(super) layers: Layers<Request, Response>,
    pub(super) role: Role,
    /// Bounds the calls in the handler; set when the server starts.
    pub(super) gate: Option<Arc<Gate>>,
}

/// What an endpoint is to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The program's own.
    Own,
    /// Every server has it.
    Standard,
    /// Answers what no other endpoint does.
    Fallback,
}

impl Endpoint {
    /// One request, one reply.
    pub fn unary<Req, Res, F, R>(name: &str, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Req) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Res>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = Handler::new(move |request| {
            let handler = handler.clone();
            let codec = request.codec;
            async move {
                let (context, message) = request.message::<Req>().await?;
                let reply = handler(context, message).await?;
                Ok(Response { body: Body::Message(reply.into_bytes(codec, Side::Server)?) })
            }
        });
        Self::new::<Req, Res>(name, Shape::Unary, handler)
    }

    /// One request, many replies.
    pub fn server_stream<Req, Res, F, R, S>(name: &str, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Req) -> R + Send + Sync + 'static,
        R: Future<Output = Result<S>> + Send + 'static,
        S: Stream<Item = Result<Res>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = Handler::new(move |request| {
            let handler = handler.clone();
            let codec = request.codec;
            async move {
                let (context, message) = request.message::<Req>().await?;
                let replies = handler(context, message).await?;
                let replies = Messages::from_source(Encoded::new(replies, codec));
                Ok(Response { body: Body::Stream(replies) })
            }
        });
        Self::new::<Req, Res>(name, Shape::ServerStream, handler)
    }

    /// Many requests, one reply.
    pub fn client_stream<Req, Res, F, R>(name: &str, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Streaming<Req>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Res>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = Handler::new(move |request| {
            let handler = handler.clone();
            let codec = request.codec;
            async move {
                let messages = Streaming::requests(request.body.into_messages(), codec);
                let reply = handler(request.context, messages).await?;
                Ok(Response { body: Body::Message(reply.into_bytes(codec, Side::Server)?) })
            }
        });
        Self::new::<Req, Res>(name, Shape::ClientStream, handler)
    }

    /// Many messages each way, in any order.
    pub fn bidi_stream<Req, Res, F, R, S>(name: &str, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Streaming<Req>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<S>> + Send + 'static,
        S: Stream<Item = Result<Res>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = Handler::new(move |request| {
            let handler = handler.clone();
            let codec = request.codec;
            async move {
                let messages = Streaming::requests(request.body.into_messages(), codec);
                let replies = handler(request.context, messages).await?;
                let replies = Messages::from_source(Encoded::new(replies, codec));
                Ok(Response { body: Body::Stream(replies) })
            }
        });
        Self::new::<Req, Res>(name, Shape::BidiStream, handler)
    }

    /// An endpoint whose handler takes the call as middleware does, messages unread: for proxies, and
    /// for handlers written in another language. `shape` says which [`Body`] the handler is given, and
    /// which one it owes: one message, or a stream of them.
    ///
    /// ```
    /// use micro::Shape;
    /// use micro::server::{Endpoint, Request, Response};
    ///
    /// let echo = Endpoint::raw("Echo.Call", Shape::Unary, |request: Request| async move {
    ///     Ok(Response { body: request.body })
    /// });
    /// # assert_eq!(echo.name(), "Echo.Call");
    /// ```
    ///
    /// The registry is told that its messages are `bytes`, unless [`Endpoint::schemas`] says more.
    pub fn raw<F, R>(name: &str, shape: Shape, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        Self::new::<Raw, Raw>(name, shape, Handler::new(handler))
    }

    pub(super) fn new<Req: Message, Res: Message>(
        name: &str,
        shape: Shape,
        handler: Handler,
    ) -> Self {
        Self {
            name: name.into(),
            package: None,
            shape,
            request: Req::schema(),
            response: Res::schema(),
            metadata: Labels::new(),
            internal: false,
            read_only: false,
            handler,
            layers: Layers::default(),
            role: Role::Own,
            gate: None,
        }
    }

    /// Says that repeating a call is harmless, so that clients may retry it.
    pub fn idempotent(self) -> Self {
        self.metadata("idempotent", "true")
    }

    /// Says that a call changes nothing, which makes it [`idempotent`](Self::idempotent) too. Web
    /// pages may then call it with a GET, and caches may keep the answer if the handler sets
    /// `cache-control`.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self.idempotent()
    }

    /// Adds a label to what the registry says about this endpoint, for example an HTTP route.
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Puts tower middleware around calls of this endpoint alone, within what its server has; the first one added is the
    /// outermost. See [`middleware`](crate::middleware).
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Handler> + Send + Sync + 'static,
        L::Service:
            Service<Request, Response = Response, Error = Error> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.layers.add(layer);
        self
    }

    /// Puts a function around calls of this endpoint alone, as [`Endpoint::layer`] does a layer.
    pub fn layer_fn<F, R>(self, function: F) -> Self
    where
        F: Fn(Request, Handler) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        self.layer(from_fn(function))
    }

    /// Puts the layers around the handler, `outer` outermost.
    pub(super) fn wrap(&mut self, outer: &[&Layers<Request, Response>]) {
        let own = std::mem::take(&mut self.layers).around(self.handler.clone());
        self.handler = outer.iter().rev().fold(own, |inner, layers| layers.around(inner));
    }

    /// What the registry and reflection say of its messages, instead of what the types of its
    /// handler do.
    pub fn schemas(mut self, request: Schema, response: Schema) -> Self {
        self.request = request;
        self.response = response;
        self
    }

    /// Serves the endpoint without advertising it.
    pub fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// Name, for example `Greeter.Hello`. A name may begin with the package of a protobuf service, as in
    /// `shop.v1.Cart.Add`; the server that it is added to knows it as `Cart.Add`, unless it has an endpoint of another package
    /// by that name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known of its requests.
    pub fn request(&self) -> &Schema {
        &self.request
    }

    /// What is known of its replies.
    pub fn response(&self) -> &Schema {
        &self.response
    }

    /// How many messages go each way.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The two last parts of its name.
    pub(super) fn type_and_method(&self) -> (&str, &str) {
        let (rest, method) = self.name.rsplit_once('.').unwrap_or(("", &self.name));
        (rest.rsplit_once('.').map_or(rest, |(_, kind)| kind), method)
    }

    /// The name with its package.
    pub(super) fn full_name(&self) -> Arc<str> {
        let (kind, method) = self.type_and_method();
        match &self.package {
            Some(package) => format!("{package}.{kind}.{method}").into(),
            None => self.name.clone(),
        }
    }

    /// What the registry says about this endpoint. go-micro describes a stream by the Go types it
    /// is written with (wire reference 1.10); consumers read the name and the labels.
    pub(crate) fn record(&self) -> registry::Endpoint {
        let mut metadata = self.metadata.clone();
        if self.shape.streams() {
            metadata.insert("stream".into(), "true".into());
            metadata.insert("shape".into(), self.shape.name().into());
        }
        registry::Endpoint {
            name: self.name.to_string(),
            request: Some(self.request.value().clone()),
            response: Some(self.response.value().clone()),
            metadata,
        }
    }
}

/// Whether a part of a name is made of letters, digits and `_`.
pub(super) fn is_usable(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .field("metadata", &self.metadata)
            .field("internal", &self.internal)
            .finish()
    }
}
