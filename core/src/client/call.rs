//! Calls being put together: what to call, with what, on which terms.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::handle::Client;
use super::layers::{
    AttemptLayers, AttemptRequest, AttemptResponse, AttemptWay, CallLayers, CallWay, Request,
    Response,
};
use super::options::CallOptions;
use super::seen::Seen;
use super::stream::Outgoing;
use super::target::Target;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::forward::Forward;
use crate::metadata::Metadata;
use crate::resilience::{Backoff, Retry};
use crate::selector::{Filter, Strategy};
use crate::streaming::Streaming;
use crate::transport::Compression;

/// A call, or a stream, that is being put together: `In` is what is sent, and `Out` what comes back.
///
/// Await it for its result. A [`Unary`] call, and one that sends many messages and receives one, can also be sent for
/// the whole [`Reply`]. A stream has no timeout unless one is set, but keeps the deadline of the call being served.
#[derive(Debug)]
#[must_use = "a call is made when it is awaited"]
pub struct Call<In, Out> {
    pub(super) client: Client,
    pub(super) target: Result<Arc<Target>>,
    pub(super) requests: In,
    pub(super) options: CallOptions,
    pub(super) layers: Option<Box<OwnLayers>>,
    kind: PhantomData<fn() -> Out>,
}

/// Layers of one call, within those of its client.
#[derive(Debug, Default)]
pub(super) struct OwnLayers {
    pub(super) calls: CallLayers,
    pub(super) attempts: AttemptLayers,
}

/// One request, one reply.
pub type Unary<Req, Res> = Call<One<Req>, Single<Res>>;

/// One request message.
#[derive(Debug)]
pub struct One<Req>(pub(super) Req);

/// Request messages from a stream.
#[derive(Debug)]
pub struct Many<S>(pub(super) S);

/// Request messages sent through an [`Outgoing`].
#[derive(Debug)]
pub struct Open<Req>(PhantomData<fn(Req)>);

impl<Req> Default for Open<Req> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Exactly one reply message.
#[derive(Debug)]
pub struct Single<Res>(PhantomData<fn() -> Res>);

/// Both halves of an open stream.
pub type Duplex<Req, Res> = (Outgoing<Req>, Streaming<Res>);

/// A reply with the metadata around it.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// The message.
    pub message: T,
    /// Whether the message came compressed.
    pub compressed: bool,
    /// Headers the handler set.
    pub headers: Metadata,
    /// Trailers the handler set.
    pub trailers: Metadata,
}

/// Each option has a method here that does what the same method of [`CallOptions`] does.
impl<In, Out> Call<In, Out> {
    pub(super) fn new(client: Client, service: &str, endpoint: &str, requests: In) -> Self {
        let target = client.target(service, endpoint);
        let options = CallOptions::new();
        Self { client, target, requests, options, layers: None, kind: PhantomData }
    }

