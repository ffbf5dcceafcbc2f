//! What a client is made of before it calls.

mod build;
mod told;

use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::cached::DEFAULT_MAX_CACHED;
use super::heads::DEFAULT_NAMESPACE;
use super::layers::{
    AttemptLayers, AttemptRequest, AttemptResponse, AttemptWay, CallLayers, CallWay, Request,
    Response,
};
use super::options::CallOptions;
use super::pool::Sharing;
use crate::broker::Broker;
use crate::config::Config;
use crate::directory::Cache;
use crate::error::{Error, Result};
use crate::forward::Forward;
use crate::metadata::Metadata;
use crate::middleware::from_fn;
use crate::registry::Registry;
use crate::resilience::{Backoff, Retry};
use crate::selector::{Filter, Strategy};
use crate::settings::{UrlSetting, range};
use crate::store::Store;
use crate::transport::network::{Network, Tcp};
use crate::transport::{ClientTls, Compression, DEFAULT_MAX_BUFFERED, DEFAULT_MAX_MESSAGE, Dial};

/// Settings of a client to be. Those that a call can also set are defaults for its calls.
#[derive(Debug)]
#[must_use = "a client is made by `build`"]
pub struct ClientBuilder {
    name: Box<str>,
    namespace: Box<str>,
    registry: Option<Arc<dyn Registry>>,
    /// Used where no registry is given.
    registry_url: Option<UrlSetting>,
    broker: Option<Arc<dyn Broker>>,
    config: Option<Config>,
    /// Used where no broker is given.
    broker_url: Option<UrlSetting>,
    store: Option<Arc<dyn Store>>,
    /// Used where no store is given.
    store_url: Option<UrlSetting>,
    /// Variables are read.
    environment: bool,
    cache: Option<Cache>,
    options: CallOptions,
    calls: CallLayers,
    attempts: AttemptLayers,
    dial: Dial,
    max_message: usize,
    max_connections: usize,
    sharing: Sharing,
    max_buffered: usize,
    max_cached: usize,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            name: "".into(),
            namespace: DEFAULT_NAMESPACE.into(),
            registry: None,
            registry_url: None,
            broker: None,
            config: None,
            broker_url: None,
            store: None,
            store_url: None,
            environment: true,
            cache: None,
            options: CallOptions::default(),
            calls: CallLayers::default(),
            attempts: AttemptLayers::default(),
            dial: Dial {
                network: Arc::new(Tcp),
                tls: None,
                timeout: Duration::from_secs(5),
                unacknowledged: Duration::from_secs(20),
                keepalive: None,
                keepalive_timeout: Duration::from_secs(20),
                max_headers: 64 * 1024,
                idle: Some(Duration::from_secs(300)),
                age: None,
            },
            max_message: DEFAULT_MAX_MESSAGE,
            max_connections: 512,
            sharing: Sharing::default(),
            max_buffered: DEFAULT_MAX_BUFFERED,
            max_cached: DEFAULT_MAX_CACHED,
        }
    }
}

impl ClientBuilder {
    fn with(mut self, set: impl FnOnce(CallOptions) -> CallOptions) -> Self {
        self.options = set(self.options);
        self
    }

    /// Lays options on top of those its calls have: see [`CallOptions`]. All calls of the client have them then, but for the
    /// timeout, which streams do not have.
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

