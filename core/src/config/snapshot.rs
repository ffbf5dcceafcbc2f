//! A configuration as it is at one moment.

use std::fmt;
use std::sync::Arc;

use super::node::{Data, Node, at, last_at};
use super::origin::Origin;
use super::path::Path;
use super::value::Value;

/// All values, and the layers they come from.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Merged, with variables in place.
    pub(super) root: Arc<Node>,
    /// As their sources say; the last comes over all others.
    pub(super) layers: Vec<Arc<Node>>,
    /// Grows with each change.
    pub(super) version: u64,
    /// Values at and below these are not shown.
    pub(super) secrets: Arc<[Path]>,
}

impl Snapshot {
    pub(super) fn get(&self, path: Path) -> Value {
        let node = at(&self.root, &path).cloned();
        Value::new(path, node)
    }

    pub(super) fn why(&self, path: Path) -> Why {
        let value = self.get(path);
        let keys = value.path().keys();
        let hidden = value.node().is_some_and(|node| matches!(node.data, Data::Secret(_)))
            || self.secrets.iter().any(|secret| keys.starts_with(secret.keys()));
        let mut said = Vec::new();
        for layer in self.layers.iter().rev() {
            let last = last_at(layer, value.path());
            let found = at(layer, value.path());
            let shown = match (found, &last.data) {
                (_, Data::Deleted) => "(deleted)".to_owned(),
                (Some(_), _) if hidden => "(secret)".to_owned(),
                (Some(node), _) => shown(node),
                // It says nothing of it.
                (None, Data::Map(_)) => continue,
                (None, _) => format!("nothing, as it says {} instead of a map", last.kind()),
            };
            said.push(Said { origin: last.origin.clone(), value: shown });
        }
        Why { value, said }
    }
}

fn shown(node: &Arc<Node>) -> String {
    match &node.data {
        Data::Map(values) => format!("a map of {}", counted(values.len(), "key")),
        Data::List(values) => format!("a list of {}", counted(values.len(), "value")),
        _ => Value::new(Path::default(), Some(Arc::clone(node))).to_string(),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What one source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where.
    pub origin: Origin,
    /// What, as it is written there; a secret is not shown.
    pub value: String,
}

/// Why a path has its value: what each source says of it, the one that counts first.
///
/// Shown, it is a line for each of them.
#[derive(Debug, Clone)]
pub struct Why {
    value: Value,
    said: Vec<Said>,
}

impl Why {
    /// The value, with variables in place.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where the value comes from; `None` where nothing sets the path.
    pub fn origin(&self) -> Option<&Origin> {
        self.said.first().map(|said| &said.origin)
    }

    /// What each source says of it, the one that counts first.
    pub fn said(&self) -> &[Said] {
        &self.said
    }

    /// What was said before and does not count, the last first. Of maps, all of it counts that is not said again.
    pub fn overrode(&self) -> &[Said] {
        self.said.get(1..).unwrap_or_default()
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.value.path(), self.value)?;
        if self.said.is_empty() {
            return f.write_str("\n  nothing sets it");
        }
        for (index, Said { origin, value }) in self.said.iter().enumerate() {
            let word = if index == 0 { "from" } else { "over" };
            write!(f, "\n  {word} {origin}: {value}")?;
        }
        Ok(())
    }
}
