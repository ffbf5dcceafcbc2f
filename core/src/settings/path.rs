//! Where a value of a document stands, and who set it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use crate::error::{Error, Result};

/// What set each key of a document that was put together from several sources.
pub(super) type Origins = Arc<BTreeMap<&'static str, String>>;

/// The path to a value: its document, and the keys that lead to it.
#[derive(Debug, Clone)]
pub(super) struct FieldPath {
    document: &'static str,
    path: String,
    origins: Option<Origins>,
}

impl FieldPath {
    pub(super) fn new(document: &'static str) -> Self {
        Self { document, path: String::new(), origins: None }
    }

    /// Into a document whose keys come from these sources, which messages name.
    pub(super) fn of_sources(document: &'static str, origins: Origins) -> Self {
        Self { document, path: String::new(), origins: Some(origins) }
    }

    /// The path of the field `name` of the object that stands here.
    pub(super) fn field(&self, name: &str) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Self { document: self.document, path, origins: self.origins.clone() }
    }

    pub(super) fn element(&self, index: usize) -> Self {
        let path = format!("{}[{index}]", self.path);
        Self { document: self.document, path, origins: self.origins.clone() }
    }

    /// The error that says what is wrong here.
    pub(super) fn wrong(&self, why: impl Display) -> Error {
        let Self { document, path, .. } = self;
        if let Some(origin) = self.origin() {
            return Error::invalid_argument(format!("{origin}: {why}"));
        }
        let colon = if path.is_empty() { "" } else { ": " };
        Error::invalid_argument(format!("{document}: {path}{colon}{why}"))
    }

    /// What set the value here: the source of its key, or of the nearest one around or within it.
    fn origin(&self) -> Option<&str> {
        let origins = self.origins.as_deref()?;
        let leads = |from: &str, to: &str| {
            to.strip_prefix(from)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let around = origins.iter().filter(|(key, _)| leads(key, &self.path));
        let around = around.max_by_key(|(key, _)| key.len());
        let within = || origins.iter().find(|(key, _)| leads(&self.path, key));
        around.or_else(within).map(|(_, origin)| origin.as_str())
    }

    /// The value, unless there is something wrong with it.
    pub(super) fn unless<T>(&self, refused: Option<String>, value: T) -> Result<T> {
        match refused {
            Some(why) => Err(self.wrong(why)),
            None => Ok(value),
        }
    }

    /// The same for what another check found wrong.
    pub(super) fn found(&self, error: &Error) -> Error {
        self.wrong(error.detail())
    }
}
