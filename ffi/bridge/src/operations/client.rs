//! What is asked of a client.

use std::sync::Arc;

use micro::client::NodeHealth;
use micro::selector::Node;
use micro::settings::{Fields, Value};
use serde_json::json;
use tokio::time::Instant;

use super::ground::{Answer, Args, At, Nothing};

/// Of `client.health`.
pub(crate) struct Health {
    service: String,
}

impl Args for Health {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self { service: fields.require("service", Value::text)? })
    }
}

/// Whether each node of a service wants calls: an array of `node`, `address`, `version`, `serving` (true or false) and
/// `detail`, which says why a node could not be asked.
pub(crate) async fn health(at: At, args: Health) -> micro::Result<Answer> {
    let node = |health: NodeHealth| {
        json!({
            "node": health.node.id,
            "address": health.node.address,
            "version": health.version,
            "serving": health.is_serving(),
            "detail": health.answer.err().map(|error| error.to_string()),
        })
    };
    let nodes = at.client.health(&args.service).await?.into_iter().map(node);
    Answer::json(&nodes.collect::<Vec<_>>())
}

/// Of `client.nodes`.
pub(crate) struct Nodes {
    service: String,
}

impl Args for Nodes {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self { service: fields.require("service", Value::text)? })
    }
}

/// The nodes that the client chooses from, with what it has seen of each: an array of `node`, `address`, `version`,
/// `in_flight`, `latency_ms` (nothing before the first answer) and `ejected`, which says whether calls avoid it for now.
pub(crate) async fn nodes(at: At, args: Nodes) -> micro::Result<Answer> {
    let (known, now) = (at.client.cache().resolve(&args.service).await?, Instant::now());
    let node = |node: &Arc<Node>| {
        json!({
            "node": node.id(),
            "address": node.address(),
            "version": node.version(),
            "in_flight": node.in_flight(),
            "latency_ms": node.latency(now).map(|latency| latency.as_secs_f64() * 1000.0),
            "ejected": node.is_ejected(now),
        })
    };
    Answer::json(&known.nodes().iter().map(node).collect::<Vec<_>>())
}

/// What the client has seen so far: calls, failures and latencies by endpoint.
pub(crate) async fn stats(at: At, _: Nothing) -> micro::Result<Answer> {
    Answer::json(&at.client.metrics().to_json())
}
