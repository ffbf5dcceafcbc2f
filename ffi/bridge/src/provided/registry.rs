//! Registries of a host's own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use micro::registry::{self, Change, Registry, Service, Watcher};
use micro::server::Body;
use micro::{Metadata, Shape};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::area;
use super::asked::{Hosted, Operation};
use super::names::{SCHEME, find};
use crate::operations;

/// Makes the scheme known, once.
pub(super) fn open_scheme() {
    // Taken means that it is known already: nothing else has it.
    let _ = registry::provide(SCHEME, |name| {
        find(area::REGISTRY, name)?;
        Ok(Arc::new(HostedRegistry::of(name)))
    });
}

/// A registry that a host provides.
struct HostedRegistry(Hosted);

impl fmt::Debug for HostedRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn named(number: u32) -> Operation {
    Operation { number, name: operations::name(number) }
}

impl HostedRegistry {
    fn of(name: &str) -> Self {
        Self(Hosted { area: area::REGISTRY, name: name.to_owned() })
    }

    async fn answer(&self, operation: u32, args: &Value) -> micro::Result<Bytes> {
        self.0.ask(named(operation), Metadata::new(), args, Bytes::new()).await
    }

    async fn records(&self, operation: u32, args: &Value) -> micro::Result<Vec<Service>> {
        let answer = self.answer(operation, args).await?;
        self.read(operation, &answer)
    }

    fn read<T: DeserializeOwned>(&self, operation: u32, answer: &[u8]) -> micro::Result<T> {
        serde_json::from_slice(answer)
            .map_err(|error| self.0.broken(operations::name(operation), error))
    }
}

#[async_trait]
impl Registry for HostedRegistry {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> micro::Result<()> {
        let ttl = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let args = json!({ "service": service, "ttl": ttl });
        self.answer(operations::REGISTRY_REGISTER, &args).await.map(drop)
    }

    async fn deregister(&self, service: &Service) -> micro::Result<()> {
        let args = json!({ "service": service });
        self.answer(operations::REGISTRY_DEREGISTER, &args).await.map(drop)
    }

    async fn get(&self, name: &str) -> micro::Result<Vec<Service>> {
        let found = self.records(operations::REGISTRY_GET, &json!({ "service": name })).await?;
        if found.is_empty() { Err(Service::not_found(name)) } else { Ok(found) }
    }

    async fn list(&self) -> micro::Result<Vec<Service>> {
        self.records(operations::REGISTRY_LIST, &json!({})).await
    }

    async fn watch(&self, service: Option<&str>) -> micro::Result<Watcher> {
        let args = service.map_or_else(|| json!({}), |service| json!({ "service": service }));
        let (operation, body) = (named(operations::REGISTRY_WATCH), Body::Message(Bytes::new()));
        let mut changes = self.0.follow(operation, &args, Shape::ServerStream, body).await?;
        let (sender, watcher) = Watcher::channel(service);
        let registry = Self::of(&self.0.name);
        let telling = tokio::spawn(async move {
            let ended = loop {
                let change = match changes.message().await {
                    Ok(Some(change)) => {
                        registry.read::<Change>(operations::REGISTRY_WATCH, &change)
                    }
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                match change.map(Arc::new) {
                    Ok(change) if sender.send(&change) => {}
                    // The reader left, or is too far behind; letting go of the sender tells it.
                    Ok(_) => return,
                    Err(error) => break error,
                }
            };
            tracing::warn!(registry = ?registry, error = %ended, "a watch broke off");
        });
        Ok(watcher.with_guard(tokio_util::task::AbortOnDropHandle::new(telling)))
    }

    fn name(&self) -> &'static str {
        SCHEME
    }
}
