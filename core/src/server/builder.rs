//! What a server is made of before it listens: endpoints, middleware, limits.

mod limits;
mod told;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tower_layer::Layer;

use super::admission::{Admission, Gates, Pressure};
use super::cors::Cors;
use super::described::{Descriptors, describe};
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
    pub(super) descriptors: Descriptors,
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
            descriptors: Descriptors::default(),
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

    /// Says what types without descriptors look like, by an encoded `google.protobuf.FileDescriptorSet` with all that it imports:
    /// the file that `file_descriptor_set_path` of `prost-build` and `tonic-prost-build` has written. Repeat it for more.
    ///
    /// It is for endpoints whose messages are [`Proto`](crate::Proto), which are those of a method of their name, `Greeter.Hello`
    /// or with the package, and for services that are mounted with `tonic`. The registry and reflection then know their types,
    /// and callers may send JSON. A mounted service has its methods as endpoints, with their shapes; one that is declared to have
    /// no side effects may be repeated, and asked for by GET.
    ///
    /// [`ServerBuilder::start`] refuses what is no such set, and an endpoint that streams otherwise than its method.
    pub fn descriptors(mut self, set: &[u8]) -> Self {
        self.descriptors.add(set);
        self
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
        let pools = std::mem::take(&mut self.descriptors).pools()?;
        self.routes.each().try_for_each(|endpoint| describe(endpoint, &pools))?;
        #[cfg(feature = "tonic")]
        self.mounted.settle(&mut self.routes, &pools)?;
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
