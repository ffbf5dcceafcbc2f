//! Who runs where: services, their nodes and endpoints, and a watch on changes.
//!
//! A [`Registry`] stores [`Service`] records. One service may be registered in several versions,
//! each with nodes of its own; a lookup returns one record per version. The record is go-micro
//! v2's, field by field, so that both see the same fleet.
//!
//! | registry | reach | chosen by |
//! |---|---|---|
//! | [`Memory`] | this process | `memory://` |
//! | [`Mdns`] | this network segment, go-micro's default | `mdns://` |
//! | [`Local`] | this machine, where multicast is blocked | `local://` |
//! | [`Auto`] | mDNS where it works, else local; the default | `auto://` |
//!
//! A program adds its own by the scheme of its URL, with [`provide`], and tests it with the [contract].
//!
//! Callers keep what they learned from a registry in a [directory](crate::directory).

mod auto;
mod connect;
pub mod contract;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guarded;
mod local;
pub mod mdns;
mod memory;
mod watch;
mod weight;
mod witness;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Reach, Reason, Result};

pub use auto::Auto;
pub use connect::{connect, from_environment, provide};
pub(crate) use guarded::Guarded;
pub use local::Local;
pub use mdns::Mdns;
pub use memory::Memory;
pub(crate) use memory::in_child;
pub use watch::{WATCH_BYTES, WATCH_CAPACITY, WatchSender, Watcher};
pub use witness::Witness;
pub(crate) use witness::Witnesses;

/// Makes what registries share in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    connect::warm_up();
    memory::warm_up();
}

/// String pairs that describe a node, an endpoint or a service.
pub type Labels = BTreeMap<String, String>;

/// One version of a service, as registries store it. JSON keys are those of go-micro's
/// `registry/registry.go:31-56`; absent maps and lists read and write as `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Name that callers use, for example `greeter`.
    pub name: String,
    /// Version, `latest` unless the service says otherwise.
    #[serde(default)]
    pub version: String,
    /// Labels of the service as a whole. mDNS does not carry them.
    #[serde(default, with = "nullable")]
    pub metadata: Labels,
    /// What can be called.
    #[serde(default, with = "nullable")]
    pub endpoints: Vec<Endpoint>,
    /// Running instances.
    #[serde(default, with = "nullable")]
    pub nodes: Vec<Node>,
}

/// One running instance of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Node {
    /// Unique id, `<service>-<uuid>`.
    pub id: String,
    /// `host:port`; IPv6 as `[host]:port`.
    #[serde(default)]
    pub address: String,
    /// Labels of the node; `protocol` is `grpc` for what this crate can call, and `tls` is `true` where it speaks TLS.
    #[serde(default, with = "nullable")]
    pub metadata: Labels,
}

/// Label of a node that speaks TLS; its value is `true`. go-micro does not look at it.
pub(crate) const TLS: &str = "tls";

/// Label of a node that has no certificate for its address: the name it has one for.
pub(crate) const TLS_NAME: &str = "tls_name";

impl Node {
    /// True when the node says that it speaks TLS, by its label `tls`.
    pub fn speaks_tls(&self) -> bool {
        self.metadata.get(TLS).is_some_and(|value| value == "true")
    }
}

/// Something a service answers to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `Type.Method`, for example `Greeter.Hello`.
    pub name: String,
    /// Shape of the request; informational.
    #[serde(default)]
    pub request: Option<Value>,
    /// Shape of the response; informational.
    #[serde(default)]
    pub response: Option<Value>,
    /// Labels: `stream` is `"true"` for streams, `idempotent` is `"true"` where repeating a call
    /// is harmless, `internal` endpoints are not listed at all.
    #[serde(default, with = "nullable")]
    pub metadata: Labels,
}

/// Name and type of a value and of its fields, three levels deep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Field name; the type's name at the top.
    #[serde(default)]
    pub name: String,
    /// Type name.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Fields.
    #[serde(default, with = "nullable")]
    pub values: Vec<Value>,
}

/// Go writes nil maps and lists as `null`; both directions accept and produce that.
mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) trait Empty: Default {
        fn is_empty(&self) -> bool;
    }
    impl<T> Empty for Vec<T> {
        fn is_empty(&self) -> bool {
            self.is_empty()
        }
    }
    impl Empty for super::Labels {
        fn is_empty(&self) -> bool {
            self.is_empty()
        }
    }

    pub(super) fn serialize<T: Empty + Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if value.is_empty() { serializer.serialize_none() } else { value.serialize(serializer) }
    }

    pub(super) fn deserialize<'de, T: Empty + Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
    }
}

/// What happened to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nodes that were not there before.
    Create,
    /// Nodes whose address, metadata or endpoints changed.
    Update,
    /// Nodes that are gone. A record without nodes means the whole version.
    Delete,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        })
    }
}

/// One event of a watch: the action and the affected version with only the affected nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happened.
    pub action: Action,
    /// The affected version, holding the affected nodes.
    pub service: Service,
}

