//! What a server is made of before it listens: endpoints, middleware, limits.

mod told;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tower_layer::Layer;

use super::admission::{Admission, Gates, Pressure};
use super::cors::Cors;
use super::dispatch::Dispatch;
use super::endpoint::{Endpoint, Role};
use super::handler::{Handler, Request, Response};
use super::health::Health;
use super::listener::{Limits, Listening};
#[cfg(feature = "tonic")]
use super::mounted::Mounted;
use super::routes::{Chosen, Routes};
use super::running::Server;
use super::{debug, reflection};
use crate::context::Home;
use crate::error::{Error, Result};
use crate::middleware::{Layers, from_fn};
use crate::resilience::Limiter;
use crate::settings::range;
use crate::shape::Shape;
use crate::telemetry::Metrics;
use crate::transport::network::{Network, Tcp};
use crate::transport::{Compression, DEFAULT_MAX_BUFFERED, DEFAULT_MAX_MESSAGE, ServerTls};

/// Any address, any free port: go-micro's default.
const ANY_ADDRESS: &str = ":0";

/// Endpoints and limits of a server to be.
#[must_use = "a server is started by `start`"]
pub struct ServerBuilder {
    name: Arc<str>,
    home: Arc<Home>,
    registered: bool,
    network: Arc<dyn Network>,
    address: Option<String>,
    routes: Routes,
    layers: Option<Handler>,
    pending: Vec<Box<dyn FnOnce(Handler) -> Handler + Send>>,
    chosen: Vec<Chosen>,
    layer_standard: bool,
    fallback: Option<Endpoint>,
    /// Standard endpoints of what is around the server.
    standard: Vec<Endpoint>,
    wrong: Option<Error>,
    limits: Limits,
    max_calls: usize,
    limiter: Limiter,
    max_message: usize,
    patience: Duration,
    compression: Option<Compression>,
    origins: Vec<String>,
    grace: Duration,
    #[cfg(feature = "tonic")]
    pub(crate) mounted: Mounted,
}

impl Server {
    /// A server of the service `name`.
    pub fn builder(name: impl Into<Arc<str>>) -> ServerBuilder {
        ServerBuilder::new(name.into())
    }
}

impl ServerBuilder {
    /// Adds an endpoint that is there as health and reflection are, unless the program brings its own of that name.
    pub(crate) fn standard(mut self, endpoint: Endpoint) -> Self {
        self.standard.push(endpoint);
        self
    }

    /// The registry has the server under its name, and under no other: calls that looked another one up are refused.
    pub(crate) fn registered(mut self) -> Self {
        self.registered = true;
        self
    }

    /// Where the server is at home, as the contexts of its calls know it.
    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    fn new(name: Arc<str>) -> Self {
        Self {
            home: Arc::new(Home::new(name.clone())),
            name,
            registered: false,
            network: Arc::new(Tcp),
            address: None,
            routes: Routes::default(),
            layers: None,
            pending: Vec::new(),
            chosen: Vec::new(),
            layer_standard: false,
            fallback: None,
            standard: Vec::new(),
            wrong: None,
            limits: Limits {
                max_connections: None,
                max_streams: 1_000,
                max_headers: 64 * 1024,
                keepalive: Some(Duration::from_secs(60)),
                max_connection_age: None,
                handshake: Duration::from_secs(10),
                idle: Duration::from_secs(75),
                max_unsent: 64 * 1024 * 1024,
                max_buffered: DEFAULT_MAX_BUFFERED,
                max_buffered_per_connection: 64 * 1024 * 1024,
                tls: None,
            },
            max_calls: 16_384,
            limiter: Limiter::default(),
            max_message: DEFAULT_MAX_MESSAGE,
            patience: Duration::from_secs(30),
            compression: None,
            origins: Vec::new(),
            grace: Duration::from_secs(10),
            #[cfg(feature = "tonic")]
            mounted: Mounted::default(),
        }
    }

