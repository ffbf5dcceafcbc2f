//! Answers calls: one port, gRPC, gRPC-Web and Connect, endpoints found by name.
//!
//! A server is usually part of a [`crate::Service`], which also registers it. Alone it is plain
//! gRPC:
//!
//! ```
//! use micro::server::{Endpoint, Server};
//! use micro::{Context, Raw};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! let server = Server::builder("echo")
//!     .address("127.0.0.1:0")
//!     .handle(Endpoint::unary("Echo.Call", |_: Context, request: Raw| async move { Ok(request) }))
//!     .start()
//!     .await?;
//! println!("listening on {}", server.address());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Every server also answers `grpc.health.v1`, `grpc.reflection.v1` and `v1alpha`, and go-micro's
//! `Debug.Health` and `Debug.Stats`.
//!
//! # What HTTP/2 does not let through
//!
//! Requests of go-micro clients with HTTP/1 headers (`content-length`, `connection`, …) as metadata
//! are served, see `transport/relax`. A path without a leading slash is refused by the `h2` crate with a stream
//! reset before this code sees it, where grpc-go answers with a status; no client sends one unless
//! its user misspells an endpoint.

mod admission;
mod arriving;
mod builder;
mod call;
mod connection;
mod debug;
mod descriptors;
mod dispatch;
mod encoded;
mod endpoint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handler;
mod health;
mod in_flight;
mod listener;
mod protocol;
mod reflection;
mod reply;
mod routes;
mod unsent;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use debug::warm_up;

use admission::{Admission, Gates};
use listener::Listening;

pub use builder::ServerBuilder;
pub use endpoint::Endpoint;
pub use handler::{Body, BoxFuture, Handler, Request, Response};
pub use health::Health;
pub use protocol::Query;

pub use crate::shape::Shape;

use crate::registry;
use crate::resilience::Load;
use crate::telemetry::Metrics;
use crate::transport::ServerTls;

/// A server that is running.
#[derive(Debug)]
pub struct Server {
    listening: Listening,
    health: Health,
    metrics: Arc<Metrics>,
    admission: Arc<Admission>,
    gates: Gates,
    endpoints: Vec<registry::Endpoint>,
    tls: Option<ServerTls>,
    grace: Duration,
}

impl Server {
    /// A server of the service `name`.
    pub fn builder(name: impl Into<Arc<str>>) -> ServerBuilder {
        ServerBuilder::new(name.into())
    }

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
