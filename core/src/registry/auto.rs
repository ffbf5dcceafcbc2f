//! The registry nobody had to choose: mDNS where multicast works, [`Local`] where it does not.
//!
//! The choice is made on first use, once, and logged with its reason: two programs on one machine
//! come to the same one.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{Local, Mdns, Node, Registry, Service, Watcher, Witness, Witnesses, mdns};
use crate::error::{Error, Result};

/// Zero-configuration registry; see the module of the same name for how it chooses.
#[derive(Debug, Default)]
pub struct Auto {
    chosen: OnceCell<Arc<dyn Registry>>,
    options: mdns::Options,
    /// Those given before the choice; the chosen one is given the same.
    witnesses: Witnesses,
}

impl Auto {
    /// Tries mDNS on every interface.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries mDNS with these options.
    pub fn with_options(options: mdns::Options) -> Self {
        Self { options, ..Self::default() }
    }

    async fn chosen(&self) -> Result<&Arc<dyn Registry>> {
        self.chosen.get_or_try_init(|| self.choose()).await
    }

    async fn choose(&self) -> Result<Arc<dyn Registry>> {
        let mdns = async {
            Mdns::probe(&self.options).await?;
            Mdns::new(self.options.clone())
        };
        let reason = match mdns.await {
            Ok(mdns) => {
                mdns.witness(self.witnesses.as_witness());
                return Ok(Arc::new(mdns));
            }
            Err(reason) => reason,
        };
        let local = Local::new().map_err(|error| {
            Error::unavailable(format!(
                "no registry works here: mDNS: {}; local: {}; set MICRO_REGISTRY",
                reason.detail(),
                error.detail()
            ))
        })?;
        tracing::warn!(
            reason = reason.detail(),
            folder = %local.path().display(),
            "mDNS does not work here: services are found on this machine only"
        );
        Ok(Arc::new(local))
    }
}

#[async_trait]
impl Registry for Auto {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        self.chosen().await?.register(service, ttl).await
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        self.chosen().await?.deregister(service).await
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        self.chosen().await?.get(name).await
    }

    async fn list(&self) -> Result<Vec<Service>> {
        self.chosen().await?.list().await
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.chosen().await?.watch(service).await
    }

    fn name(&self) -> &'static str {
        self.chosen.get().map_or("auto", |registry| registry.name())
    }

    async fn ready(&self) -> Result<()> {
        self.chosen().await?.ready().await
    }

    fn suspect(&self, service: &str, node: &Node) {
        if let Some(registry) = self.chosen.get() {
            registry.suspect(service, node);
        }
    }

    fn witness(&self, witness: Weak<dyn Witness>) {
        self.witnesses.add(witness);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_multicast_the_local_registry_is_chosen() {
        // An interface that does not exist stands for a machine where multicast is blocked.
        let options =
            mdns::Options { interfaces: vec!["no-such-interface".into()], ..Default::default() };
        let auto = Auto::with_options(options);
        assert_eq!(auto.name(), "auto");
        auto.ready().await.expect("some registry works");
        assert_eq!(auto.name(), "local");
    }

    #[tokio::test]
    async fn with_multicast_mdns_is_chosen() {
        let options =
            mdns::Options { interfaces: vec!["lo".into()], port: 53_531, ..Default::default() };
        let auto = Auto::with_options(options);
        auto.ready().await.expect("loopback multicast works");
        assert_eq!(auto.name(), "mdns");
    }
}
