//! What a service is made of, and its way up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::Stream;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tower_layer::Layer;

use super::address::Advertised;
use super::bounded::{bounded, is_permanent};
use super::heartbeat::{Beat, Heartbeat};
use super::signal::Signals;
use super::{Service, not_started};
use crate::client::{Client, ClientBuilder};
use crate::codec::Message;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::registry::{self, Labels, Node, Registry};
use crate::server::{BoxFuture, Endpoint, Handler, Request, Response, Server, ServerBuilder};
use crate::settings::range;
use crate::streaming::Streaming;
use crate::transport::ServerTls;
use crate::transport::network::Network;

/// Longest service name; it has to fit registries and paths.
const MAX_NAME: usize = 200;

/// Time to live of a registration, and how often it is renewed, unless set.
const TTL: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(30);

/// Something to do at a moment of the lifecycle.
#[derive(Clone)]
pub(super) struct Hook(Arc<dyn Fn() -> BoxFuture<Result<()>> + Send + Sync>);

impl Hook {
    fn new<F, R>(hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(hook())))
    }

    /// Its work, which begins when it is polled: whatever it does is under the caller's guard.
    pub(super) async fn run(&self) -> Result<()> {
        (self.0)().await
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// Settings of a service to be. Later settings replace earlier ones; endpoints, layers and hooks
/// add up.
#[derive(Debug)]
#[must_use = "a service is started by `start` or `run`"]
pub struct ServiceBuilder {
    name: String,
    version: String,
    id: Option<String>,
    advertise: Option<String>,
    metadata: Labels,
    registry: Option<Arc<dyn Registry>>,
    server: ServerBuilder,
    client: ClientBuilder,
    ttl: Option<Duration>,
    interval: Option<Duration>,
    register_limit: Duration,
    hook_limit: Duration,
    propagation: Duration,
    check: Option<Hook>,
    signals: bool,
    shutdown: Option<CancellationToken>,
    before_start: Vec<Hook>,
    after_start: Vec<Hook>,
    before_stop: Vec<Hook>,
    after_stop: Vec<Hook>,
}

impl ServiceBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            server: Server::builder(name.as_str()).registered(),
            client: Client::builder().name(&name),
            name,
            version: "latest".to_owned(),
            id: None,
            advertise: None,
            metadata: Labels::new(),
            registry: None,
            ttl: None,
            interval: None,
            register_limit: Duration::from_secs(10),
            hook_limit: Duration::from_secs(60),
            propagation: Duration::from_millis(100),
            check: None,
            signals: true,
            shutdown: None,
            before_start: Vec::new(),
            after_start: Vec::new(),
            before_stop: Vec::new(),
            after_stop: Vec::new(),
        }
    }

    /// Answers one request with one reply.
    pub fn endpoint<Req, Res, F, R>(self, name: &str, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Req) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Res>> + Send + 'static,
    {
        self.handle(Endpoint::unary(name, handler))
    }

    /// Answers one request with many replies.
    pub fn server_stream<Req, Res, F, R, S>(self, name: &str, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Req) -> R + Send + Sync + 'static,
        R: Future<Output = Result<S>> + Send + 'static,
        S: Stream<Item = Result<Res>> + Send + 'static,
    {
        self.handle(Endpoint::server_stream(name, handler))
    }

    /// Answers many requests with one reply.
    pub fn client_stream<Req, Res, F, R>(self, name: &str, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Streaming<Req>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Res>> + Send + 'static,
    {
        self.handle(Endpoint::client_stream(name, handler))
    }

    /// Answers many requests with many replies, in any order.
    pub fn bidi_stream<Req, Res, F, R, S>(self, name: &str, handler: F) -> Self
    where
        Req: Message,
        Res: Message,
        F: Fn(Context, Streaming<Req>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<S>> + Send + 'static,
        S: Stream<Item = Result<Res>> + Send + 'static,
    {
        self.handle(Endpoint::bidi_stream(name, handler))
    }

    /// Adds an endpoint that needs more than a name: labels, idempotency, no advertisement.
    pub fn handle(mut self, endpoint: Endpoint) -> Self {
        self.server = self.server.handle(endpoint);
        self
    }

    /// Puts tower middleware around every call, streams included; the first added is outermost.
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
        self.server = self.server.layer(layer);
        self
    }

    /// Version callers may filter by, `latest` unless set.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Id of this instance, a random UUID unless set. The node's id is `<name>-<id>`.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Label of this node, which callers may filter by.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Address to listen on: `MICRO_SERVER_ADDRESS`, or any address and a free port, unless set.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.server = self.server.address(address);
        self
    }

    /// Address to register instead of the one listened on, for nodes behind a translation.
    /// `MICRO_SERVER_ADVERTISE` unless set.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Registers here instead of in the registry named by `MICRO_REGISTRY`.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// How long the registry keeps the node without a heartbeat, 60 s unless set, or twice a
    /// [`ServiceBuilder::register_interval`] that is set. The start refuses what is not longer than
    /// that interval.
    pub fn register_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How often the node is registered anew, 30 s unless set, or half of a
    /// [`ServiceBuilder::register_ttl`] that is shorter than 60 s. The start refuses an interval of
    /// zero.
    pub fn register_interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// How long one request to the registry, and one run of the register check, may take, 10 s
    /// unless set. What takes longer has failed: a registration is tried again, a check keeps the
    /// node out, a stop goes on. [`Duration::MAX`] waits for ever.
    pub fn register_timeout(mut self, limit: Duration) -> Self {
        self.register_limit = limit;
        self
    }

    /// How long each hook may take, 60 s unless set. One before or after the start that takes longer
    /// ends the start, one around the stop is left behind. [`Duration::MAX`] waits for ever.
    pub fn hook_timeout(mut self, limit: Duration) -> Self {
        self.hook_limit = limit;
        self
    }

    /// Asked before each registration; while it fails, panics or takes longer than
    /// [`ServiceBuilder::register_timeout`], the node is not registered and health checks answer
    /// `NOT_SERVING`.
    pub fn register_check<F, R>(mut self, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.check = Some(Hook::new(check));
        self
    }

    /// How long a stopping service serves on after it deregistered, so that callers hear of it,
    /// 100 ms unless set.
    pub fn propagation(mut self, delay: Duration) -> Self {
        self.propagation = delay;
        self
    }

    /// How long running calls may go on after that, 10 s unless set.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.server = self.server.grace(grace);
        self
    }

    /// Serves and calls on this network instead of TCP.
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.server = self.server.network(network.clone());
        self.client = self.client.network(network);
        self
    }

    /// Serves TLS.
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.server = self.server.tls(tls);
        self
    }

    /// Sets anything else of the server, for example its limits.
    pub fn server(mut self, set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        self.server = set(self.server);
        self
    }

    /// Sets anything of the client that [`Service::client`] returns.
    pub fn client(mut self, set: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.client = set(self.client);
        self
    }

    /// The same where setting may fail.
    pub(crate) fn try_client(
        mut self,
        set: impl FnOnce(ClientBuilder) -> Result<ClientBuilder>,
    ) -> Result<Self> {
        self.client = set(self.client)?;
        Ok(self)
    }

    /// Whether [`ServiceBuilder::run`] ends on SIGTERM, SIGINT and SIGQUIT; it does unless told not to.
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.signals = handle;
        self
    }

    /// Ends [`ServiceBuilder::run`] when this token is cancelled.
    pub fn shutdown_on(mut self, token: CancellationToken) -> Self {
        self.shutdown = Some(token);
        self
    }

    /// Runs before the server listens; an error ends the start.
    pub fn before_start<F, R>(mut self, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.before_start.push(Hook::new(hook));
        self
    }

    /// Runs when the service is registered; an error stops it again.
    pub fn after_start<F, R>(mut self, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.after_start.push(Hook::new(hook));
        self
    }

    /// Runs before the service deregisters.
    pub fn before_stop<F, R>(mut self, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.before_stop.push(Hook::new(hook));
        self
    }

    /// Runs when nothing is served any more.
    pub fn after_stop<F, R>(mut self, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.after_stop.push(Hook::new(hook));
        self
    }

    /// Starts, and serves until a signal or the shutdown token; then stops in order. A second
    /// signal ends the wait for running calls.
    ///
    /// # Errors
    /// As [`ServiceBuilder::start`] and [`Service::stop`].
    pub async fn run(self) -> Result<()> {
        let mut signals = if self.signals { Some(Signals::listen()?) } else { None };
        let shutdown = self.shutdown.clone().unwrap_or_default();
        let service = self.start().await?;
        let name = service.name().to_owned();
        let signal = async |signals: &mut Option<Signals>| match signals {
            Some(signals) => signals.next().await,
            None => std::future::pending().await,
        };
        tokio::select! {
            received = signal(&mut signals) => tracing::info!(service = name, received, "stopping"),
            () = shutdown.cancelled() => tracing::info!(service = name, "stopping"),
        }
        tokio::select! {
            stopped = service.stop() => stopped,
            received = signal(&mut signals) => Err(Error::cancelled(format!(
                "service {name} was ended by a second {received}: running calls were cut off"
            ))),
        }
    }

    /// Starts and registers.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a wrong name, option or endpoint, `UNAVAILABLE` when the address
    /// cannot be bound, whatever a start hook says, and what the registry says when it will never
    /// take this service; nothing is left running then. A registry that is down is no error: the
    /// service serves, and registers when it can.
    pub async fn start(mut self) -> Result<Service> {
        let name = self.name.clone();
        self.check_name()?;
        self.check()?;
        let (ttl, interval) = self.rhythm()?;
        self.read_environment();
        for hook in &self.before_start {
            let run = bounded("a hook before the start", self.hook_limit, hook.run());
            run.await.map_err(|error| not_started(&name, &error))?;
        }
        let registry = match self.registry.take() {
            Some(registry) => registry,
            None => registry::from_environment()?,
        };
        let client = self.client.registry(registry.clone()).build()?;
        let server = self.server.start().await?;
        let ready = async { registry.ready().await };
        match bounded("the registry", self.register_limit, ready).await {
            Err(error) if is_permanent(&error) => return Err(not_started(&name, &error)),
            Err(error) => tracing::warn!(service = name, %error, "the registry is not ready"),
            Ok(()) => {}
        }
        let id = self.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let mut metadata = self.metadata;
        for (key, value) in [
            // What go-micro's nodes say of themselves; its clients go by `protocol`.
            ("protocol", "grpc"),
            ("server", "grpc"),
            ("transport", "grpc"),
            ("broker", "memory"),
            ("registry", registry.name()),
        ] {
            metadata.insert(key.into(), value.into());
        }
        let advertised = Advertised::new(self.advertise.as_deref(), server.address());
        let address = advertised.resolved();
        if let Some(tls) = server.tls() {
            metadata.insert(registry::TLS.into(), "true".into());
            if let Some(name) = tls.name_beside(&address) {
                metadata.insert(registry::TLS_NAME.into(), name);
            }
        }
        let record = registry::Service {
            name: name.clone(),
            version: self.version,
            metadata: Labels::new(),
            endpoints: server.endpoints().to_vec(),
            nodes: vec![Node { id: format!("{name}-{id}"), address, metadata }],
        };
        let (version, address) = (record.version.clone(), record.nodes[0].address.clone());
        let record = Arc::new(ArcSwap::from_pointee(record));
        let heartbeat = Heartbeat::start(Beat {
            registry,
            record: record.clone(),
            advertised,
            ttl,
            interval,
            limit: self.register_limit,
            check: self.check,
            health: server.health().clone(),
        });
        let heartbeat = heartbeat.await.map_err(|error| not_started(&name, &error))?;
        tracing::info!(service = name, version, address, "serving");
        let service = Service {
            name: name.clone(),
            record,
            server,
            client,
            heartbeat: Mutex::new(Some(heartbeat)),
            before_stop: self.before_stop,
            after_stop: self.after_stop,
            propagation: self.propagation,
            register_limit: self.register_limit,
            hook_limit: self.hook_limit,
        };
        for hook in &self.after_start {
            let run = bounded("a hook after the start", self.hook_limit, hook.run());
            if let Err(error) = run.await {
                // Its own error matters more than what goes wrong on the way down.
                let _ = service.stop().await;
                return Err(not_started(&name, &error));
            }
        }
        Ok(service)
    }

    /// Refuses options that make no sense, before anything is begun.
    fn check(&self) -> Result<()> {
        range::VERSION.text(&self.version)?;
        self.id.as_deref().map_or(Ok(()), |id| range::ID.text(id))?;
        range::PROPAGATION.time(self.propagation)?;
        self.server.check()?;
        self.client.check()
    }

    /// The time to live and the interval, where one may follow from the other.
    fn rhythm(&self) -> Result<(Duration, Duration)> {
        let interval = self.interval.unwrap_or_else(|| {
            INTERVAL.min(self.ttl.unwrap_or(TTL) / 2).max(Duration::from_millis(1))
        });
        let ttl = self.ttl.unwrap_or_else(|| TTL.max(interval.saturating_mul(2)));
        let wrong =
            |why: &str| Err(Error::invalid_argument(format!("service {}: {why}", self.name)));
        if interval.is_zero() {
            return wrong("register_interval is zero: set how often to register, such as 30 s");
        }
        if ttl <= interval && ttl != Duration::MAX {
            return wrong(&format!(
                "register_ttl ({ttl:?}) is not longer than register_interval ({interval:?}): the node \
                 would be forgotten between two registrations; set a longer one, such as twice the \
                 interval"
            ));
        }
        Ok((ttl, interval))
    }

    fn check_name(&self) -> Result<()> {
        let usable = !self.name.is_empty()
            && self.name.len() <= MAX_NAME
            && self.name.split('.').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if usable {
            return Ok(());
        }
        Err(Error::invalid_argument(format!(
            "service name `{}`: use letters, digits, `-`, `_` and single dots, for example go.micro.srv.greeter",
            self.name
        )))
    }

    /// What the program left open is taken from the variables go-micro reads.
    fn read_environment(&mut self) {
        let read = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        if self.advertise.is_none() {
            self.advertise = read("MICRO_SERVER_ADVERTISE");
        }
        self.server.default_address(read("MICRO_SERVER_ADDRESS"));
    }
}
