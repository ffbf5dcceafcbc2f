//! A value, as it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::decode::decode;
use super::duration;
use super::node::{Data, Node, at};
use super::origin::Origin;
use super::path::Path;
use crate::error::{Error, Result};

/// What is at a path, at the moment it was asked for. Each getter says what is wrong, so that a default is one `unwrap_or` away:
///
/// ```
/// use std::time::Duration;
///
/// use micro::config::{Config, Memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
/// let source = Memory::new(serde_json::json!({"db": {"port": "5432", "timeout": "1m30s", "hosts": "a, b"}}))?;
/// let config = Config::builder().source(source).load().await?;
/// assert_eq!(config.get("db.port").int()?, 5432);
/// assert_eq!(config.get("db.timeout").duration()?, Duration::from_secs(90));
/// assert_eq!(config.get("db.hosts").list()?, ["a", "b"]);
/// assert_eq!(config.get("db.pool").int().unwrap_or(4), 4);
/// let error = config.get("db.hosts").int().unwrap_err();
/// assert!(error.detail().starts_with("db.hosts (memory): "), "{error}");
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq)]
pub struct Value {
    path: Path,
    node: Option<Arc<Node>>,
}

impl Value {
    pub(super) fn new(path: Path, node: Option<Arc<Node>>) -> Self {
        Self { path, node }
    }

    /// The path it is at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is one; `null` is one.
    pub fn is_set(&self) -> bool {
        self.node.is_some()
    }

    /// Where it comes from.
    pub fn origin(&self) -> Option<&Origin> {
        self.node.as_ref().map(|node| &node.origin)
    }

    /// The value at a path below this one.
    pub fn get(&self, path: impl Into<Path>) -> Self {
        let path = path.into();
        let node = self.node.as_ref().and_then(|node| at(node, &path)).cloned();
        Self { path: self.path.join(path), node }
    }

    /// The keys of a map; none of anything else.
    pub fn keys(&self) -> Vec<&str> {
        match self.node.as_ref().map(|node| &node.data) {
            Some(Data::Map(values)) => values.keys().map(|key| &**key).collect(),
            _ => Vec::new(),
        }
    }

    /// A truth value, or a text that Go reads as one: `true`, `t`, `1` and so on.
    ///
    /// # Errors
    /// `NOT_FOUND` where there is none, `INVALID_ARGUMENT` with path and origin for anything else.
    pub fn bool(&self) -> Result<bool> {
        self.scan()
    }

    /// A whole number, or a text that is one.
    ///
    /// # Errors
    /// As [`bool`](Self::bool).
    pub fn int(&self) -> Result<i64> {
        self.scan()
    }

    /// A number, or a text that is one.
    ///
    /// # Errors
    /// As [`bool`](Self::bool).
    pub fn float(&self) -> Result<f64> {
        self.scan()
    }

    /// A text, or as it is written what is no text yet, such as a variable.
    ///
    /// # Errors
    /// As [`bool`](Self::bool).
    pub fn string(&self) -> Result<String> {
        self.scan()
    }

    /// A duration such as `1h30m`, `1.5s` or `250ms`.
    ///
    /// # Errors
    /// As [`bool`](Self::bool); a number without a unit is none.
    pub fn duration(&self) -> Result<Duration> {
        let text: String = self.scan()?;
        duration::parse(&text).map_err(|error| {
            let is_secret = self.node.as_ref().is_some_and(|n| matches!(n.data, Data::Secret(_)));
            let why = if is_secret { "the secret is no duration" } else { error.detail() };
            self.wrong(why)
        })
    }

    /// A list of texts; a text with commas is one, and one without a list of one.
    ///
    /// # Errors
    /// As [`bool`](Self::bool).
    pub fn list(&self) -> Result<Vec<String>> {
        self.scan()
    }

    /// A map of scalars, which are texts here.
    ///
    /// # Errors
    /// As [`bool`](Self::bool).
    pub fn map(&self) -> Result<BTreeMap<String, String>> {
        let values: BTreeMap<String, Json> = self.scan()?;
        let text = |(key, value)| match value {
            Json::String(text) => (key, text),
            other => (key, other.to_string()),
        };
        Ok(values.into_iter().map(text).collect())
    }

    /// Reads it into a type.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the path, the origin and what was expected; `NOT_FOUND` where there is none and one is needed.
    pub fn scan<T: DeserializeOwned>(&self) -> Result<T> {
        decode(&self.path, self.node.as_deref())
    }

    fn wrong(&self, why: impl fmt::Display) -> Error {
        match self.origin() {
            Some(origin) => Error::invalid_argument(format!("{} ({origin}): {why}", self.path)),
            None => Error::invalid_argument(format!("{}: {why}", self.path)),
        }
    }

    pub(super) fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }
}

/// As JSON; secrets are not shown.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}", node.to_json(&|_| Json::String("(secret)".to_owned()))),
            None => f.write_str("(not set)"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {self}", self.path)
    }
}
