//! Whether the nodes of a service want calls.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::handle::Client;
use super::options::CallOptions;
use crate::codec::Json;
use crate::error::{Code, Result};
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::registry::{Node, Service};

/// Nodes asked at once.
const AT_ONCE: usize = 16;

/// What one node of a service said to a health check.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeHealth {
    /// The node, as the registry has it.
    pub node: Node,
    /// Version of the service that it runs.
    pub version: String,
    /// Whether it wants calls, or what kept it from saying so.
    pub answer: Result<bool>,
}

impl NodeHealth {
    /// True when the node said that it wants calls.
    pub fn is_serving(&self) -> bool {
        matches!(self.answer, Ok(true))
    }
}

impl Client {
    /// Asks every node of `service` whether it wants calls, by `grpc.health.v1`, and by go-micro's
    /// `Debug.Health` where a node does not know that. Nodes come in the order of the registry, which
    /// is asked anew; 16 are asked at once, each on the terms of this client's calls.
    ///
    /// ```no_run
    /// # async fn example(client: micro::Client) -> micro::Result<()> {
    /// for health in client.health("greeter").await? {
    ///     println!("{}: {}", health.node.id, health.is_serving());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `UNAVAILABLE` with the reason [`NoNodes`](crate::Reason::NoNodes) when the service has none, and whatever the
    /// registry fails with. A node that
    /// cannot be asked is no error: its [`NodeHealth::answer`] is.
    pub async fn health(&self, service: &str) -> Result<Vec<NodeHealth>> {
        let versions = match self.registry().get(service).await {
            Err(error) if error.code() == Code::NotFound => Vec::new(),
            found => found?,
        };
        let nodes = versions.into_iter().flat_map(|record| {
            let version = record.version;
            record.nodes.into_iter().map(move |node| (version.clone(), node))
        });
        let checks: Vec<_> = nodes
            .map(|(version, node)| async move {
                let known = crate::selector::Node::new(&node, Arc::default(), Arc::default());
                let at = CallOptions::new().address(known.target()).found_for(service);
                let answer = self.check(service, at).await;
                NodeHealth { node, version, answer }
            })
            .collect();
        if checks.is_empty() {
            return Err(Service::no_nodes(service));
        }
        Ok(stream::iter(checks).buffered(AT_ONCE).collect().await)
    }

    /// Asks the node at `address` (`host:port`) whether it wants calls to `service`, or any, where that is empty; otherwise as
    /// [`Client::health`]. The registry is not asked, so the node has its address for an id and no version.
    pub async fn health_at(&self, service: &str, address: &str) -> NodeHealth {
        let node = Node { id: address.into(), address: address.into(), ..Node::default() };
        let answer = self.check(service, CallOptions::new().address(address)).await;
        NodeHealth { node, version: String::new(), answer }
    }

    async fn check(&self, service: &str, at: CallOptions) -> Result<bool> {
        match self.ask(service, at.clone()).await {
            // A server that keeps no book on single services still has one on itself.
            Err(error) if error.code() == Code::NotFound => self.ask("", at).await,
            Err(error) if error.code() == Code::Unimplemented => {
                let nothing = Json(serde_json::json!({}));
                let call = self.call(service, "Debug.Health", nothing).options(at);
                let Json(answer): Json<serde_json::Value> = call.await?;
                Ok(answer["status"] == "ok")
            }
            answer => answer,
        }
    }

    /// Asks the node how `name` is.
    async fn ask(&self, name: &str, at: CallOptions) -> Result<bool> {
        let request = HealthCheckRequest { service: name.to_owned() };
        let call = self.call("", "/grpc.health.v1.Health/Check", request).options(at);
        let response: HealthCheckResponse = call.await?;
        Ok(response.status() == ServingStatus::Serving)
    }
}
