//! What registries hold: services, nodes and endpoints, field by field as go-micro v2 writes them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::nullable;
use crate::error::{Error, Reach, Reason, Result};
use crate::shape::Shape;

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
    /// Labels of the node; `protocol` is `grpc` for what this crate can call, `tls` is `true` where it speaks TLS, and `micro` is `1`
    /// where it reads headers in the compact form.
    #[serde(default, with = "nullable")]
    pub metadata: Labels,
}

/// Label of a node that speaks TLS; its value is `true`. go-micro does not look at it.
pub(crate) const TLS: &str = "tls";

/// Label of a node that has no certificate for its address: the name it has one for.
pub(crate) const TLS_NAME: &str = "tls_name";

/// Label of a node that reads the compact form of headers: its version.
pub(crate) const COMPACT: &str = "micro";
pub(crate) const COMPACT_VERSION: &str = "1";

impl Node {
    /// True when the node says that it reads the headers of a call in the compact form, by its label `micro`.
    pub(crate) fn reads_compact(&self) -> bool {
        self.metadata.get(COMPACT).is_some_and(|version| version == COMPACT_VERSION)
    }

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
    /// Labels: `stream` is `"true"` for streams, whose `shape` is `client_stream`, `server_stream` or `bidi_stream`; `idempotent` is
    /// `"true"` where repeating a call is harmless; `internal` endpoints are not listed at all.
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

/// What happened to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nodes that were not there before.
    Create,
    /// Nodes with another address, other metadata or other endpoints.
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

    /// How many messages go each way; `None` for a stream whose service does not say, as go-micro's do not.
    pub fn shape(&self) -> Option<Shape> {
        match self.metadata.get("shape").and_then(|name| Shape::named(name)) {
            Some(shape) => Some(shape),
            None if self.is_stream() => None,
            None => Some(Shape::Unary),
        }
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
