//! What a source says.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;

use super::format::{self, Format, MAX_BYTES};
use super::node::{Data, Node, merge, same, with};
use super::origin::Origin;
use crate::error::{Error, Result};

/// What a source says: a tree of values that each know where they come from. Two are equal where their values are.
///
/// ```
/// use micro::config::{Document, Format, Origin};
///
/// let origin = Origin::new("shop").at("shop.json");
/// let document = Document::parse(Format::Json, b"{\"db\": {\"port\": 5432}}", &origin)?;
/// let error = Document::parse(Format::Json, b"{\n\"db\": }", &origin).unwrap_err();
/// assert!(error.detail().starts_with("shop.json:2: "), "{error}");
/// # let _ = document;
/// # Ok::<(), micro::Error>(())
/// ```
#[derive(Clone)]
pub struct Document {
    root: Arc<Node>,
}

impl Document {
    /// Without any value.
    pub fn empty(origin: &Origin) -> Self {
        Self { root: Node::empty(origin.clone()) }
    }

    /// Reads a text of at most 16 MiB; `origin` is where it comes from, to which lines are added. It is at most 64 values deep, and has at most
    /// a million of them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the line, for what cannot be read; `RESOURCE_EXHAUSTED` for what is too long, `UNIMPLEMENTED` for a format
    /// whose feature is off.
    pub fn parse(format: Format, text: &[u8], origin: &Origin) -> Result<Self> {
        Self::parse_up_to(format, text, origin, MAX_BYTES)
    }

    /// As [`parse`](Self::parse), for texts of at most `max_bytes`.
    ///
    /// # Errors
    /// As those of [`parse`](Self::parse).
    pub fn parse_up_to(
        format: Format,
        text: &[u8],
        origin: &Origin,
        max_bytes: usize,
    ) -> Result<Self> {
        Ok(Self { root: format::parse(format, text, origin, max_bytes)? })
    }

    /// Takes the fields of a value.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what has no fields, or cannot be written as JSON.
    pub fn from_value(value: impl Serialize, origin: &Origin) -> Result<Self> {
        let json = serde_json::to_value(value)
            .map_err(|error| Error::invalid_argument(format!("{origin}: {error}")))?;
        if !matches!(json, Json::Object(_) | Json::Null) {
            return Err(Error::invalid_argument(format!("{origin}: give an object, with fields")));
        }
        match json {
            Json::Null => Ok(Self::empty(origin)),
            json => Ok(Self { root: Node::from_json(json, origin) }),
        }
    }

    /// Adds a text at a path, in place of what is there. What it is depends on who reads it: `8080` is a number for those that want one.
    #[must_use]
    pub fn with_text(self, path: &[String], text: impl Into<String>, origin: &Origin) -> Self {
        let node = Node::new(Data::Loose(text.into()), origin.clone());
        Self { root: with(&self.root, path, &node) }
    }

    /// With another over it, as sources are merged.
    #[must_use]
    pub fn merge(&self, over: &Self) -> Self {
        Self { root: merge(&self.root, &over.root) }
    }

    pub(super) fn root(&self) -> &Arc<Node> {
        &self.root
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        same(&self.root, &other.root)
    }
}

/// Without values, which may be secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document of {}", self.root.origin)
    }
}
