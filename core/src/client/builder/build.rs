//! How a client is made of its settings, and of what the operator of the program says.

use std::sync::{Arc, Weak};

use papaya::HashMap;

use super::ClientBuilder;
use crate::broker;
use crate::client::cached;
use crate::client::handle::{Client, Inner};
use crate::client::heads::Heads;
use crate::client::layers::{AttemptRequest, Request};
use crate::client::options::CallOptions;
use crate::client::pool::Pool;
use crate::directory::Cache;
use crate::error::Result;
use crate::registry;
use crate::selector;
use crate::settings::{ClientSettings, Operator};
use crate::store;
use crate::transport::{Reservoir, Share};

impl ClientBuilder {
    /// Sets what the operator of the program says, over what the program does.
    ///
    /// # Errors
    /// As [`ClientSettings::builder`].
    pub(crate) fn overruled(mut self, settings: ClientSettings) -> Result<Self> {
        let call: CallOptions = settings.call().into();
        // These add up where the program says them.
        if !call.addresses.is_empty() {
            self.options.addresses.clear();
        }
        if !call.filters.is_empty() {
            self.options.filters.clear();
        }
        for name in call.metadata.headers().keys() {
            self.options.metadata.remove(name.as_str());
        }
        settings.apply(self)
    }

    /// Makes the client. Needs a tokio runtime.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a wrong option, also in a variable, or for an unknown registry.
    pub fn build(mut self) -> Result<Client> {
        if std::mem::replace(&mut self.environment, false) {
            let settings = Operator::default().client()?.client()?;
            self = self.overruled(settings)?;
        }
        self.check()?;
        if let Some(error) = self.options.wrong {
            return Err(error);
        }
        let cache = match (self.cache, self.registry, self.registry_url) {
            (Some(cache), _, _) => cache,
            (None, Some(registry), _) => Cache::new(registry),
            (None, None, Some(url)) => Cache::new(url.registry()?),
            (None, None, None) => Cache::new(registry::connect("auto")?),
        };
        let broker = match (self.broker, self.broker_url) {
            (Some(broker), _) => broker,
            (None, Some(url)) => url.broker()?,
            (None, None) => broker::connect(broker::DEFAULT)?,
        };
        broker.meet(cache.registry());
        let store = match (self.store, self.store_url) {
            (Some(store), _) => store,
            (None, Some(url)) => url.store()?,
            (None, None) => store::connect(store::DEFAULT)?,
        };
        let strategy = match &self.options.strategy {
            Some(strategy) => strategy.clone(),
            None => Arc::new(selector::P2c::new()),
        };
        let heads = Heads::new(&self.name, &self.namespace, &self.options)?;
        let buffered = Reservoir::new(self.max_buffered, self.max_message);
        let replies = Share::new(&buffered, self.max_buffered, self.max_message);
        let inner = Arc::new(Inner {
            name: self.name,
            broker,
            config: self.config,
            store,
            cache,
            strategy,
            pool: Pool::new(self.dial, self.max_connections, self.sharing),
            metrics: Arc::default(),
            options: self.options,
            max_message: self.max_message,
            max_buffered: self.max_buffered,
            cached: cached::Store::new(self.max_cached),
            buffered,
            replies,
            heads,
            targets: HashMap::default(),
            callees: HashMap::default(),
            fixed: HashMap::default(),
            calls: (!self.calls.is_empty()).then(|| self.calls.around(Request::routed())),
            attempts: (!self.attempts.is_empty())
                .then(|| self.attempts.around(AttemptRequest::routed())),
        });
        let witness: Weak<Inner> = Arc::downgrade(&inner);
        inner.cache.registry().witness(witness);
        Ok(Client(inner))
    }
}

impl Client {
    /// A client of the registry named by `MICRO_REGISTRY`, `auto` unless set. Needs a tokio runtime.
    ///
    /// # Errors
    /// As [`ClientBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A client with other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}
