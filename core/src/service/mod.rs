//! A service: a server that is found by name, and the lifecycle around it.
//!
//! Start → register → serve → heartbeat … → fail readiness → deregister → tell clients to go away
//! → finish running calls → stop. Nothing is lost on the way out as long as running calls finish
//! within the grace period.
//!
//! ```no_run
//! use micro::{Context, Json, Service};
//!
//! #[tokio::main]
//! async fn main() -> micro::Result<()> {
//!     Service::builder("greeter")
//!         .endpoint("Greeter.Hello", |_: Context, Json(name): Json<String>| async move {
//!             Ok(Json(format!("Hello, {name}!")))
//!         })
//!         .run()
//!         .await
//! }
//! ```

mod address;
mod builder;
mod debug;
mod function;
mod handle;
mod heartbeat;
mod hook;
mod operator;
mod probe;
mod signal;
mod start;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

pub use builder::ServiceBuilder;
pub use handle::ServiceHandle;
use heartbeat::Heartbeat;
use hook::{Hooks, Moment};
pub(crate) use probe::Probe;

use crate::broker::Consumers;
use crate::client::Client;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::jobs::{self, Jobs};
use crate::registry::{self, Guarded, Registry};
use crate::server::Server;

/// Target of the one record that each start makes, unless it is [quiet](ServiceBuilder::quiet).
#[doc(hidden)]
pub const STARTED: &str = "micro::started";

/// A service that is running. Dropping it ends it at once; [`Service::stop`] ends it in order.
#[derive(Debug)]
pub struct Service {
    name: String,
    /// The heartbeat follows the address of this machine, and writes it here.
    record: Arc<ArcSwap<registry::Service>>,
    server: Server,
    client: Client,
    registry: Guarded,
    heartbeat: Mutex<Option<Heartbeat>>,
    consumers: Consumers,
    jobs: Jobs,
    hooks: Hooks,
    propagation: Duration,
}

impl Service {
    /// A service called `name`.
    pub fn builder(name: impl Into<String>) -> ServiceBuilder {
        ServiceBuilder::new(name.into())
    }

    /// Name that callers use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// This node as the registry knows it now. A node that listens on any address is shown with the
    /// one that the default route of this machine goes out from; mDNS tells each network its own.
    pub fn node(&self) -> registry::Node {
        self.record.load().nodes.first().cloned().unwrap_or_default()
    }

    /// What the registry is told, with the address of [`Service::node`].
    pub fn record(&self) -> Arc<registry::Service> {
        self.record.load_full()
    }

    /// The server part: health, metrics, running calls.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// A client that shares this service's registry and calls in its name.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The configuration that it was [given](ServiceBuilder::config).
    pub fn config(&self) -> Option<&Config> {
        self.client.config()
    }

    /// What handlers have of it, see [`Context::service_handle`](crate::Context::service_handle).
    pub fn handle(&self) -> ServiceHandle {
        ServiceHandle { record: self.record.clone(), client: self.client.clone() }
    }

    /// The registry it is registered in.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        self.client.registry()
    }

    /// Its jobs: when each runs next, and what became of its last runs.
    pub fn jobs(&self) -> Vec<jobs::Status> {
        self.jobs.statuses()
    }

    /// Stops in order: hooks, readiness, no more messages, deregistration, running calls, hooks. A second call waits
    /// for the first and does nothing.
    ///
    /// # Errors
    /// The last error of a hook or of the deregistration, `DEADLINE_EXCEEDED` for one that did not
    /// end in time (see [`ServiceBuilder::hook_timeout`] and [`ServiceBuilder::register_timeout`]).
    /// Every step is taken all the same.
    pub async fn stop(&self) -> Result<()> {
        let mut heartbeat = self.heartbeat.lock().await;
        let Some(beating) = heartbeat.take() else { return Ok(()) };
        let mut last = Ok(());
        note(&mut last, self.hooks.run_all(Moment::BeforeStop).await);
        self.server.unready();
        self.consumers.take_no_more();
        beating.stop().await;
        note(&mut last, self.registry.deregister(&self.record()).await.err());
        // Callers learn of it by their watch; until then calls are served as ever.
        let propagation = tokio::time::sleep(self.propagation);
        let grace = self.server.grace();
        let handled = tokio::join!(self.consumers.end(grace), self.jobs.end(grace), propagation);
        for (is_done, what) in [(handled.0, "messages"), (handled.1, "runs of jobs")] {
            if !is_done {
                tracing::warn!(
                    service = self.name(),
                    "{what} whose handlers outlived the grace period were given up"
                );
            }
        }
        if !self.server.stop().await {
            tracing::warn!(
                service = self.name(),
                "calls that outlived the grace period were cut off"
            );
        }
        note(&mut last, self.hooks.run_all(Moment::AfterStop).await);
        last
    }
}

fn note(last: &mut Result<()>, failed: impl IntoIterator<Item = Error>) {
    for error in failed {
        tracing::warn!(%error, "a step of the stop failed");
        *last = Err(error);
    }
}

/// The error of a start that was given up.
fn not_started(name: &str, error: &Error) -> Error {
    Error::new(error.code(), format!("service {name} did not start: {}", error.detail()))
        .with_source(error.clone())
}
