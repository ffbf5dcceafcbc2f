//! Where documents come from.

mod env;
mod file;
mod flags;
mod http;
mod memory;
mod stored;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use env::Env;
pub use file::File;
pub use flags::Flags;
pub use http::Http;
pub use memory::Memory;
pub use stored::Stored;

use super::document::Document;
use crate::error::Result;

/// Where a document comes from. Every implementation passes the same [contract](super::contract), and tests that with one line.
///
/// A configuration reads a source when it is loaded, and again after each of its [changes](Changes). It waits at most
/// [`read_timeout`](super::ConfigBuilder::read_timeout) for either; methods wait only by `await`.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// What it is called in messages, for example `file:///etc/shop.yaml`. Without secrets.
    fn name(&self) -> &str;

    /// What it says now.
    ///
    /// # Errors
    /// `NOT_FOUND` where there is nothing to read, `INVALID_ARGUMENT` with place and line for what cannot be read, `UNAVAILABLE` when it cannot be reached.
    async fn read(&self) -> Result<Document>;

    /// Watches it: a change that is made after this has returned is seen. `None` for what never changes.
    ///
    /// # Errors
    /// `UNAVAILABLE` when it cannot be reached.
    async fn watch(&self) -> Result<Option<Box<dyn Changes>>> {
        Ok(None)
    }
}

/// Tells when a source is to be read again.
#[async_trait]
pub trait Changes: Send {
    /// Waits for a change since the last one that was told. It may tell of one where there was none. Nothing is lost where the wait is given up.
    ///
    /// # Errors
    /// `UNAVAILABLE` where changes are seen no longer: the source is watched anew.
    async fn changed(&mut self) -> Result<()>;
}

#[async_trait]
impl Source for Arc<dyn Source> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn read(&self) -> Result<Document> {
        (**self).read().await
    }

    async fn watch(&self) -> Result<Option<Box<dyn Changes>>> {
        (**self).watch().await
    }
}
