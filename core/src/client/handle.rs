//! A client, and what its clones share.

use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::header::HeaderValue;
use http::uri::PathAndQuery;
use papaya::{Equivalent, HashMap};

use super::cached::Store;
use super::heads::Heads;
use super::layers::{AttemptWay, CallWay};
use super::options::CallOptions;
use super::pool::Pool;
use super::target::{Callee, Target};
use crate::broker::Broker;
use crate::config::Config;
use crate::directory::Cache;
use crate::error::{Error, Result};
use crate::forward::Forward;
use crate::registry::{Registry, Witness};
use crate::selector::{Node, Strategy};
use crate::store::{self, Table};
use crate::telemetry::Metrics;
use crate::transport::{Reservoir, Share};

/// Endpoints and fixed addresses remembered per client; more are looked up anew each time.
const MAX_TARGETS: usize = 10_000;

/// Calls services by name. Cheap to clone; all clones share connections, cache and metrics.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) name: Box<str>,
    pub(super) cache: Cache,
    pub(super) strategy: Arc<dyn Strategy>,
    pub(super) pool: Pool,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) config: Option<Config>,
    pub(super) store: Arc<dyn store::Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) options: CallOptions,
    pub(super) max_message: usize,
    pub(super) max_buffered: usize,
    /// Bytes of replies that are held.
    pub(super) buffered: Arc<Reservoir>,
    /// What unary calls hold of them.
    pub(super) replies: Arc<Share>,
    /// Replies that are kept for a while.
    pub(super) cached: Store,
    pub(super) heads: Heads,
    pub(super) targets: HashMap<TargetKey, Arc<Target>, RandomState>,
    pub(super) callees: HashMap<Box<str>, Arc<Callee>, RandomState>,
    pub(super) fixed: HashMap<Box<str>, Arc<Node>, RandomState>,
    /// The layers around calls, and those around attempts, when there are any.
    pub(super) calls: Option<CallWay>,
    pub(super) attempts: Option<AttemptWay>,
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

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TargetKey {
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
    /// What happened so far, by endpoint.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// The registry behind the cache.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        self.0.cache.registry()
    }

    /// The broker that messages are published with.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.0.broker
    }

    /// The configuration that it was [given](super::ClientBuilder::config).
    pub fn config(&self) -> Option<&Config> {
        self.0.config.as_ref()
    }

    /// The store that records are kept with.
    pub fn store(&self) -> &Arc<dyn store::Store> {
        &self.0.store
    }

    /// A table of that store, in its database `micro`.
    ///
    /// ```
    /// # use micro::{Client, Json, Result};
    /// # async fn example(client: Client) -> Result<()> {
    /// let orders = client.table("orders")?;
    /// let version = orders.write("7", Json("two teas".to_owned())).if_absent().await?;
    /// if let Some(order) = orders.get::<Json<String>>("7").await? {
    ///     assert_eq!((order.value.0.as_str(), order.version), ("two teas", version));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name that no table can have, see [`Place::new`](store::Place::new).
    pub fn table(&self, name: &str) -> Result<Table> {
        Table::named(self.store(), name)
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
    pub(super) fn target(&self, service: &str, endpoint: &str) -> Result<Arc<Target>> {
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
    pub(super) fn node_at(&self, address: &str) -> Arc<Node> {
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
