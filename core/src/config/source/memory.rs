//! A document that a program gives, and changes.

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::watch;

use super::{Changes, Source};
use crate::config::document::Document;
use crate::config::origin::Origin;
use crate::error::{Error, Result};

/// A document that a program gives: defaults at the front, or what a test changes. Clones are handles on the same one.
///
/// ```
/// use micro::config::{Config, Memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// let defaults = Memory::new(serde_json::json!({"db": {"port": 5432}}))?;
/// let config = Config::builder().source(defaults.clone()).load().await?;
/// let mut ports = config.watch("db.port");
/// defaults.update(serde_json::json!({"db": {"port": 5433}}))?;
/// assert_eq!(ports.next().await.unwrap().int()?, 5433);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Memory {
    origin: Origin,
    document: watch::Sender<Document>,
}

impl Memory {
    /// Says what the fields of `value` are.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what has no fields.
    pub fn new(value: impl Serialize) -> Result<Self> {
        Self::named("memory", value)
    }

    /// The same by another name, which is the origin of its values.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn named(name: &str, value: impl Serialize) -> Result<Self> {
        let origin = Origin::new(name);
        let document = Document::from_value(value, &origin)?;
        Ok(Self { origin, document: watch::Sender::new(document) })
    }

    /// Says a document, such as one that was [parsed](Document::parse).
    pub fn document(document: Document) -> Self {
        let origin = Origin::new("memory");
        Self { origin, document: watch::Sender::new(document) }
    }

    /// Says something else from now on.
    ///
    /// # Errors
    /// As [`new`](Self::new); it says what it said before then.
    pub fn update(&self, value: impl Serialize) -> Result<()> {
        self.document.send_replace(Document::from_value(value, &self.origin)?);
        Ok(())
    }
}

#[async_trait]
impl Source for Memory {
    fn name(&self) -> &str {
        self.origin.source()
    }

    async fn read(&self) -> Result<Document> {
        Ok(self.document.borrow().clone())
    }

    async fn watch(&self) -> Result<Option<Box<dyn Changes>>> {
        Ok(Some(Box::new(Updates(self.document.subscribe()))))
    }
}

struct Updates(watch::Receiver<Document>);

#[async_trait]
impl Changes for Updates {
    async fn changed(&mut self) -> Result<()> {
        let gone = |_| Error::unavailable("the program gave up its document");
        self.0.changed().await.map_err(gone)
    }
}
