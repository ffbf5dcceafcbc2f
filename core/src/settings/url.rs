//! What a document names by URL.

use std::sync::Arc;

use super::path::FieldPath;
use super::value::Value;
use crate::broker::{self, Broker};
use crate::error::Result;
use crate::registry::{self, Registry};
use crate::store::{self, Store};
use crate::transport::network::{self, Network};

/// A registry, a broker, a store or a network by its URL, which is opened when it is used.
#[derive(Debug, Clone)]
pub(crate) struct UrlSetting {
    path: FieldPath,
    url: String,
}

impl UrlSetting {
    pub(super) fn read(value: Value) -> Result<Self> {
        Ok(Self { path: value.path.clone(), url: value.text()? })
    }

    /// Where it stands.
    pub(super) fn path(&self) -> &FieldPath {
        &self.path
    }

    /// The URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Opens the registry.
    ///
    /// # Errors
    /// As [`registry::connect`], naming what set the URL.
    pub(crate) fn registry(&self) -> Result<Arc<dyn Registry>> {
        registry::connect(&self.url).map_err(|error| self.path.found(&error))
    }

    /// Opens the broker.
    ///
    /// # Errors
    /// As [`broker::connect`], naming what set the URL.
    pub(crate) fn broker(&self) -> Result<Arc<dyn Broker>> {
        broker::connect(&self.url).map_err(|error| self.path.found(&error))
    }

    /// Opens the store.
    ///
    /// # Errors
    /// As [`store::connect`], naming what set the URL.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>> {
        store::connect(&self.url).map_err(|error| self.path.found(&error))
    }

    /// Opens the network.
    ///
    /// # Errors
    /// As [`network::connect`], naming what set the URL.
    pub(crate) fn network(&self) -> Result<Arc<dyn Network>> {
        network::connect(&self.url).map_err(|error| self.path.found(&error))
    }
}
