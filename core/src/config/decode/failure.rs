//! What is wrong with a value.

use crate::config::node::{Data, Node};
use crate::config::origin::Origin;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Failure {
    /// Keys, the innermost first.
    pub(super) path: Vec<String>,
    pub(super) origin: Option<Origin>,
    pub(super) is_missing: bool,
    pub(super) why: String,
}

impl Failure {
    pub(super) fn within(mut self, key: &str) -> Self {
        self.path.push(key.to_owned());
        self
    }

    pub(super) fn at(mut self, node: &Node) -> Self {
        if self.origin.is_none() {
            // What a library says of a value has the value in it.
            if matches!(node.data, Data::Secret(_)) {
                "the secret is not of the type that is wanted".clone_into(&mut self.why);
            }
            self.origin = Some(node.origin.clone());
        }
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: std::fmt::Display>(why: T) -> Self {
        Self { path: Vec::new(), origin: None, is_missing: false, why: why.to_string() }
    }
}