    /// Address to listen on; `:0`, any address and a free port, unless set. Of `:8000-8010` the first free port is taken.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Takes connections from this network instead of TCP.
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Goes by another name.
    pub(crate) fn rename(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Origins whose web pages may call, instead of those that were allowed before.
    pub(crate) fn allow_origins(mut self, origins: Vec<String>) -> Self {
        self.origins = origins;
        self
    }

    /// Adds an endpoint. A wrong name is reported by [`ServerBuilder::start`].
    pub fn handle(mut self, endpoint: Endpoint) -> Self {
        if let Err(error) = self.routes.add(endpoint) {
            self.wrong.get_or_insert(error);
        }
        self
    }

    /// Puts tower middleware around every call, streams included. The first one added is the
    /// outermost.
    ///
    /// What every server has, health checks, reflection and go-micro's `Debug`, stays outside, so that a layer that
    /// authenticates keeps no probe from its answer: see [`ServerBuilder::layer_standard_endpoints`].
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Handler> + Send + 'static,
        L::Service: tower_service::Service<Request, Response = Response, Error = Error>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as tower_service::Service<Request>>::Future: Send + 'static,
    {
        self.pending.push(Box::new(move |inner| inner.wrap(&layer)));
        self
    }

    /// Puts a function around every call, as [`ServerBuilder::layer`] does a layer; see
    /// [`middleware`](crate::middleware).
    pub fn layer_fn<F, R>(self, function: F) -> Self
    where
        F: Fn(Request, Handler) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        self.layer(from_fn(function))
    }

    /// Puts tower middleware around the calls of these endpoints alone, named as in `Greeter.Hello`. It stands within
    /// the layers around every call, and around those of [`Endpoint::layer`]; the first one added is the outermost.
    /// [`ServerBuilder::start`] refuses names that no endpoint has.
    pub fn layer_for<N, L>(mut self, endpoints: N, layer: L) -> Self
    where
        N: IntoIterator,
        N::Item: Into<String>,
        L: Layer<Handler> + Send + Sync + 'static,
        L::Service: tower_service::Service<Request, Response = Response, Error = Error>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as tower_service::Service<Request>>::Future: Send + 'static,
    {
        let mut layers = Layers::default();
        layers.add(layer);
        self.chosen.push((endpoints.into_iter().map(Into::into).collect(), layers));
        self
    }

    /// Whether layers also stand around what every server has: health checks, reflection and go-micro's `Debug`. They
    /// do not unless set.
    pub fn layer_standard_endpoints(mut self, layer: bool) -> Self {
        self.layer_standard = layer;
        self
    }

    /// Answers calls of endpoints that are not there, behind all layers: for proxies, and for services that learn of
    /// their endpoints as they run. It is given the messages as a stream, and answers with one or a stream; the path
    /// that was called is the extension [`Path`](super::Path) of the context. Without it such calls end in `UNIMPLEMENTED`.
    ///
    /// ```
    /// use micro::Error;
    /// use micro::server::{Path, Server};
    ///
    /// let server = Server::builder("edge").fallback(|request| async move {
    ///     let path = request.context.extension::<Path>();
    ///     Err(Error::not_found(format!("nothing at {}", path.as_ref().map_or("", Path::as_str))))
    /// });
    /// ```
    pub fn fallback<F, R>(mut self, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        let mut endpoint = Endpoint::raw("*", Shape::BidiStream, handler);
        endpoint.role = Role::Fallback;
        self.fallback = Some(endpoint);
        self
    }

