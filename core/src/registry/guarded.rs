//! A registry as this crate asks it: in time, and without panics.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;

use super::{Node, Registry, Service, Watcher, Witness};
use crate::error::Result;
use crate::plugin::{bounded, caught};

/// What errors call it.
const WHAT: &str = "the registry";

/// Any registry, which may be a plugin, such that it harms no task that asks it: each request has a
/// deadline, and a panic is an error like any other.
#[derive(Clone)]
pub(crate) struct Guarded {
    inner: Arc<dyn Registry>,
    limit: Duration,
}

impl Guarded {
    /// Guards `registry`; a request takes at most `limit`.
    pub(crate) fn new(registry: Arc<dyn Registry>, limit: Duration) -> Self {
        Self { inner: registry, limit }
    }

    /// What a method that returns at once has to say; `None` for a panic.
    fn told<T>(&self, method: &str, ask: impl FnOnce(&dyn Registry) -> T) -> Option<T> {
        let told = caught(WHAT, || ask(&*self.inner));
        told.inspect_err(|error| tracing::error!(method, %error, "a bug of the registry")).ok()
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

// Every call is inside of an `async` block, so that what a method does before its first wait is guarded too.
#[async_trait]
impl Registry for Guarded {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        bounded(WHAT, self.limit, async { self.inner.register(service, ttl).await }).await
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        bounded(WHAT, self.limit, async { self.inner.deregister(service).await }).await
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        bounded(WHAT, self.limit, async { self.inner.get(name).await }).await
    }

    async fn list(&self) -> Result<Vec<Service>> {
        bounded(WHAT, self.limit, async { self.inner.list().await }).await
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        bounded(WHAT, self.limit, async { self.inner.watch(service).await }).await
    }

    fn name(&self) -> &'static str {
        self.told("name", |registry| registry.name()).unwrap_or("unknown")
    }

    async fn ready(&self) -> Result<()> {
        bounded(WHAT, self.limit, async { self.inner.ready().await }).await
    }

    fn tells_each_interface(&self) -> bool {
        self.told("tells_each_interface", |registry| registry.tells_each_interface())
            .unwrap_or_default()
    }

    fn suspect(&self, service: &str, node: &Node) {
        self.told("suspect", |registry| registry.suspect(service, node));
    }

    fn witness(&self, witness: Weak<dyn Witness>) {
        self.told("witness", |registry| registry.witness(witness));
    }
}
