//! Calls services by name.
//!
//! A call passes named stages: *resolve* the service to its nodes, *route* (filters and, later,
//! traffic rules), *pick* a node, *attempt* the call on it, and *retry* where that is harmless. The
//! outcome of every attempt is reported once, from one place, to the selector, the retry budget and
//! the metrics.
//!
//! ```no_run
//! use micro::{Client, Json};
//!
//! # async fn example() -> micro::Result<()> {
//! let client = Client::new()?;
//! let reply: Json<String> = client.call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await?;
//! # Ok(())
//! # }
//! ```

mod call;
mod choice;
mod health;
mod options;
mod outcome;
mod pipeline;
mod pool;
mod ready;
mod reply;
mod seen;
mod stream;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;
use http::header::{HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use papaya::{Equivalent, HashMap};
use tokio::sync::Semaphore;

pub use call::{Call, Duplex, Many, One, Open, Reply, Single, StreamCall};
pub use health::NodeHealth;
pub use options::CallOptions;
use options::call_options;
use pool::{DIALS_OF_SERVICE, Pool};
pub use seen::Seen;
pub use stream::Outgoing;

use crate::codec::Message;
use crate::error::{Error, Result};
use crate::forward::Forward;
use crate::registry::{self, Cache, Registry, Witness};
use crate::resilience::Budget;
use crate::selector::{self, Node, Strategy};
use crate::settings::range;
use crate::streaming::Streaming;
use crate::telemetry::{EdgeStats, Metrics};
use crate::transport::network::{Network, Tcp};
use crate::transport::{
    ClientTls, DEFAULT_MAX_BUFFERED, DEFAULT_MAX_MESSAGE, Dial, Reservoir, Share,
};

/// Endpoints and fixed addresses remembered per client; more are looked up anew each time.
const MAX_TARGETS: usize = 10_000;
/// Namespace that go-micro's clients send unless told otherwise.
const DEFAULT_NAMESPACE: &str = "go.micro";

/// Calls services by name. Cheap to clone; all clones share connections, cache and metrics.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    name: Box<str>,
    cache: Cache,
    strategy: Arc<dyn Strategy>,
    pool: Pool,
    metrics: Arc<Metrics>,
    options: CallOptions,
    max_message: usize,
    max_buffered: usize,
    /// Bytes of replies that are held.
    buffered: Arc<Reservoir>,
    /// What unary calls hold of them.
    replies: Arc<Share>,
    /// Headers that are the same in every call, unary and streams.
    heads: [HeaderMap; 2],
    targets: HashMap<TargetKey, Arc<Target>, RandomState>,
    callees: HashMap<Box<str>, Arc<Callee>, RandomState>,
    fixed: HashMap<Box<str>, Arc<Node>, RandomState>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Witness for Inner {
    /// Its connections are healthy while they are open: those that are silent are probed.
    fn vouches(&self, address: &str) -> bool {
        self.pool.is_connected(address)
    }
}

/// One endpoint of one service, as this client calls it.
#[derive(Debug)]
struct Target {
    service: Box<str>,
    endpoint: Box<str>,
    path: PathAndQuery,
    /// The name of the service as a header, where it can be one.
    named: Option<HeaderValue>,
    edge: Arc<EdgeStats>,
    callee: Arc<Callee>,
}

/// What all calls of this client to one service share.
#[derive(Debug)]
struct Callee {
    /// What may be repeated.
    budget: Budget,
    /// Places for connections in the making.
    dials: Semaphore,
}

impl Callee {
    fn new() -> Self {
        Self { budget: Budget::new(), dials: Semaphore::new(DIALS_OF_SERVICE) }
    }
}

impl Target {
    /// The names under which a node may advertise the endpoint: as it is called, with its package, without.
    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let (kind, method) =
            self.path.path().trim_start_matches('/').split_once('/').unwrap_or_default();
        let short = kind.rsplit_once('.').map_or(kind, |(_, kind)| kind);
        let names = [format!("{kind}.{method}"), format!("{short}.{method}")];
        std::iter::once(Cow::Borrowed(&*self.endpoint)).chain(names.into_iter().map(Cow::Owned))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TargetKey {
    service: Box<str>,
    endpoint: Box<str>,
}

#[derive(Hash)]
struct TargetRef<'a> {
    service: &'a str,
    endpoint: &'a str,
}

impl Equivalent<TargetKey> for TargetRef<'_> {
    fn equivalent(&self, key: &TargetKey) -> bool {
        *self.service == *key.service && *self.endpoint == *key.endpoint
    }
}

