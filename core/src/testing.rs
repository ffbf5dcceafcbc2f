//! Services and their callers in one process, without sockets, for the tests of programs that use `micro`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::broker;
use crate::client::{Client, ClientBuilder};
use crate::error::Result;
use crate::registry::{self, Registry};
use crate::service::{Service, ServiceBuilder};
use crate::transport::network;

/// Services that see each other and no others: a registry, a network and a broker in memory.
///
/// ```
/// use micro::testing::Fleet;
/// use micro::{Context, Json, Service};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro::Result<()> {
/// let hello = |_: Context, Json(name): Json<String>| async move { Ok(Json(format!("Hello, {name}!"))) };
/// let fleet = Fleet::new();
/// fleet.start(Service::builder("greeter").endpoint("Greeter.Hello", hello)).await?;
/// let request = Json("Ada".to_owned());
/// let Json(reply): Json<String> = fleet.client().call("greeter", "Greeter.Hello", request).await?;
/// assert_eq!(reply, "Hello, Ada!");
/// fleet.stop().await
/// # }
/// ```
pub struct Fleet {
    registry: Arc<registry::Memory>,
    network: Arc<network::Memory>,
    broker: Arc<broker::Memory>,
    services: Mutex<Vec<Arc<Service>>>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new()
    }
}

impl Fleet {
    /// A fleet without services.
    pub fn new() -> Self {
        Self {
            registry: Arc::new(registry::Memory::new()),
            network: Arc::new(network::Memory::new()),
            broker: Arc::new(broker::Memory::new()),
            services: Mutex::default(),
        }
    }

    /// The registry of everything in it.
    pub fn registry(&self) -> Arc<dyn Registry> {
        self.registry.clone()
    }

    /// Makes a service part of the fleet, whatever registry, network, broker and address it was made for. It leaves signals alone and
    /// stops without waiting for news to spread. For services that the test stops by itself; others are [started](Fleet::start).
    pub fn service(&self, service: ServiceBuilder) -> ServiceBuilder {
        service
            .address("127.0.0.1:0")
            .registry(self.registry())
            .network(self.network.clone())
            .broker(self.broker.clone())
            .handle_signals(false)
            .quiet(true)
            .propagation(Duration::ZERO)
    }

    /// Starts a service in the fleet, which stops with it.
    ///
    /// # Errors
    /// As [`ServiceBuilder::start`].
    pub async fn start(&self, service: ServiceBuilder) -> Result<Arc<Service>> {
        let service = Arc::new(self.service(service).start().await?);
        self.services().push(service.clone());
        Ok(service)
    }

    /// A client of its services.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn client(&self) -> Client {
        #[allow(clippy::expect_used, reason = "nothing in it can be wrong")]
        self.client_with(Client::builder()).build().expect("a client of the fleet")
    }

    /// Makes a client part of the fleet, whatever registry, network and broker it was made for.
    pub fn client_with(&self, client: ClientBuilder) -> ClientBuilder {
        client.registry(self.registry()).network(self.network.clone()).broker(self.broker.clone())
    }

    fn services(&self) -> MutexGuard<'_, Vec<Arc<Service>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the services that were started, the last one first.
    ///
    /// # Errors
    /// The first failure; the others are stopped all the same.
    pub async fn stop(self) -> Result<()> {
        let services = std::mem::take(&mut *self.services());
        let mut outcome = Ok(());
        for service in services.into_iter().rev() {
            outcome = outcome.and(service.stop().await);
        }
        outcome
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("services", &self.services().len()).finish_non_exhaustive()
    }
}