    /// Puts a layer around every call, around its retries, streams included; the first added is outermost. What it may do is
    /// told at [`layers`](super::layers). A client without layers pays nothing for them.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<CallWay> + Send + Sync + 'static,
        L::Service:
            Service<Request, Response = Response, Error = Error> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.calls.add(layer);
        self
    }

    /// Puts a function around every call, as [`ClientBuilder::layer`] does a layer.
    pub fn layer_fn<F, R>(self, function: F) -> Self
    where
        F: Fn(Request, CallWay) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response>> + Send + 'static,
    {
        self.layer(from_fn(function))
    }

    /// Puts a layer around every attempt at a node, for streams around their opening; the first added is outermost. What it
    /// may do is told at [`layers`](super::layers).
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
        self.attempts.add(layer);
        self
    }

    /// Puts a function around every attempt, as [`ClientBuilder::attempt_layer`] does a layer.
    pub fn attempt_layer_fn<F, R>(self, function: F) -> Self
    where
        F: Fn(AttemptRequest, AttemptWay) -> R + Send + Sync + 'static,
        R: Future<Output = Result<AttemptResponse>> + Send + 'static,
    {
        self.attempt_layer(from_fn(function))
    }

    /// Name sent as `micro-from-service`, for a client that belongs to a service.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Namespace sent as `micro-namespace` on unary calls, `go.micro` unless set; empty sends none.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Finds services here, whatever the environment says.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Publishes messages with this broker. Unless it is called, `MICRO_BROKER` names the broker, or `http://` is it.
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Keeps the configuration of the program for those who have the client, see [`Client::config`](crate::Client::config).
    /// The client itself is told nothing by it.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Publishes messages with the broker of this URL, unless one is given.
    pub(crate) fn broker_url(mut self, url: UrlSetting) -> Self {
        self.broker_url = Some(url);
        self
    }

    /// Keeps records with this store. Unless it is called, `MICRO_STORE` names the store, or `file://` is it.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Keeps records with the store of this URL, unless one is given.
    pub(crate) fn store_url(mut self, url: UrlSetting) -> Self {
        self.store_url = Some(url);
        self
    }

    /// Finds services in the registry with this URL, unless one is given.
    pub(crate) fn registry_url(mut self, url: UrlSetting) -> Self {
        self.registry_url = Some(url);
        self
    }

    /// Whether variables such as `MICRO_REGISTRY` and `MICRO_CLIENT_TIMEOUT` are read, which come before what the program sets;
    /// they are unless told not to. What is given as an object, such as a [registry](Self::registry), stands in any case.
    pub fn environment(mut self, read: bool) -> Self {
        self.environment = read;
        self
    }

    /// Goes by the new name of its service, unless it has another of its own.
    pub(crate) fn renamed(mut self, old: &str, new: &str) -> Self {
        if &*self.name == old {
            self.name = new.into();
        }
        self
    }

    /// Shares the cache of another client, so that a process watches its registry once.
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Makes connections on this network instead of TCP.
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.dial.network = network;
        self
    }

    /// Speaks TLS to every node, or as its [policy](crate::TlsPolicy) says. Without it, nodes whose entry in the registry says
    /// that they speak TLS must have a certificate that the operating system's authorities vouch for.
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.dial.tls = Some(tls);
        self
    }

    /// Time for a connection to be made, 5 s unless set.
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial.timeout = timeout;
        self
    }

    /// How often a connection with calls on it is probed; never unless set, because grpc-go servers
    /// close connections that are probed more than once in five minutes. A peer that acknowledges
    /// nothing for 20 s is dropped in any case.
    pub fn keepalive(mut self, interval: Duration) -> Self {
        self.dial.keepalive = Some(interval);
        self
    }

    /// How long a probed connection may stay silent before it is closed, 20 s unless set. Only with
    /// [`ClientBuilder::keepalive`] is a node found out whose process hangs: its system goes on
    /// acknowledging what it is sent. Calls on the connection then fail with `UNAVAILABLE`, and
    /// idempotent ones are repeated elsewhere.
    pub fn keepalive_timeout(mut self, patience: Duration) -> Self {
        self.dial.keepalive_timeout = patience;
        self
    }

    /// How long a connection may be without calls before it is closed, 5 minutes unless set; `None` keeps it. A stream is a
    /// call for as long as it is open.
    pub fn idle_timeout(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.dial.idle = idle.into();
        self
    }

    /// Connections that may be open at once, to all nodes together, 512 unless set. From there on, calls without a key go to
    /// nodes that have a connection, and others take the place of one without calls; where there is none, they fail with
    /// `UNAVAILABLE`.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Calls that run on each connection to a node before another one is made, 100 unless set; go-micro's has 20. A stream is a
    /// call.
    pub fn calls_per_connection(mut self, calls: usize) -> Self {
        self.sharing.calls = calls;
        self
    }

    /// Connections to one node, 4 unless set. From there on, its calls share them, however many there are.
    pub fn max_connections_per_node(mut self, connections: usize) -> Self {
        self.sharing.connections = connections;
        self
    }

    /// Age at which a connection takes no more calls, and is closed once those on it have ended; no limit unless set. Calls that
    /// come then find another.
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.dial.age = Some(age);
        self
    }

    /// Largest message accepted, in bytes, 4 MiB unless set.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Bytes of reply messages held at once, inflated, 256 MiB unless set: of those that are coming in, and of streams that
    /// are not read. What finds no room waits, and the node that sends it too; after 5 s the call ends in
    /// `RESOURCE_EXHAUSTED`. Four messages of [`ClientBuilder::max_message_size`] have room in any case, and messages under
    /// 16 KiB are not counted.
    pub fn max_buffered(mut self, bytes: usize) -> Self {
        self.max_buffered = bytes;
        self
    }

    /// Bytes of replies that the client keeps for calls with [`CallOptions::cached`](super::CallOptions::cached), 16 MiB unless
    /// set; those used least go first, and one of more than an eighth is not kept.
    pub fn max_cached(mut self, bytes: usize) -> Self {
        self.max_cached = bytes;
        self
    }

    /// Refuses options that make no sense.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the option, its value and its range.
    pub(crate) fn check(&self) -> Result<()> {
        range::NAME.text(&self.name)?;
        range::NAMESPACE.text(&self.namespace)?;
        range::DIAL_TIMEOUT.time(self.dial.timeout)?;
        range::KEEPALIVE.time(self.dial.keepalive)?;
        range::KEEPALIVE_TIMEOUT.time(self.dial.keepalive_timeout)?;
        range::IDLE_TIMEOUT.time(self.dial.idle)?;
        range::MAX_CONNECTIONS.number(self.max_connections)?;
        range::CALLS_PER_CONNECTION.number(self.sharing.calls)?;
        range::MAX_CONNECTIONS_PER_NODE.number(self.sharing.connections)?;
        range::MAX_CONNECTION_AGE.time(self.dial.age)?;
        range::MAX_MESSAGE_SIZE.number(self.max_message)?;
        range::MAX_BUFFERED.number(self.max_buffered)?;
        range::MAX_CACHED.number(self.max_cached)?;
        self.options.retries.map_or(Ok(()), |retries| range::RETRIES.number(retries))
    }
}
