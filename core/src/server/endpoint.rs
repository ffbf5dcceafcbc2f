//! Endpoints: a name, a shape, two types and the function that answers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use futures_util::{Stream, StreamExt as _};

use super::handler::{Body, Handler, Request, Response};
use crate::codec::{Codec, Message, Raw, Schema, Side};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::registry::{self, Labels};
use crate::resilience::{Gate, Limiter};
use crate::streaming::{Messages, Streaming};

/// Longest endpoint name; it has to fit registries and paths.
const MAX_NAME: usize = 200;

/// How many messages go each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One request, one reply.
    Unary,
    /// Many requests, one reply.
    ClientStream,
    /// One request, many replies.
    ServerStream,
    /// Many each way, in any order.
    BidiStream,
}

impl Kind {
    /// True when the caller may send any number of messages.
    pub fn client_streams(self) -> bool {
        matches!(self, Self::ClientStream | Self::BidiStream)
    }

    /// True when either side may send any number of messages.
    pub fn streams(self) -> bool {
        self != Self::Unary
    }

    /// True when the handler may send any number of messages.
    pub fn server_streams(self) -> bool {
        matches!(self, Self::ServerStream | Self::BidiStream)
    }
}

/// One endpoint of a server.
#[derive(Clone)]
#[must_use = "an endpoint is served by the server it is added to"]
pub struct Endpoint {
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) request: Schema,
    pub(super) response: Schema,
    pub(super) metadata: Labels,
    pub(super) internal: bool,
    pub(super) read_only: bool,
    pub(super) handler: Handler,
    /// Bounds the calls in the handler; set when the server starts.
    pub(super) gate: Option<Arc<Gate>>,
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
        Self::new::<Req, Res>(name, Kind::Unary, handler)
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
                let replies = encoded(replies, codec);
                Ok(Response { body: Body::Stream(Messages::new(replies)) })
            }
        });
        Self::new::<Req, Res>(name, Kind::ServerStream, handler)
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
        Self::new::<Req, Res>(name, Kind::ClientStream, handler)
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
                let replies = encoded(replies, codec);
                Ok(Response { body: Body::Stream(Messages::new(replies)) })
            }
        });
        Self::new::<Req, Res>(name, Kind::BidiStream, handler)
    }

    /// An endpoint whose handler takes the call as middleware does, messages unread: for proxies, and
    /// for handlers written in another language. `kind` says which [`Body`] the handler is given, and
    /// which one it owes: one message, or a stream of them.
    ///
    /// ```
    /// use micro::server::{Endpoint, Kind, Request, Response};
    ///
    /// let echo = Endpoint::raw("Echo.Call", Kind::Unary, |request: Request| async move {
    ///     Ok(Response { body: request.body })
    /// });
    /// # assert_eq!(echo.name(), "Echo.Call");
    /// ```
    ///
    /// The registry is told that its messages are `bytes`, unless [`Endpoint::schemas`] says more.
    pub fn raw<F, R>(name: &str, kind: Kind, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        Self::new::<Raw, Raw>(name, kind, Handler::new(handler))
    }

    fn new<Req: Message, Res: Message>(name: &str, kind: Kind, handler: Handler) -> Self {
        Self {
            name: name.into(),
            kind,
            request: Req::schema(),
            response: Res::schema(),
            metadata: Labels::new(),
            internal: false,
            read_only: false,
            handler,
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

    /// Name, for example `Greeter.Hello`.
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
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the registry says about this endpoint. go-micro describes a stream by the Go types it
    /// is written with (wire reference 1.10); consumers read the name and the labels.
    pub(crate) fn record(&self) -> registry::Endpoint {
        let mut metadata = self.metadata.clone();
        if self.kind != Kind::Unary {
            metadata.insert("stream".into(), "true".into());
        }
        registry::Endpoint {
            name: self.name.to_string(),
            request: Some(self.request.value().clone()),
            response: Some(self.response.value().clone()),
            metadata,
        }
    }
}

/// Memory that the messages of a stream are cut from, at a time.
const ARENA: usize = 8 * 1024;

/// Replies as bytes.
fn encoded<S, T>(replies: S, codec: Codec) -> impl Stream<Item = Result<Bytes>> + Send + 'static
where
    S: Stream<Item = Result<T>> + Send + 'static,
    T: Message,
{
    let mut arena = BytesMut::new();
    replies.map(move |reply| {
        if arena.capacity() == 0 {
            arena.reserve(ARENA);
        }
        reply?.carve(codec, Side::Server, &mut arena)
    })
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("metadata", &self.metadata)
            .field("internal", &self.internal)
            .finish()
    }
}

/// Every endpoint of a server, found by the last two parts of the request's path.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Keyed `Type/Method`, as the path ends.
    by_path: HashMap<Box<str>, Arc<Endpoint>, RandomState>,
}

