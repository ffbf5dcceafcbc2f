//! What a service is made of.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio_util::sync::CancellationToken;
use tower_layer::Layer;

use super::hook::{Hook, Hooks, Moment};
use super::probe::Probe;
use crate::broker::{Broker, Delivered, Incoming, MessageErrors, MessageHandler, Subscriber};
use crate::client::{Client, ClientBuilder};
use crate::codec::Message;
use crate::config::Config;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::jobs::{Interval, Job};
use crate::middleware::{Layers, from_fn};
use crate::registry::{Labels, Registry};
use crate::server::{Endpoint, Handler, Request, Response, Server, ServerBuilder};
use crate::settings::{HIDDEN, Operator, UrlSetting};
use crate::store::Store;
use crate::streaming::Streaming;
use crate::transport::network::Network;

/// Settings of a service to be. Later settings replace earlier ones; endpoints, layers and hooks
/// add up.
#[derive(Debug)]
#[must_use = "a service is started by `start` or `run`"]
pub struct ServiceBuilder {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) id: Option<String>,
    pub(super) advertise: Option<String>,
    pub(super) metadata: Labels,
    pub(super) registry: Option<Arc<dyn Registry>>,
    /// Used where no registry is given.
    pub(super) registry_url: Option<UrlSetting>,
    pub(super) broker: Option<Arc<dyn Broker>>,
    /// Used where no broker is given.
    pub(super) broker_url: Option<UrlSetting>,
    pub(super) store: Option<Arc<dyn Store>>,
    /// Used where no store is given.
    pub(super) store_url: Option<UrlSetting>,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) message_layers: Layers<Incoming, ()>,
    pub(super) message_errors: Option<MessageErrors>,
    pub(super) jobs: Vec<Job>,
    pub(super) operator: Operator,
    pub(super) server: ServerBuilder,
    pub(super) client: ClientBuilder,
    pub(super) ttl: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) register_limit: Duration,
    pub(super) propagation: Duration,
    pub(super) check: Option<Hook>,
    /// Asked beside that.
    pub(super) probe: Option<Probe>,
    /// Nothing is said at the start.
    pub(super) quiet: bool,
    /// It is the whole of a program.
    pub(super) is_program: bool,
    /// A network other than TCP, as it was named.
    pub(super) network: Option<String>,
    pub(super) signals: bool,
    pub(super) shutdown: Option<CancellationToken>,
    pub(super) hooks: Hooks,
}

