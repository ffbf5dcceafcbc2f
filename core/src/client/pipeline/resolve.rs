//! Resolve: from the name of a service to its nodes.

use super::route::Nodes;
use super::run::Run;
use crate::error::{Code, Result};

impl Run {
    /// The nodes of the service: those given by address, else those of the registry, from the cache without waiting when it is warm.
    pub(super) async fn resolve(&mut self) -> Result<Nodes> {
        if !self.terms.addresses.is_empty() {
            let at = |address: &String| self.client.node_at(address);
            return Ok(Nodes::Fixed(self.terms.addresses.iter().map(at).collect()));
        }
        let cache = &self.client.0.cache;
        match cache.peek(&self.target.service) {
            Some(snapshot) => Ok(Nodes::Registered(snapshot)),
            // Apart from the call, whose state it would make larger; it is rare.
            None => match Box::pin(cache.resolve(&self.target.service)).await {
                Err(error)
                    if self.terms.wait_for_ready
                        && matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded) =>
                {
                    Box::pin(self.until_ready(None, error)).await
                }
                found => found.map(Nodes::Registered),
            },
        }
    }
}
