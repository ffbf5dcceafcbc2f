//! What a record takes in memory, roughly. Limits are counted in this, because `{}` in a packet or
//! file is small, but not what it becomes.

use super::{Endpoint, Labels, Node, Service, Value};

impl Service {
    /// Roughly the bytes this record takes in memory.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.name.len()
            + self.version.len()
            + labels(&self.metadata)
            + self.endpoints.iter().map(endpoint).sum::<usize>()
            + self.nodes.iter().map(node).sum::<usize>()
    }
}

fn node(node: &Node) -> usize {
    size_of::<Node>() + node.id.len() + node.address.len() + labels(&node.metadata)
}

/// Roughly the bytes an endpoint takes in memory.
pub(super) fn endpoint(endpoint: &Endpoint) -> usize {
    let values = [&endpoint.request, &endpoint.response].into_iter().flatten();
    size_of::<Endpoint>()
        + endpoint.name.len()
        + labels(&endpoint.metadata)
        + values.map(value).sum::<usize>()
}

/// Roughly the bytes that labels take in memory.
pub(super) fn labels(labels: &Labels) -> usize {
    // A tree keeps a little room beside the pairs themselves.
    labels.iter().map(|(key, value)| size_of::<Labels>() * 3 + key.len() + value.len()).sum()
}

fn value(value: &Value) -> usize {
    let inner: usize = value.values.iter().map(self::value).sum();
    size_of::<Value>() + value.name.len() + value.kind.len() + inner
}
