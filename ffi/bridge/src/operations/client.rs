//! What is asked of a client.

use bytes::Bytes;
use micro::client::NodeHealth;
use micro::settings::{Fields, Value};
use serde_json::json;

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
pub(crate) async fn health(at: At, args: Health, _: Bytes) -> micro::Result<Answer> {
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

/// What the client has seen so far: calls, failures and latencies by endpoint.
pub(crate) async fn stats(at: At, _: Nothing, _: Bytes) -> micro::Result<Answer> {
    Answer::json(&at.client.metrics().to_json())
}
