//! go-micro's broker `service`: another service, `go.micro.broker`, takes and delivers the messages (wire reference 10.3).

mod serve;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::time::timeout;

pub use self::serve::endpoints;
use self::wire::{Carried, Empty, PUBLISH, PublishRequest, SERVICE, SUBSCRIBE, SubscribeRequest};
use super::{
    Abilities, Broker, Deliveries, Delivery, Memory, Message, Settle, Subscription, Verdict,
};
use crate::client::{Client, Outgoing};
use crate::codec::Proto;
use crate::error::{Error, Result};
use crate::registry::{self, Registry};
use crate::spelling::quoted;
use crate::streaming::Streaming;

/// How long a service is waited for to say that a subscription stands. Ours does; go-micro's says nothing before the first message.
const HEAD: Duration = Duration::from_millis(500);
/// How long a silent connection is left alone before its service is asked whether it is there. gRPC servers of Go break off
/// connections that ask more often than every five minutes.
const KEEPALIVE: Duration = Duration::from_secs(310);

/// Messages by way of the service `go.micro.broker`, go-micro's broker `service`. Clones are handles on the same client.
///
/// At most once: that service takes a message, and hands it to the subscriptions that stand at that moment. What comes while one is made
/// again is missed. [`endpoints`] serve any broker so.
#[derive(Clone)]
pub struct Rpc {
    shared: Arc<Shared>,
}

struct Shared {
    service: String,
    /// Where it is, unless that is found in the registry.
    address: Option<String>,
    registry: OnceLock<Arc<dyn Registry>>,
    client: Mutex<Option<Client>>,
}

impl Rpc {
    /// The service of this name, `go.micro.broker` in a fleet with go-micro, which `client` finds, on its terms of TLS and metadata. The URL
    /// `service://` makes one, of the registry of the service or client that it belongs to.
    pub fn new(client: Client, service: impl Into<String>) -> Self {
        Self::with(service.into(), None, Some(client))
    }

    /// As the URL `service://` and what follows says.
    pub(super) fn from_url_path(rest: &str) -> Result<Self> {
        match rest.trim_end_matches('/') {
            "" => Ok(Self::with(SERVICE.to_owned(), None, None)),
            name if name.contains(['/', '?', '@']) || name.chars().any(char::is_whitespace) => {
                Err(Error::invalid_argument(format!(
                    "service://{}: write service://, service://name, or service://host:port",
                    quoted(rest)
                )))
            }
            address if address.contains(':') => {
                Ok(Self::with(SERVICE.to_owned(), Some(address.to_owned()), None))
            }
            name => Ok(Self::with(name.to_owned(), None, None)),
        }
    }

    fn with(service: String, address: Option<String>, client: Option<Client>) -> Self {
        let (registry, client) = (OnceLock::new(), Mutex::new(client));
        Self { shared: Arc::new(Shared { service, address, registry, client }) }
    }
}

impl Shared {
    fn client(&self) -> Result<Client> {
        let mut made = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*made {
            return Ok(client.clone());
        }
        // It carries messages, so that it needs no broker of its own.
        let builder = Client::builder().broker(Arc::new(Memory::new())).keepalive(KEEPALIVE);
        let builder = match (&self.address, self.registry.get()) {
            (Some(address), _) => {
                builder.registry(Arc::new(registry::Memory::new())).address(address)
            }
            (None, Some(registry)) => builder.registry(registry.clone()),
            (None, None) => {
                return Err(Error::failed_precondition(format!(
                    "service://{} is found in a registry, and this broker knows none: give it to a service or a client, or let it meet \
                     one",
                    self.service
                )));
            }
        };
        Ok(made.insert(builder.build()?).clone())
    }
}

#[async_trait]
impl Broker for Rpc {
    fn name(&self) -> &'static str {
        "service"
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn meet(&self, registry: &Arc<dyn Registry>) {
        let _ = self.shared.registry.set(registry.clone());
    }

    async fn publish(&self, message: Message) -> Result<()> {
        message.check(self.name(), self.abilities())?;
        let carried = Carried::new(&message)?;
        let asked = PublishRequest { topic: message.topic, message: Some(carried) };
        let client = self.shared.client()?;
        // What is published by a handler is not cut off with its call. Published twice is worse than an error that says so.
        let call = client.call(&self.shared.service, PUBLISH, Proto(asked)).detached().retries(0);
        let Proto(Empty {}) = call.await?;
        Ok(())
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        subscription.check(self.name(), self.abilities())?;
        let Subscription { topic, queue, .. } = subscription;
        let client = self.shared.client()?;
        let opened = client.open(&self.shared.service, SUBSCRIBE).detached().no_timeout().await?;
        let (asking, mut told): (Outgoing<_>, Streaming<Proto<Carried>>) = opened;
        let queue = queue.unwrap_or_default();
        asking.send(Proto(SubscribeRequest { topic: topic.clone(), queue })).await?;
        asking.close();
        let _ = timeout(HEAD, told.headers()).await;
        // What refuses a subscription is there with the head.
        let first = match told.message().now_or_never() {
            Some(Ok(None)) => return Err(self.ended()),
            Some(first) => first?,
            None => None,
        };
        let service = self.clone();
        Ok(Box::new(Subscribed { service, topic, told, first }))
    }
}

impl Rpc {
    fn ended(&self) -> Error {
        Error::unavailable(format!(
            "the service {} has ended the subscription",
            self.shared.service
        ))
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { service, address, .. } = &*self.shared;
        f.debug_struct("Rpc")
            .field("service", service)
            .field("address", address)
            .finish_non_exhaustive()
    }
}

struct Subscribed {
    service: Rpc,
    topic: String,
    told: Streaming<Proto<Carried>>,
    /// What came with the head.
    first: Option<Proto<Carried>>,
}

#[async_trait]
impl Deliveries for Subscribed {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.told.message().await?,
        };
        let Some(Proto(carried)) = next else { return Err(self.service.ended()) };
        let message = carried.message(&self.topic)?;
        Ok(Some(Delivery::new(message, 1, None, SystemTime::now(), Box::new(Unheard))))
    }
}

/// Nothing is said of messages in this protocol.
struct Unheard;

#[async_trait]
impl Settle for Unheard {
    async fn settle(self: Box<Self>, _: Verdict) -> Result<()> {
        Ok(())
    }
}
