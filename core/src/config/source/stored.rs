//! A record of a store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Changes, Source};
use crate::config::document::Document;
use crate::config::format::Format;
use crate::config::origin::Origin;
use crate::error::{Code, Error, Result};
use crate::store::{self, Place, Store, Watch};

/// A document that a [store] keeps under a key, whose extension says what it is written in, and JSON without. It is read again when the record
/// changes, where the store can watch.
pub struct Stored {
    name: String,
    store: Arc<dyn Store>,
    place: Place,
    key: String,
    format: Format,
}

impl Stored {
    /// The record `key` of a table.
    pub fn new(store: Arc<dyn Store>, place: Place, key: impl Into<String>) -> Self {
        let key = key.into();
        let extension = key.rsplit_once('.').map(|(_, extension)| extension);
        let format = extension.and_then(Format::from_extension).unwrap_or(Format::Json);
        Self { name: format!("store://{}/{place}/{key}", store.name()), store, place, key, format }
    }

    /// What it is written in, whatever its key is.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// `memory://shop?key=shop.yaml` of `store://memory://shop?key=shop.yaml`; `database` and `table` may be said too.
    pub(in crate::config) fn from_url(rest: &str) -> Result<Self> {
        let (url, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut key, mut database, mut table) = (None, None, None);
        let mut others = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "key" => key = Some(value.into_owned()),
                "database" => database = Some(value.into_owned()),
                "table" => table = Some(value.into_owned()),
                _ => {
                    others.append_pair(&name, &value);
                }
            }
        }
        let key = key.ok_or_else(|| {
            Error::invalid_argument(
                "it names no record: write for example store://memory://shop?key=shop.json",
            )
        })?;
        let usual = Place::default();
        let place = Place::new(
            database.as_deref().unwrap_or(usual.database()),
            table.as_deref().unwrap_or(usual.table()),
        )?;
        let others = others.finish();
        let url = if others.is_empty() { url.to_owned() } else { format!("{url}?{others}") };
        Ok(Self::new(store::connect(&url)?, place, key))
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({})", self.name)
    }
}

#[async_trait]
impl Source for Stored {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self) -> Result<Document> {
        let record = self.store.read(&self.place, &self.key).await?;
        let record = record.ok_or_else(|| {
            Error::new(Code::NotFound, format!("{}: there is no such record", self.name))
        })?;
        Document::parse(self.format, &record.value, &Origin::new(self.name.as_str()))
    }

    async fn watch(&self) -> Result<Option<Box<dyn Changes>>> {
        if !self.store.abilities().watches {
            return Ok(None);
        }
        let watch = Watch { place: self.place.clone(), prefix: self.key.clone(), after: None };
        let changes = self.store.watch(watch).await?;
        Ok(Some(Box::new(Following { changes, key: self.key.clone() })))
    }
}

struct Following {
    changes: Box<dyn store::Changes>,
    key: String,
}

#[async_trait]
impl Changes for Following {
    async fn changed(&mut self) -> Result<()> {
        loop {
            match self.changes.next().await? {
                Some(event) if event.key == self.key => return Ok(()),
                Some(_) => {}
                None => return Err(Error::unavailable("the store has ended the watch")),
            }
        }
    }
}
