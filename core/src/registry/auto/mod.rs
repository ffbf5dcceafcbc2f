//! The registry of a program that chose none: mDNS where multicast works, [`Local`](super::Local) where it does not.
//!
//! The choice is made on first use and logged with its reason: two programs on one machine come to the
//! same one. It is looked at again every few seconds, because networks come and go: when multicast
//! begins or ends to work, and stays so for a while, the services of this process move. For
//! 15 s they are in both registries, so that no client misses them while others move too;
//! watches go on, and are told then what is there no more.

mod relay;
mod shared;
mod supervise;
#[cfg(test)]
mod tests;
mod told;

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OnceCell, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::relay::relay;
use self::shared::{PACE, PATIENCE, Pace, Record, Shared, Stage, keys, register_in};
use self::supervise::supervise;
use super::{Node, Registry, Service, Watcher, Witness, Witnesses, mdns};
use crate::error::{Code, Error, Result};

/// Zero-configuration registry; see the module of the same name for how it chooses.
#[derive(Debug)]
pub struct Auto {
    shared: Arc<Shared>,
    /// Begun with the first use.
    supervisor: OnceCell<AbortOnDropHandle<()>>,
}

impl Default for Auto {
    fn default() -> Self {
        Self::with_options(mdns::Options::default())
    }
}

impl Auto {
    /// Tries mDNS on every interface.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries mDNS with these options.
    pub fn with_options(options: mdns::Options) -> Self {
        Self::with_pace(options, PACE)
    }

    fn with_pace(options: mdns::Options, pace: Pace) -> Self {
        let (state, stage) = (Mutex::default(), watch::Sender::new(None));
        let witnesses = Witnesses::default();
        let shared = Arc::new(Shared { options, pace, state, witnesses, stage });
        Self { shared, supervisor: OnceCell::new() }
    }

    /// The registry of this moment; the first to ask chooses.
    async fn chosen(&self) -> Result<Arc<dyn Registry>> {
        let begin = async || {
            let registry = self.shared.choose().await?;
            let changes = Arc::new([]);
            let stage = Stage { moves: 0, registry, changes, over: true };
            self.shared.stage.send_replace(Some(stage));
            let supervise = supervise(self.shared.clone());
            Ok::<_, Error>(AbortOnDropHandle::new(tokio::spawn(supervise)))
        };
        self.supervisor.get_or_try_init(begin).await?;
        self.shared.current().ok_or_else(|| Error::internal("no registry was chosen"))
    }
}

#[async_trait]
impl Registry for Auto {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        let registry = self.chosen().await?;
        let told = register_in(&*registry, service, ttl).await?;
        for ((key, node), told) in keys(service).into_iter().zip(&service.nodes).zip(&told.nodes) {
            let service = Service { nodes: vec![node.clone()], ..service.clone() };
            let record = Record { service, ttl, told: told.address.clone() };
            self.shared.state().records.insert(key, record);
        }
        // A move that began meanwhile did not know of it.
        let others = self.shared.current().into_iter().chain(self.shared.previous());
        for other in others.filter(|other| !Arc::ptr_eq(other, &registry)) {
            if let Err(error) = register_in(&*other, service, ttl).await {
                tracing::debug!(service = service.name, %error, "not registered in both");
            }
        }
        Ok(())
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        let registry = self.chosen().await?;
        for key in keys(service) {
            self.shared.state().records.remove(&key);
        }
        if let Some(previous) = self.shared.previous() {
            let _ = timeout(PATIENCE, previous.deregister(service)).await;
        }
        registry.deregister(service).await
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        let mut found = self.chosen().await?.get(name).await;
        if found.as_ref().is_err_and(|error| error.code() == Code::NotFound)
            && let Some(previous) = self.shared.previous()
        {
            found = previous.get(name).await;
        }
        if let Ok(found) = &found {
            self.shared.state().told.note(found);
        }
        found
    }

    async fn list(&self) -> Result<Vec<Service>> {
        let mut found = self.chosen().await?.list().await?;
        if let Some(previous) = self.shared.previous() {
            found.extend(previous.list().await.unwrap_or_default());
            found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
            found.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
        }
        Ok(found)
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.chosen().await?;
        let mut stages = self.shared.stage.subscribe();
        let Some(stage) = stages.borrow_and_update().clone() else {
            return Err(Error::internal("no registry was chosen"));
        };
        let inner = stage.registry.watch(service).await?;
        let (sender, watcher) = Watcher::channel(service);
        let service = service.map(str::to_owned);
        let relay = relay(self.shared.clone(), service, inner, sender, (stage.moves, stages));
        Ok(watcher.with_guard(AbortOnDropHandle::new(tokio::spawn(relay))))
    }

    fn name(&self) -> &'static str {
        self.shared.current().map_or("auto", |registry| registry.name())
    }

    async fn ready(&self) -> Result<()> {
        self.chosen().await?.ready().await
    }

    fn tells_each_interface(&self) -> bool {
        true
    }

    fn witness(&self, witness: Weak<dyn Witness>) {
        self.shared.witnesses.add(witness);
    }

    fn suspect(&self, service: &str, node: &Node) {
        if let Some(registry) = self.shared.current() {
            registry.suspect(service, node);
        }
    }
}
