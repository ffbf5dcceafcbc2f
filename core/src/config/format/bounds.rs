//! How much a document may be, and how its errors are told.

use std::fmt::Display;
use std::sync::Arc;

use crate::config::node::{Data, Map, Node};
use crate::config::origin::Origin;
use crate::error::{Error, Result};

/// How deep values may be within others.
const MAX_DEPTH: usize = 64;
/// Most values of a document, with every alias counted as what it stands for.
const MAX_VALUES: usize = 1_000_000;

/// A document that is being read.
#[derive(Debug)]
pub(super) struct Place<'a> {
    origin: &'a Origin,
    values: usize,
}

impl<'a> Place<'a> {
    pub(super) fn new(origin: &'a Origin) -> Self {
        Self { origin, values: 0 }
    }

    pub(super) fn on_line(&self, line: usize) -> Origin {
        self.origin.on_line(line)
    }

    /// What is wrong on a line.
    pub(super) fn wrong(&self, line: usize, why: impl Display) -> Error {
        Error::invalid_argument(format!("{}: {why}", self.on_line(line)))
    }

    /// A value that is within `depth` others.
    pub(super) fn node(&mut self, data: Data, line: usize, depth: usize) -> Result<Arc<Node>> {
        self.count(1, line, depth)?;
        Ok(Node::new(data, self.on_line(line)))
    }

    /// So many values more, the deepest of them within `depth` others.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for more than is read.
    pub(super) fn count(&mut self, values: usize, line: usize, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(
                self.wrong(line, format!("values are more than {MAX_DEPTH} deep: make it flatter"))
            );
        }
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return Err(self.wrong(
                line,
                format!(
                    "the document has more than {MAX_VALUES} values, with its aliases: split it, or leave out aliases of aliases"
                ),
            ));
        }
        Ok(())
    }

    /// Adds a child.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a key that is there.
    pub(super) fn insert(
        &self,
        map: &mut Map,
        key: &str,
        node: Arc<Node>,
        line: usize,
    ) -> Result<()> {
        if let Some(before) = map.get(key) {
            let first = before.origin.line().unwrap_or_default();
            return Err(self.wrong(
                line,
                format!("the key {key:?} is there twice, first on line {first}: remove one"),
            ));
        }
        map.insert(key.into(), node);
        Ok(())
    }
}