impl Client {
    /// A client of the registry named by `MICRO_REGISTRY`, `auto` unless set. Needs a tokio runtime.
    ///
    /// # Errors
    /// As [`ClientBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A client with other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Calls a unary endpoint. The answer's type says how it is read; await the [`Call`], or set
    /// its terms first:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use micro::{Client, Json};
    /// # async fn example(client: Client) -> micro::Result<()> {
    /// let reply: Json<String> = client
    ///     .call("greeter", "Greeter.Hello", Json("Ada".to_owned()))
    ///     .timeout(Duration::from_millis(200))
    ///     .metadata("tenant", "blue")
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the handler answered, or what kept the call from it: `UNAVAILABLE` for a service without a node
    /// (with the reason [`NoNodes`](crate::Reason::NoNodes)) and for one that cannot be reached,
    /// `DEADLINE_EXCEEDED` when the time is up.
    pub fn call<Req: Message, Res: Message>(
        &self,
        service: &str,
        endpoint: &str,
        request: Req,
    ) -> Call<Req, Res> {
        Call::new(self.clone(), service, endpoint, request)
    }

    /// Sends one message and receives many.
    pub fn server_stream<Req: Message, Res: Message>(
        &self,
        service: &str,
        endpoint: &str,
        request: Req,
    ) -> StreamCall<One<Req>, Streaming<Res>> {
        StreamCall::new(self.clone(), service, endpoint, One(request))
    }

    /// Sends many messages and receives one.
    pub fn client_stream<S, Req, Res>(
        &self,
        service: &str,
        endpoint: &str,
        requests: S,
    ) -> StreamCall<Many<S>, Single<Res>>
    where
        S: futures_util::Stream<Item = Req> + Send + 'static,
        Req: Message,
        Res: Message,
    {
        StreamCall::new(self.clone(), service, endpoint, Many(requests))
    }

    /// Sends many messages and receives many, in any order.
    pub fn bidi_stream<S, Req, Res>(
        &self,
        service: &str,
        endpoint: &str,
        requests: S,
    ) -> StreamCall<Many<S>, Streaming<Res>>
    where
        S: futures_util::Stream<Item = Req> + Send + 'static,
        Req: Message,
        Res: Message,
    {
        StreamCall::new(self.clone(), service, endpoint, Many(requests))
    }

    /// Opens a stream whose two directions are handled apart: messages are sent through an
    /// [`Outgoing`] as they come up, and received from a [`Streaming`].
    pub fn open<Req: Message, Res: Message>(
        &self,
        service: &str,
        endpoint: &str,
    ) -> StreamCall<Open<Req>, Duplex<Req, Res>> {
        StreamCall::new(self.clone(), service, endpoint, Open::default())
    }

    /// What happened so far, by endpoint.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// The registry behind the cache.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        self.0.cache.registry()
    }

    /// The cached view of the registry that calls go by.
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// The rule by which headers of a call being served go on with this client's calls, unless a call has its own.
    pub fn forward(&self) -> Forward {
        self.0.options.forward.as_deref().cloned().unwrap_or_default()
    }

    /// Name this client sends as `micro-from-service`; empty when it is no service.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Path of a call, go-micro's way (wire reference 1.1).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an endpoint that is neither `Type.Method`, `package.Type.Method` nor a path.
    fn target(&self, service: &str, endpoint: &str) -> Result<Arc<Target>> {
        let targets = self.0.targets.pin();
        if let Some(target) = targets.get(&TargetRef { service, endpoint }) {
            return Ok(target.clone());
        }
        let path = path_of(service, endpoint).ok_or_else(|| {
            Error::invalid_argument(format!(
                "endpoint `{endpoint}`: name it Type.Method, for example Greeter.Hello, package.Type.Method, or give a path that begins with `/`"
            ))
            .with_id("go.micro.client")
        })?;
        let path = PathAndQuery::try_from(path).map_err(|e| {
            Error::invalid_argument(format!("cannot call {service} {endpoint}: {e}"))
                .with_id("go.micro.client")
        })?;
        let callees = self.0.callees.pin();
        let callee = match callees.get(service) {
            Some(callee) => callee.clone(),
            None if callees.len() >= MAX_TARGETS => Arc::new(Callee::new()),
            None => callees.get_or_insert_with(service.into(), || Arc::new(Callee::new())).clone(),
        };
        let target = Arc::new(Target {
            service: service.into(),
            endpoint: endpoint.into(),
            path,
            named: HeaderValue::from_str(service).ok(),
            edge: self.0.metrics.edge(&self.0.name, service, endpoint),
            callee,
        });
        if targets.len() < MAX_TARGETS {
            let key = TargetKey { service: service.into(), endpoint: endpoint.into() };
            targets.insert(key, target.clone());
        }
        Ok(target)
    }

    /// The node at a fixed address, with what was learned of it.
    fn node_at(&self, address: &str) -> Arc<Node> {
        let fixed = self.0.fixed.pin();
        match fixed.get(address) {
            Some(node) => node.clone(),
            None if fixed.len() >= MAX_TARGETS => Arc::new(Node::at(address)),
            None => {
                fixed.get_or_insert_with(address.into(), || Arc::new(Node::at(address))).clone()
            }
        }
    }
}

