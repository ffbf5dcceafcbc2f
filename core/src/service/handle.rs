//! A service as its handlers see it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::client::Client;
use crate::config::Config;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::registry::{self, Registry};

/// A service for its handlers and layers, which do not own it. Cheap to clone; it does not keep the service running.
#[derive(Debug, Clone)]
pub struct ServiceHandle {
    pub(super) record: Arc<ArcSwap<registry::Service>>,
    pub(super) client: Client,
}

impl ServiceHandle {
    /// As [`Service::name`](super::Service::name).
    pub fn name(&self) -> String {
        self.record.load().name.clone()
    }

    /// As [`Service::node`](super::Service::node). A call that came by the address before the node was registered sees one
    /// without a name.
    pub fn node(&self) -> registry::Node {
        self.record.load().nodes.first().cloned().unwrap_or_default()
    }

    /// As [`Service::record`](super::Service::record).
    pub fn record(&self) -> Arc<registry::Service> {
        self.record.load_full()
    }

    /// As [`Service::client`](super::Service::client).
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// As [`Service::config`](super::Service::config).
    pub fn config(&self) -> Option<&Config> {
        self.client.config()
    }

    /// As [`Service::registry`](super::Service::registry).
    pub fn registry(&self) -> &Arc<dyn Registry> {
        self.client.registry()
    }
}

impl Context {
    /// The service that serves the call.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for a [`Server`](crate::server::Server) that is part of no service.
    pub fn service_handle(&self) -> Result<&ServiceHandle> {
        self.home().ok_or_else(|| {
            Error::new(
                Code::FailedPrecondition,
                "this server is part of no service: build it with `Service::builder`, or give its handlers a client",
            )
        })
    }

    /// The configuration of the service that serves the call, as it was [given](super::ServiceBuilder::config).
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for a service that was given none, and as [`Context::service_handle`].
    pub fn config(&self) -> Result<&Config> {
        self.service_handle()?.config().ok_or_else(|| {
            Error::new(
                Code::FailedPrecondition,
                "this service has no configuration: give it one by `config` of its builder",
            )
        })
    }

    /// The client of the service that serves the call. Calls that a handler makes with it are part of the call it serves.
    ///
    /// ```
    /// # use micro::{Context, Json, Result};
    /// async fn hello(context: Context, Json(name): Json<String>) -> Result<Json<String>> {
    ///     context.client()?.call("names", "Names.Long", Json(name)).await
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Context::service_handle`].
    pub fn client(&self) -> Result<&Client> {
        self.service_handle().map(ServiceHandle::client)
    }
}
