//! The services a command sees, and what to say when one is not there.

use std::collections::BTreeSet;
use std::sync::Arc;

#[cfg(unix)]
use micro::broker::Durable;
use micro::broker::{self, Broker};
use micro::client::ClientBuilder;
use micro::registry::{self, Registry, Service};
use micro::{Client, ClientTls, Code, Result};

use crate::failure::Failure;
use crate::spelling;

/// A registry as commands use it.
pub(crate) struct Fleet {
    registry: Arc<dyn Registry>,
    url: String,
    tls: Option<ClientTls>,
}

impl Fleet {
    /// The fleet in the registry `url`; an empty one means the default, as an empty variable does.
    pub(crate) fn connect(url: &str, tls: Option<ClientTls>) -> Result<Self> {
        let url = if url.is_empty() { "auto" } else { url };
        Ok(Self { registry: registry::connect(url)?, url: url.to_owned(), tls })
    }

    pub(crate) fn registry(&self) -> &dyn Registry {
        &*self.registry
    }

    /// The registry, for a service.
    #[cfg(unix)]
    pub(crate) fn shared(&self) -> Arc<dyn Registry> {
        self.registry.clone()
    }

    /// The registry in words.
    pub(crate) fn place(&self) -> String {
        match self.registry.name() {
            name if self.url.starts_with(name) => self.url.clone(),
            name => format!("{} ({name})", self.url),
        }
    }

    /// The broker with this URL, whose subscribers are in this fleet.
    pub(crate) fn broker(&self, url: &str) -> Result<Arc<dyn Broker>> {
        let url = if url.is_empty() { "http://" } else { url };
        let broker = broker::connect(url)?;
        broker.meet(&self.registry);
        Ok(broker)
    }

    /// The durable broker with this URL; the user's own folder unless another is named.
    #[cfg(unix)]
    pub(crate) fn durable(&self, url: &str) -> std::result::Result<Durable, Failure> {
        let url = if matches!(url, "" | "http://" | "http") { "durable://" } else { url };
        if !url.starts_with("durable:") {
            return Err(Failure::usage(format!(
                "{url} cannot be looked into: name a durable broker, such as --broker durable:///var/lib/shop"
            )));
        }
        let broker = Durable::connect(url)?;
        broker.meet(&self.registry);
        Ok(broker)
    }

    pub(crate) fn client(&self) -> Result<Client> {
        self.client_builder().build()
    }

    /// A client of this fleet that is still to be told its terms.
    pub(crate) fn client_builder(&self) -> ClientBuilder {
        // The command has flags of its own, and what they say is meant.
        let builder = Client::builder().registry(self.registry.clone()).environment(false);
        match &self.tls {
            Some(tls) => builder.tls(tls.clone()),
            None => builder,
        }
    }

    /// Names of all services, in order.
    pub(crate) async fn names(&self) -> Result<BTreeSet<String>> {
        Ok(self.registry.list().await?.into_iter().map(|service| service.name).collect())
    }

    /// Every version of `name`, none when it is gone.
    pub(crate) async fn find(&self, name: &str) -> Result<Vec<Service>> {
        match self.registry.get(name).await {
            Err(error) if error.code() == Code::NotFound => Ok(Vec::new()),
            found => found,
        }
    }

    /// Every version of `name`; a failure that helps when there is none.
    pub(crate) async fn get(&self, name: &str) -> std::result::Result<Vec<Service>, Failure> {
        match self.find(name).await? {
            found if found.is_empty() => Err(self.unknown(name).await),
            found => Ok(found),
        }
    }

    /// The failure of a command about a service that is not there.
    pub(crate) async fn unknown(&self, name: &str) -> Failure {
        let names = self.names().await.unwrap_or_default();
        let advice = match spelling::nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if names.is_empty() => format!(
                "{} is empty: is the service running, and with this registry?",
                self.place()
            ),
            None => "`micro services` lists those that are there".to_owned(),
        };
        Failure::refused(format!("no service `{name}`; {advice}"))
    }
}