impl ServiceBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            server: Server::builder(name.as_str()).registered(),
            client: Client::builder().name(&name).environment(false),
            name,
            version: "latest".to_owned(),
            id: None,
            advertise: None,
            metadata: Labels::new(),
            registry: None,
            registry_url: None,
            broker: None,
            broker_url: None,
            store: None,
            store_url: None,
            subscribers: Vec::new(),
            message_layers: Layers::default(),
            message_errors: None,
            jobs: Vec::new(),
            operator: Operator::default(),
            ttl: None,
            interval: None,
            register_limit: Duration::from_secs(10),
            propagation: Duration::from_millis(100),
            check: None,
            probe: None,
            quiet: false,
            is_program: false,
            network: None,
            signals: true,
            shutdown: None,
            hooks: Hooks::new(Duration::from_secs(60)),
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

    /// Handles messages of a topic, each of which every instance of the service gets. For a queue that instances share, and all else,
    /// see [`ServiceBuilder::subscriber`].
    pub fn subscribe<T, F, R>(self, topic: &str, handler: F) -> Self
    where
        T: Message,
        F: Fn(Context, T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.subscriber(Subscriber::new(topic, handler))
    }

    /// Adds a subscriber that needs more than a topic: a queue, limits, retries.
    ///
    /// ```
    /// use micro::broker::Subscriber;
    /// use micro::{Context, Json, Service};
    ///
    /// let service = Service::builder("billing").subscriber(
    ///     Subscriber::new("orders", |_: Context, Json(_): Json<u64>| async move { Ok(()) }).queue("billing").max_attempts(3),
    /// );
    /// ```
    pub fn subscriber(mut self, subscriber: Subscriber) -> Self {
        self.subscribers.push(subscriber);
        self
    }

    /// Puts tower middleware around every message; the first added is outermost.
    pub fn message_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<MessageHandler> + Send + Sync + 'static,
        L::Service: tower_service::Service<Incoming, Response = (), Error = Error>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as tower_service::Service<Incoming>>::Future: Send + 'static,
    {
        self.message_layers.add(layer);
        self
    }

    /// Puts a function around every message, as [`ServiceBuilder::message_layer`] does a layer.
    pub fn message_layer_fn<F, R>(self, function: F) -> Self
    where
        F: Fn(Incoming, MessageHandler) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.message_layer(from_fn(function))
    }

    /// Hears of each message that was not handled, and why: its handler failed, panicked or took too long, or it cannot be read. The
    /// message is delivered again or a dead letter as it would be without. Replaces what heard of them before; what it does takes the time
    /// of the message, so it is short and does not block.
    ///
    /// ```
    /// # use micro::Service;
    /// let service = Service::builder("billing").message_errors(|delivered, error| {
    ///     eprintln!("{} {}: {error}", delivered.message.topic, delivered.attempt);
    /// });
    /// ```
    pub fn message_errors(
        mut self,
        hear: impl Fn(&Delivered, &Error) + Send + Sync + 'static,
    ) -> Self {
        self.message_errors = Some(MessageErrors::new(hear));
        self
    }

    /// Runs once in each interval, in the whole fleet. See [`Job::every`]; for a name, a node's own jobs and all else
    /// [`ServiceBuilder::job`].
    pub fn every<F, R>(self, interval: impl Into<Interval>, handler: F) -> Self
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.job(Job::every(interval, handler))
    }

    /// Runs at the moments that a cron expression names, in UTC, once in the whole fleet. See [`Job::cron`].
    pub fn cron<F, R>(self, expression: &str, handler: F) -> Self
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.job(Job::cron(expression, handler))
    }

    /// Adds a job that needs more than a schedule: a name, a time zone, a policy for missed runs. Layers around messages stand around
    /// runs as well.
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Publishes and subscribes with this broker, whatever the operator says: `MICRO_BROKER` and `--broker` have no effect then.
    /// Unless it is called, they name the broker, or `http://` is it.
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Keeps the configuration of the program for its handlers, see [`Context::config`], and for its client. The settings of the service
    /// itself are another thing, see [`settings`](crate::settings).
    ///
    /// ```
    /// use micro::config::{Config, Memory};
    /// use micro::{Context, Json, Service};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
    /// let greetings = Memory::new(serde_json::json!({"greeting": "Hello"}))?;
    /// let config = Config::builder().source(greetings).load().await?;
    /// let service = Service::builder("greeter").config(config).endpoint(
    ///     "Greeter.Hello",
    ///     |context: Context, Json(name): Json<String>| async move {
    ///         let greeting = context.config()?.get("greeting").string()?;
    ///         Ok(Json(format!("{greeting}, {name}!")))
    ///     },
    /// );
    /// # let _ = service;
    /// # Ok(()) }
    /// ```
    pub fn config(mut self, config: Config) -> Self {
        self.client = self.client.config(config);
        self
    }

    /// Keeps records with this store, whatever the operator says: `MICRO_STORE` and `--store` have no effect then. Unless it is
    /// called, they name the store, or `file://` is it. Handlers have it by [`Client::store`] and [`Client::table`].
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Puts tower middleware around every call, streams included; the first added is outermost. Health checks, reflection
    /// and go-micro's `Debug` stay outside, see [`ServerBuilder::layer_standard_endpoints`]. Layers of its client are set with
    /// [`ServiceBuilder::client`].
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

    /// Puts a function around every call, as [`ServiceBuilder::layer`] does a layer; see
    /// [`middleware`](crate::middleware).
    pub fn layer_fn<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Request, Handler) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        self.server = self.server.layer_fn(function);
        self
    }

    /// Puts tower middleware around the calls of these endpoints alone, see [`ServerBuilder::layer_for`].
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
        self.server = self.server.layer_for(endpoints, layer);
        self
    }

    /// Answers calls of endpoints that are not there, see [`ServerBuilder::fallback`].
    pub fn fallback<F, R>(mut self, handler: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        self.server = self.server.fallback(handler);
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

    /// Address to listen on; any address and a free port unless set. Of `:8000-8010` the first free port is taken.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.server = self.server.address(address);
        self
    }

    /// Address to register instead of the one listened on, for nodes behind a translation.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Registers here, whatever the operator says: `MICRO_REGISTRY` and `--registry` have no effect then. Unless it is called,
    /// they name the registry, or `auto` is it.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// How long the registry keeps the node without a heartbeat, 60 s unless set, or twice a
    /// [`ServiceBuilder::register_interval`] that is set. Zero is for ever, as in go-micro. The start
    /// refuses what is not longer than that interval.
    pub fn register_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How often the node is registered anew, 30 s unless set, or half of a
    /// [`ServiceBuilder::register_ttl`] that is shorter than 60 s. Zero never renews a registration
    /// that succeeded, as in go-micro, and then the registry keeps the node for ever: the start refuses
    /// a time to live beside it.
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
        self.hooks.limit = limit;
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

    /// Whether the start says nothing. Otherwise it makes one record of level `INFO`, with the name, the version, the address and
    /// the registry; where the program has no subscriber of `tracing`, [`ServiceBuilder::run`] writes it to stderr.
    pub fn quiet(mut self, quiet: bool) -> Self {
        self.quiet = quiet;
        self
    }

    /// Asks this before each registration, beside the [`ServiceBuilder::register_check`].
    pub(crate) fn register_probe(mut self, probe: Probe) -> Self {
        self.probe = Some(probe);
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
        self.network = Some(HIDDEN.to_owned());
        self
    }

    /// The network with this URL.
    pub(crate) fn network_url(mut self, url: &UrlSetting) -> Result<Self> {
        self = self.network(url.network()?);
        self.network = Some(url.url().to_owned());
        Ok(self)
    }

    /// Says what types without descriptors look like. See [`ServerBuilder::descriptors`].
    pub fn descriptors(self, set: &[u8]) -> Self {
        self.server(|server| server.descriptors(set))
    }

    /// Sets anything else of the server, for example its limits.
    pub fn server(mut self, set: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        self.server = set(self.server);
        self
    }

    /// Sets anything of the client that [`Service::client`](super::Service::client) returns.
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
        self.hooks.add(Moment::BeforeStart, Hook::new(hook));
        self
    }

    /// Runs when the service is registered; an error stops it again.
    pub fn after_start<F, R>(mut self, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.hooks.add(Moment::AfterStart, Hook::new(hook));
        self
    }

    /// Runs before the service deregisters.
    pub fn before_stop<F, R>(mut self, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.hooks.add(Moment::BeforeStop, Hook::new(hook));
        self
    }

    /// Runs when nothing is served any more.
    pub fn after_stop<F, R>(mut self, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.hooks.add(Moment::AfterStop, Hook::new(hook));
        self
    }
}