/// Where an endpoint is called: a path as it is, `Type.Method` behind the name of the service, as go-micro does, and
/// `package.Type.Method` as gRPC does.
fn path_of(service: &str, endpoint: &str) -> Option<String> {
    if endpoint.starts_with('/') {
        return Some(endpoint.to_owned());
    }
    if endpoint.split('.').any(str::is_empty) {
        return None;
    }
    let (kind, method) = endpoint.rsplit_once('.')?;
    // Packages begin with a small letter, which tells them from one part too many.
    let packaged = kind.contains('.');
    if packaged && endpoint.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let whole = service.is_empty() || packaged;
    Some(if whole { format!("/{kind}/{method}") } else { format!("/{service}.{kind}/{method}") })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.0.name)
            .field("registry", &self.0.cache.registry().name())
            .field("strategy", &self.0.strategy.name())
            .finish()
    }
}

/// Settings of a client to be. Those that a call can also set are defaults for its calls.
#[derive(Debug)]
#[must_use = "a client is made by `build`"]
pub struct ClientBuilder {
    name: Box<str>,
    namespace: Box<str>,
    registry: Option<Arc<dyn Registry>>,
    cache: Option<Cache>,
    options: CallOptions,
    dial: Dial,
    max_message: usize,
    max_connections: usize,
    max_buffered: usize,
    wrong: Option<Error>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            name: "".into(),
            namespace: DEFAULT_NAMESPACE.into(),
            registry: None,
            cache: None,
            options: CallOptions::default(),
            dial: Dial {
                network: Arc::new(Tcp),
                tls: None,
                timeout: Duration::from_secs(5),
                unacknowledged: Duration::from_secs(20),
                keepalive: None,
                keepalive_timeout: Duration::from_secs(20),
                max_headers: 64 * 1024,
                idle: Some(Duration::from_secs(300)),
            },
            max_message: DEFAULT_MAX_MESSAGE,
            max_connections: 512,
            max_buffered: DEFAULT_MAX_BUFFERED,
            wrong: None,
        }
    }
}

impl ClientBuilder {
    call_options!();

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

    /// Finds services here instead of in the registry of the environment.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
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
        range::MAX_MESSAGE_SIZE.number(self.max_message)?;
        range::MAX_BUFFERED.number(self.max_buffered)?;
        range::RETRIES.number(self.options.retries)
    }

    /// Makes the client. Needs a tokio runtime.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a wrong option, or for a registry in `MICRO_REGISTRY` that nobody
    /// knows.
    pub fn build(self) -> Result<Client> {
        self.check()?;
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let cache = match (self.cache, self.registry) {
            (Some(cache), _) => cache,
            (None, Some(registry)) => Cache::new(registry),
            (None, None) => Cache::new(registry::from_environment()?),
        };
        let strategy = match &self.options.strategy {
            Some(strategy) => strategy.clone(),
            None => Arc::new(selector::P2c::new()),
        };
        let head = |unary| pipeline::head(&self.name, &self.namespace, &self.options, unary);
        let heads = [head(true)?, head(false)?];
        let buffered = Reservoir::new(self.max_buffered, self.max_message);
        let replies = Share::new(&buffered, self.max_buffered, self.max_message);
        let inner = Arc::new(Inner {
            name: self.name,
            cache,
            strategy,
            pool: Pool::new(self.dial, self.max_connections),
            metrics: Arc::default(),
            options: self.options,
            max_message: self.max_message,
            max_buffered: self.max_buffered,
            buffered,
            replies,
            heads,
            targets: HashMap::default(),
            callees: HashMap::default(),
            fixed: HashMap::default(),
        });
        let witness: Weak<Inner> = Arc::downgrade(&inner);
        inner.cache.registry().witness(witness);
        Ok(Client(inner))
    }
}
