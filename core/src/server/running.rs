//! A server that is running, as its program sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Gates};
use super::health::Health;
use super::listener::Listening;
use crate::registry;
use crate::resilience::Load;
use crate::telemetry::Metrics;
use crate::transport::ServerTls;

/// A server that is running.
#[derive(Debug)]
pub struct Server {
    pub(super) listening: Listening,
    pub(super) health: Health,
    pub(super) metrics: Arc<Metrics>,
    pub(super) admission: Arc<Admission>,
    pub(super) gates: Gates,
    pub(super) endpoints: Vec<registry::Endpoint>,
    pub(super) tls: Option<ServerTls>,
    pub(super) grace: Duration,
}

impl Server {
    /// Address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// What it shows, where it speaks TLS.
    pub(crate) fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// What it says to health checks.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What happened so far, by caller and endpoint.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Calls that are running, or whose requests are waited for.
    pub fn in_flight(&self) -> usize {
        self.admission.in_flight.count() + self.admission.unfinished.count()
    }

    /// How busy every unary endpoint is, sorted by name; empty when the limiter is off.
    pub fn loads(&self) -> Vec<Load> {
        self.gates.loads()
    }

    /// Calls refused so far because there was too much to do, at any endpoint.
    pub fn shed(&self) -> u64 {
        self.admission.shed() + self.gates.shed()
    }

    /// Advertised endpoints, sorted by name, as the registry stores them.
    pub fn endpoints(&self) -> &[registry::Endpoint] {
        &self.endpoints
    }

    /// How long what runs may go on once it stops.
    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    /// Answers `NOT_SERVING` to health checks from now on, and goes on serving.
    pub fn unready(&self) {
        self.health.set_all(false);
    }

    /// Stops: health checks fail, clients are told to go away, running calls finish within the
    /// grace period, the rest is cut off. True when nothing had to be cut off.
    pub async fn stop(&self) -> bool {
        self.unready();
        self.health.stop();
        self.listening.drain(self.grace).await
    }
}