impl Routes {
    /// Adds an endpoint.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name that is not `Type.Method`, `ALREADY_EXISTS` for a second one.
    pub(crate) fn add(&mut self, endpoint: Endpoint) -> Result<()> {
        let name = endpoint.name();
        let usable = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let path = match name.split_once('.') {
            Some((kind, method)) if usable(kind) && usable(method) && name.len() <= MAX_NAME => {
                format!("{kind}/{method}")
            }
            _ => {
                return Err(Error::invalid_argument(format!(
                    "endpoint `{name}`: name it Type.Method with letters, digits and `_`, for example Greeter.Hello"
                )));
            }
        };
        if self.by_path.contains_key(path.as_str()) {
            return Err(Error::already_exists(format!(
                "endpoint `{name}` is registered twice: give one of them another name"
            )));
        }
        self.by_path.insert(path.into(), Arc::new(endpoint));
        Ok(())
    }

    /// Gives every unary endpoint a gate. A stream lasts as long as both sides like, which says
    /// nothing of how busy the server is; and whoever asks how it is gets an answer.
    pub(crate) fn limit(&mut self, limiter: &Limiter, most: usize) {
        for endpoint in self.by_path.values_mut() {
            if endpoint.kind == Kind::Unary && !endpoint.name.starts_with("Debug.") {
                Arc::make_mut(endpoint).gate = limiter.gate(most).map(Arc::new);
            }
        }
    }

    /// The endpoint of a request path: whatever comes before the last dot of the middle part is
    /// ignored, because callers put the name there by which they found the service (wire
    /// reference 1.1).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` and `UNIMPLEMENTED` with go-micro's texts.
    pub(crate) fn find(&self, path: &str) -> Result<&Arc<Endpoint>> {
        let malformed = || Error::invalid_argument(format!("malformed method name: {path:?}"));
        let rest = path.strip_prefix('/').ok_or_else(malformed)?;
        let (prefix, method) = rest.split_once('/').ok_or_else(malformed)?;
        if prefix.is_empty() || method.is_empty() || method.contains('/') {
            return Err(malformed());
        }
        let start = prefix.rfind('.').map_or(0, |dot| dot + 1);
        if let Some(endpoint) = self.by_path.get(&rest[start..]) {
            return Ok(endpoint);
        }
        let kind = &prefix[start..];
        let known = self
            .by_path
            .keys()
            .any(|known| known.strip_prefix(kind).is_some_and(|method| method.starts_with('/')));
        Err(Error::unimplemented(if known {
            format!("unknown service {kind}.{method}")
        } else {
            format!("unknown service {kind}")
        }))
    }

    /// Endpoints sorted by name.
    pub(crate) fn sorted(&self) -> Vec<&Arc<Endpoint>> {
        let mut endpoints: Vec<_> = self.by_path.values().collect();
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        endpoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Raw};

    fn echo(name: &str) -> Endpoint {
        Endpoint::unary(name, |_, request: Raw| async move { Ok(request) })
    }

    fn routes() -> Routes {
        let mut routes = Routes::default();
        routes.add(echo("Greeter.Hello")).expect("a good name");
        routes
    }

    #[test]
    fn only_the_last_part_of_the_prefix_counts() {
        let routes = routes();
        for path in ["/Greeter/Hello", "/x.Greeter/Hello", "/any.thing.Greeter/Hello"] {
            assert_eq!(routes.find(path).expect(path).name(), "Greeter.Hello");
        }
    }

    #[test]
    fn wrong_paths_fail_with_go_micros_texts() {
        let routes = routes();
        for (path, code, text) in [
            ("/a/b/c", Code::InvalidArgument, r#"malformed method name: "/a/b/c""#),
            ("/", Code::InvalidArgument, r#"malformed method name: "/""#),
            ("Hello", Code::InvalidArgument, r#"malformed method name: "Hello""#),
            ("//Hello", Code::InvalidArgument, r#"malformed method name: "//Hello""#),
            ("/Greeter/", Code::InvalidArgument, r#"malformed method name: "/Greeter/""#),
            ("/x.Nope/Hello", Code::Unimplemented, "unknown service Nope"),
            ("/Greeter/Nope", Code::Unimplemented, "unknown service Greeter.Nope"),
            ("/Gree/Hello", Code::Unimplemented, "unknown service Gree"),
        ] {
            let error = routes.find(path).map(|_| ()).expect_err(path);
            assert_eq!((error.code(), error.detail()), (code, text));
        }
    }

    #[test]
    fn unusable_and_repeated_names_are_refused() {
        let mut routes = routes();
        for name in ["", "Hello", "A.B.C", "Greeter.", ".Hello", "Greeter.He llo", "A/B.C"] {
            let error = routes.add(echo(name)).expect_err(name);
            assert_eq!(error.code(), Code::InvalidArgument);
        }
        let error = routes.add(echo("Greeter.Hello")).expect_err("the second");
        assert_eq!(error.code(), Code::AlreadyExists);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_paths_never_panic(path in "\\PC{0,40}") {
            let _ = routes().find(&path);
        }
    }
}