    /// Serves TLS, and nothing else: a client that begins in plain text is told so.
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.limits.tls = Some(tls);
        self
    }

    /// Calls that may run at once, 16 384 unless set; more are answered `RESOURCE_EXHAUSTED`. A call has its place once its
    /// request is there; as many, and 1 024 at least, may wait for the end of theirs. The last eighth of either is shared by
    /// all connections: one that has its part of what is free gets no more while others are open.
    pub fn max_concurrent_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Refuses calls before they wait in line for too long, [`Limiter::adaptive`] unless set. The
    /// bound of [`ServerBuilder::max_concurrent_calls`] stays.
    pub fn limiter(mut self, limiter: Limiter) -> Self {
        self.limiter = limiter;
        self
    }

    /// Connections that may be open at once, 10 000 unless set, and no more than leave some of the open files that the system
    /// allows for (`ulimit -n`). Where there are as many, the one that has been without a call for longest is closed for each
    /// new one; where none is idle, new ones wait to be accepted.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.limits.max_connections = Some(connections);
        self
    }

    /// Calls that may run at once on one connection, 1 000 unless set; HTTP/2 clients queue more.
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.limits.max_streams = streams;
        self
    }

    /// Largest message accepted, in bytes, 4 MiB unless set; more ends in `RESOURCE_EXHAUSTED`.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Bytes of headers accepted per call, 64 KiB unless set.
    pub fn max_header_size(mut self, bytes: u32) -> Self {
        self.limits.max_headers = bytes;
        self
    }

    /// Compresses answers of 256 bytes and more for clients that can read it. Requests may be
    /// compressed in any case.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Lets web pages of `origin`, such as `https://app.example`, call this server from a browser
    /// (CORS); `*` is any origin. None may unless this is called, once for each.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// How often an idle connection is probed, 60 s unless set; a peer that does not answer within
    /// 20 s is dropped. `None` never probes.
    pub fn keepalive(mut self, interval: Option<Duration>) -> Self {
        self.limits.keepalive = interval;
        self
    }

    /// Tells clients to reconnect after about this long, so that load spreads over new nodes.
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.limits.max_connection_age = Some(age);
        self
    }

    /// Bytes of replies a connection may keep by not taking them, 64 MiB unless set; further calls of
    /// that connection wait. Replies under 16 KiB are not counted.
    pub fn max_unsent_replies(mut self, bytes: usize) -> Self {
        self.limits.max_unsent = bytes;
        self
    }

    /// Bytes of request messages held at once, inflated, 256 MiB unless set: of those that are coming in, and of calls until
    /// their handlers are done, or have asked for the next message. What finds no room waits, and its caller too; after 5 s
    /// it is refused with `RESOURCE_EXHAUSTED`. A connection may hold as much as stays free for others. Four messages of
    /// [`ServerBuilder::max_message_size`] have room in any case, and messages under 16 KiB are not counted.
    pub fn max_buffered(mut self, bytes: usize) -> Self {
        self.limits.max_buffered = bytes;
        self
    }

    /// Bytes of [`ServerBuilder::max_buffered`] that one connection may hold, 64 MiB unless set; two messages of
    /// [`ServerBuilder::max_message_size`] have room in any case.
    pub fn max_buffered_per_connection(mut self, bytes: usize) -> Self {
        self.limits.max_buffered_per_connection = bytes;
        self
    }

    /// How long a peer may take for its TLS handshake, for its first bytes and for the head of each request once that has
    /// begun, 10 s each unless set; then its connection is closed.
    pub fn handshake_timeout(mut self, patience: Duration) -> Self {
        self.limits.handshake = patience;
        self
    }

    /// How long the message of a request may take to come, 30 s unless set, and a millisecond more for each of its bytes: a
    /// slow upload goes on, one that stands still ends in `DEADLINE_EXCEEDED`. In a stream it counts for each message that
    /// has begun.
    pub fn body_timeout(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a connection of HTTP/1.1 is kept open between requests, 75 s unless set, which is more than proxies keep
    /// theirs. Those of HTTP/2 are probed instead: see [`ServerBuilder::keepalive`].
    pub fn idle_timeout(mut self, patience: Duration) -> Self {
        self.limits.idle = patience;
        self
    }

    /// How long running calls may go on after a stop, 10 s unless set; [`Duration::MAX`] is as long as they take.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Refuses options that make no sense.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the option, its value and its range.
    pub(crate) fn check(&self) -> Result<()> {
        let limits = &self.limits;
        range::MAX_CONCURRENT_CALLS.number(self.max_calls)?;
        limits.max_connections.map_or(Ok(()), |most| range::MAX_CONNECTIONS.number(most))?;
        range::MAX_CONCURRENT_STREAMS.number(limits.max_streams)?;
        range::MAX_MESSAGE_SIZE.number(self.max_message)?;
        range::MAX_HEADER_SIZE.number(limits.max_headers)?;
        range::MAX_UNSENT_REPLIES.number(limits.max_unsent)?;
        range::MAX_BUFFERED.number(limits.max_buffered)?;
        range::MAX_BUFFERED_PER_CONNECTION.number(limits.max_buffered_per_connection)?;
        range::KEEPALIVE.time(limits.keepalive)?;
        range::MAX_CONNECTION_AGE.time(limits.max_connection_age)?;
        range::HANDSHAKE_TIMEOUT.time(limits.handshake)?;
        range::BODY_TIMEOUT.time(self.patience)?;
        range::IDLE_TIMEOUT.time(limits.idle)?;
        self.limiter.check(self.max_calls)?;
        self.origins.iter().try_for_each(|origin| {
            range::origin(origin)
                .map_err(|why| Error::invalid_argument(format!("allow_origin: {why}")))
        })
    }

    /// Listens and serves.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an option out of its range, `INVALID_ARGUMENT` or `ALREADY_EXISTS` for a wrong endpoint,
    /// `UNAVAILABLE` when the address cannot be bound.
    pub async fn start(mut self) -> Result<Server> {
        self.check()?;
        if let Some(error) = self.wrong {
            return Err(error);
        }
        #[cfg(feature = "tonic")]
        self.mounted.settle(&mut self.routes)?;
        let metrics = Arc::new(Metrics::default());
        let health = Health::default();
        health.set("", true);
        health.set(&self.name, true);
        let admission = Arc::new(Admission {
            service: self.name.clone(),
            in_flight: Arc::default(),
            unfinished: Arc::default(),
            connections: Arc::default(),
            max_calls: self.max_calls,
            line: self.limiter.standing_queue(),
            shed: AtomicU64::new(0),
        });
        self.routes.wrap(&self.chosen)?;
        self.routes.limit(&self.limiter, self.max_calls);
        let gates = Gates::of(&self.routes);
        let pressure = Pressure { admission: admission.clone(), gates: gates.clone() };
        let debug = debug::endpoints(metrics.clone(), health.clone(), pressure);
        for mut endpoint in debug.into_iter().chain(std::mem::take(&mut self.standard)) {
            endpoint.role = Role::Standard;
            // A service may bring its own `Debug`; then that one answers.
            let _ = self.routes.add(endpoint);
        }
        let mut standard = Routes::default();
        let endpoints = self.routes.sorted();
        let (mut reflection, names) =
            reflection::endpoint(&self.name, &endpoints, &self.routes.undescribed());
        reflection.role = Role::Standard;
        for name in &names {
            health.set(name, true);
        }
        standard.add(reflection)?;
        for mut endpoint in health.endpoints() {
            endpoint.role = Role::Standard;
            standard.add(endpoint)?;
        }
        let advertised = endpoints.iter().filter(|e| !e.internal).map(|endpoint| endpoint.record());
        #[cfg(feature = "tonic")]
        let advertised = advertised.chain(self.routes.mounts.records());
        let mut advertised: Vec<_> = advertised.collect();
        advertised.sort_by(|one, other| one.name.cmp(&other.name));
        if !self.pending.is_empty() {
            let routed = Handler::routed();
            self.layers =
                Some(self.pending.into_iter().rev().fold(routed, |inner, wrap| wrap(inner)));
        }
        let dispatch = Arc::new(Dispatch {
            service: self.name,
            home: self.home,
            registered: self.registered,
            routes: self.routes,
            standard,
            fallback: self.fallback.map(Arc::new),
            layers: self.layers,
            layer_standard: self.layer_standard,
            metrics: metrics.clone(),
            admission: admission.clone(),
            max_message: self.max_message,
            patience: self.patience,
            compression: self.compression,
            cors: (!self.origins.is_empty()).then(|| Cors::new(self.origins)),
        });
        let tls = self.limits.tls.clone();
        let address = self.address.as_deref().unwrap_or(ANY_ADDRESS);
        let listening = Listening::bind(&*self.network, address, self.limits, dispatch).await?;
        Ok(Server {
            listening,
            health,
            metrics,
            admission,
            gates,
            endpoints: advertised,
            tls,
            grace: self.grace,
        })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("name", &self.name)
            .field("address", &self.address)
            .field("endpoints", &self.routes.sorted())
            .field("network", &self.network)
            .field("limits", &self.limits)
            .field("max_calls", &self.max_calls)
            .field("limiter", &self.limiter)
            .field("max_message", &self.max_message)
            .field("patience", &self.patience)
            .field("compression", &self.compression)
            .field("origins", &self.origins)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}