    /// Puts a layer around this call, within those of its client; the first added is outermost. See
    /// [`ClientBuilder::layer`](super::ClientBuilder::layer).
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<CallWay> + Send + Sync + 'static,
        L::Service:
            Service<Request, Response = Response, Error = Error> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.layers.get_or_insert_default().calls.add(layer);
        self
    }

    /// Puts a layer around each attempt of this call, within those of its client; the first added is outermost. See
    /// [`ClientBuilder::attempt_layer`](super::ClientBuilder::attempt_layer).
    pub fn attempt_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<AttemptWay> + Send + Sync + 'static,
        L::Service: Service<AttemptRequest, Response = AttemptResponse, Error = Error>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<AttemptRequest>>::Future: Send + 'static,
    {
        self.layers.get_or_insert_default().attempts.add(layer);
        self
    }

    fn with(mut self, set: impl FnOnce(CallOptions) -> CallOptions) -> Self {
        self.options = set(self.options);
        self
    }

    /// Lays options on top of those the call has: see [`CallOptions`].
    pub fn options(self, options: impl Into<CallOptions>) -> Self {
        self.with(|own| own.options(options))
    }

    /// Time for the whole call, retries included.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.timeout(timeout))
    }

    /// Waits for ever, unless the call being served has a deadline.
    pub fn no_timeout(self) -> Self {
        self.with(|options| options.no_timeout())
    }

    /// Sends a header.
    pub fn metadata(self, name: &str, value: &str) -> Self {
        self.with(|options| options.metadata(name, value))
    }

    /// Sends all of these headers too, each value beside what its name has already.
    pub fn metadata_all(self, metadata: Metadata) -> Self {
        self.with(|options| options.metadata_all(metadata))
    }

    /// Says which headers of the call being served go on with this one, see [`Forward`].
    pub fn forward(self, rule: Forward) -> Self {
        self.with(|options| options.forward(rule))
    }

    /// Chooses the codec by content type, for example `application/grpc+json`.
    pub fn content_type(self, content_type: &str) -> Self {
        self.with(|options| options.content_type(content_type))
    }

    /// Calls this address (`host:port`, `https://host`) instead of asking the registry; given several times, attempts rotate over them.
    pub fn address(self, address: impl Into<String>) -> Self {
        self.with(|options| options.address(address))
    }

    /// Calls only nodes that meet this condition; several must all be met.
    pub fn filter(self, filter: Filter) -> Self {
        self.with(|options| options.filter(filter))
    }

    /// Chooses among nodes with this strategy.
    pub fn strategy(self, strategy: Arc<dyn Strategy>) -> Self {
        self.with(|options| options.strategy(strategy))
    }

    /// Calls with equal keys go to the same node while the fleet stays the same, unless a strategy is chosen that heeds no keys.
    pub fn key(self, key: impl Into<Vec<u8>>) -> Self {
        self.with(|options| options.key(key))
    }

    /// Says whether repeating the call is harmless, whatever the endpoint says.
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.with(|options| options.idempotent(idempotent))
    }

    /// Whether a call waits, within its deadline, until its service has a node that takes connections; it fails at once unless set.
    pub fn wait_for_ready(self, wait: bool) -> Self {
        self.with(|options| options.wait_for_ready(wait))
    }

    /// Attempts after the first, 2 unless set, 100 at most.
    pub fn retries(self, retries: u32) -> Self {
        self.with(|options| options.retries(retries))
    }

    /// Which failures are tried again; [`Retry::Safe`] unless set.
    pub fn retry(self, retry: Retry) -> Self {
        self.with(|options| options.retry(retry))
    }

    /// How long to wait between attempts.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|options| options.backoff(backoff))
    }

    /// Retries exactly as go-micro v2 does: once, on codes 408 and 500, whatever the endpoint, after waits of its formula without jitter.
    pub fn go_micro_retries(self) -> Self {
        self.with(|options| options.go_micro_retries())
    }

    /// Compresses requests; those of a stream may be left out one by one.
    pub fn compression(self, compression: Compression) -> Self {
        self.with(|options| options.compression(compression))
    }

    /// Sends requests as they are, whatever was set before.
    pub fn no_compression(self) -> Self {
        self.with(|options| options.no_compression())
    }

    /// Makes the call part of this inbound one: its deadline, trace and metadata go on.
    pub fn context(self, context: &Context) -> Self {
        self.with(|options| options.context(context))
    }

    /// Makes the call part of nothing, even inside a handler.
    pub fn detached(self) -> Self {
        self.with(|options| options.detached())
    }

    /// Keeps the reply for this long, and answers equal calls of the client with it: see [`CallOptions::cached`].
    pub fn cached(self, time: Duration) -> Self {
        self.with(|options| options.cached(time))
    }

    /// Tells what the answer says around its messages, also when the call fails.
    pub fn seen(self, seen: &Seen) -> Self {
        self.with(|options| options.seen(seen))
    }
}