/// A source of truth about services and nodes.
///
/// Every implementation passes the same [contract], and tests that with one line. Methods can be
/// cancelled by dropping their future; nothing is left half done that a later call would not mend.
///
/// Services and clients guard what they ask: a request that takes too long ends with
/// `DEADLINE_EXCEEDED` (10 s, or [`register_timeout`](crate::service::ServiceBuilder::register_timeout)),
/// a panic with `INTERNAL`. What blocks its thread cannot be ended, so methods wait only by `await`,
/// and those that are not `async` return at once.
#[async_trait]
pub trait Registry: Send + Sync + fmt::Debug + 'static {
    /// Adds the nodes of `service`, or refreshes them when they are known. `ttl` is how long they
    /// live without a refresh; `None` is for ever. Changed addresses, metadata or endpoints replace
    /// what was there and reach watchers as [`Action::Update`].
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a record this registry cannot hold, `UNAVAILABLE` when it is down.
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()>;

    /// Removes the nodes of `service`, and nothing else; an unknown node is no error.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the registry is down.
    async fn deregister(&self, service: &Service) -> Result<()>;

    /// Every version of `name` with its live nodes.
    ///
    /// # Errors
    /// `NOT_FOUND` when no live node has that name, `UNAVAILABLE` when the registry is down.
    async fn get(&self, name: &str) -> Result<Vec<Service>>;

    /// Every known service, by name, then version. Nodes and endpoints may be left out.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the registry is down.
    async fn list(&self) -> Result<Vec<Service>>;

    /// Watches one service, or all. Every change after this returns is delivered.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the registry is down.
    async fn watch(&self, service: Option<&str>) -> Result<Watcher>;

    /// Short name, for example `mdns`, as nodes advertise it.
    fn name(&self) -> &'static str;

    /// Waits until the registry knows how it works here. Asked once, before a node is registered.
    ///
    /// # Errors
    /// What would keep every other method from working.
    async fn ready(&self) -> Result<()> {
        Ok(())
    }

    /// True when a node that listens on any address is to be registered as such, with the host
    /// `0.0.0.0` or `[::]`, because this registry tells each network the address that the node has
    /// there, and follows when it changes. Services register the address of the default route
    /// elsewhere, and register anew when that changes.
    fn tells_each_interface(&self) -> bool {
        false
    }

    /// Told by callers that a node refused a connection, or that one to it broke: a registry that
    /// learns of crashes only by asking (mDNS) looks again. Returns at once.
    fn suspect(&self, _service: &str, _node: &Node) {}

    /// Given a witness that knows of nodes by talking to them: a registry that forgets what it has
    /// not heard of for a while (mDNS) asks its witnesses first, and keeps a node that one of them
    /// vouches for until that ends or the node says goodbye. A witness that is gone is let go.
    fn witness(&self, _witness: Weak<dyn Witness>) {}
}

impl Service {
    /// A version without nodes or endpoints.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), ..Self::default() }
    }

    /// Refuses what no registry can hold: a record without a name, or without nodes that have ids.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::invalid_argument("the service has no name: give it one"));
        }
        if self.nodes.is_empty() || self.nodes.iter().any(|node| node.id.is_empty()) {
            return Err(Error::invalid_argument(format!(
                "service {}: every registration needs at least one node, each with an id",
                self.name
            )));
        }
        Ok(())
    }

    /// The error of a call to a service that has no node now: go-micro's id, number and text of it, and gRPC's code for
    /// what another moment may change.
    pub(crate) fn no_nodes(name: &str) -> Error {
        let detail = format!(
            "service {name}: not found: it has no node now, is it running, and in this registry?"
        );
        Error::unavailable(detail)
            .with_id("go.micro.client")
            .with_http_code(500)
            .with_reach(Reach::Never)
            .with_reason(Reason::NoNodes)
    }

    /// The error of a lookup that found nothing.
    pub fn not_found(name: &str) -> Error {
        Error::not_found(format!("service {name}: not found")).with_id("go.micro.client")
    }
}

impl Endpoint {
    /// True when a call may be repeated without harm: the service advertises `idempotent: "true"`.
    pub fn is_idempotent(&self) -> bool {
        self.metadata.get("idempotent").is_some_and(|value| value == "true")
    }

    /// True for streams: the service advertises `stream: "true"`.
    pub fn is_stream(&self) -> bool {
        self.metadata.get("stream").is_some_and(|value| value == "true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of the wire reference, as go-micro v2 writes it.
    const RECORD: &str = r#"{"name":"greeter","version":"latest","metadata":null,"endpoints":[{"name":"Greeter.Hello","request":{"name":"Request","type":"Request","values":[{"name":"name","type":"string","values":null}]},"response":{"name":"Response","type":"Response","values":null},"metadata":null}],"nodes":[{"id":"greeter-1","address":"10.9.0.1:41001","metadata":{"protocol":"grpc"}}]}"#;

    #[test]
    fn record_reads_and_writes_as_go_does() {
        let service: Service = serde_json::from_str(RECORD).expect("record parses");
        assert_eq!(service.nodes[0].metadata["protocol"], "grpc");
        assert_eq!(serde_json::to_string(&service).expect("record writes"), RECORD);
    }
}
