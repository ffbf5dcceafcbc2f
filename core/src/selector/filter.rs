//! Conditions on nodes. A filter only looks: what the cache holds is never copied or changed.

use std::fmt;

use super::Node;

/// A condition that a node must meet. Several are combined with AND.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The node runs exactly this version.
    Version(String),
    /// The node has this label with this value.
    Label(String, String),
    /// The node advertises this endpoint.
    Endpoint(String),
}

impl Filter {
    /// Nodes of exactly this version; go-micro's `FilterVersion`.
    pub fn version(version: impl Into<String>) -> Self {
        Self::Version(version.into())
    }

    /// Nodes with the label `key` and this value; go-micro's `FilterLabel`.
    pub fn label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Label(key.into(), value.into())
    }

    /// Nodes that advertise the endpoint; go-micro's `FilterEndpoint`.
    pub fn endpoint(name: impl Into<String>) -> Self {
        Self::Endpoint(name.into())
    }

    /// True when the node meets the condition.
    pub fn matches(&self, node: &Node) -> bool {
        match self {
            Self::Version(version) => node.version() == version,
            Self::Label(key, value) => node.label(key) == Some(value),
            Self::Endpoint(name) => node.endpoint(name).is_some(),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}"),
            Self::Label(key, value) => write!(f, "label {key}={value}"),
            Self::Endpoint(name) => write!(f, "endpoint {name}"),
        }
    }
}
