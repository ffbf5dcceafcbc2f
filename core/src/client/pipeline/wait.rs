//! Calls that wait until their service is ready: until there is a node, and one that takes connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::route::Nodes;
use super::run::{Run, deadline_passed};
use crate::directory::Snapshot;
use crate::error::{Error, Result};

/// Shortest and longest pause before a node is tried again that could not be reached.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Run {
    /// Waits because of `why`: until the registry tells something new of the service, or one of `nodes` may be tried again.
    /// The call's deadline bounds it, and dropping the future ends it.
    ///
    /// # Errors
    /// What the registry says of the name of the service.
    pub(super) async fn until_ready(&mut self, nodes: Option<Nodes>, why: Error) -> Result<Nodes> {
        self.tried.clear();
        tracing::debug!(service = &*self.target.service, %why, "waiting for a node");
        self.waits_for = Some(why);
        let Some(nodes) = nodes else { return self.news(None).await };
        let news = async {
            match &nodes {
                Nodes::Registered(snapshot) => self.news(Some(snapshot)).await,
                // Addresses that are given do not change.
                Nodes::Fixed(_) => std::future::pending().await,
            }
        };
        let news = tokio::select! {
            news = news => Some(news),
            () = self.until_tried_again(&nodes) => None,
        };
        news.unwrap_or(Ok(nodes))
    }

    async fn news(&self, than: Option<&Arc<Snapshot>>) -> Result<Nodes> {
        self.client.0.cache.newer(&self.target.service, than).await.map(Nodes::Registered)
    }

    /// Ends when a node that the filters allow may be tried again; never where they allow none.
    async fn until_tried_again(&self, nodes: &Nodes) {
        let began = Instant::now();
        let mut pause = PAUSE.0;
        loop {
            // Callers that lost the same node do not come back in step.
            sleep(pause.mul_f64(1.0 + 0.25 * fastrand::f64())).await;
            let now = Instant::now();
            let choice = self.choice();
            let allowed = nodes.as_slice().iter().filter(|node| choice.allows(node));
            let Some(soonest) = allowed.map(|node| node.ejected_for(now)).min() else {
                return std::future::pending().await;
            };
            let patience = PAUSE.1.saturating_sub(now.saturating_duration_since(began));
            pause = soonest.min(patience);
            if pause.is_zero() {
                return;
            }
        }
    }

    /// The deadline passed: says what the call was waiting for, if it was.
    pub(super) fn late(&self) -> Error {
        let Some(why) = &self.waits_for else { return deadline_passed() };
        let detail =
            format!("context deadline exceeded while waiting for a node: {}", why.detail());
        let late = Error::deadline_exceeded(detail).with_id("go.micro.client");
        match why.reason() {
            Some(reason) => late.with_reason(reason),
            None => late,
        }
    }
}
