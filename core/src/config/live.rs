//! Values that follow their configuration.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::de::DeserializeOwned;

use super::decode::decode;
use super::node::{Node, at, same};
use super::path::Path;
use crate::error::Result;

/// What is read anew with each change, before any of it is in use.
pub(super) trait Followed: Send + Sync {
    /// Reads the new value; what is returned puts it in place. `None` where it is the same.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn prepare(self: Arc<Self>, old: &Arc<Node>, new: &Arc<Node>) -> Result<Option<Commit>>;
}

/// Puts a value in place.
pub(super) type Commit = Box<dyn FnOnce() + Send>;

impl fmt::Debug for dyn Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Followed")
    }
}

/// A value that follows its configuration: it is read once for each change, and [`get`](Self::get) costs no more than a counter. Clones
/// are handles on the same one.
///
/// A change under which it could not be read is refused, and changes nothing.
pub struct Live<T>(Arc<Cell<T>>);

pub(super) struct Cell<T> {
    path: Path,
    value: ArcSwap<T>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Live<T> {
    pub(super) fn new(path: Path, root: &Arc<Node>) -> Result<Self> {
        let value = read(&path, root)?;
        Ok(Self(Arc::new(Cell { path, value: ArcSwap::from_pointee(value) })))
    }
}

impl<T> Live<T> {
    /// The value now. What was got stays as it is.
    pub fn get(&self) -> Arc<T> {
        self.0.value.load_full()
    }

    pub(super) fn cell(&self) -> &Arc<Cell<T>> {
        &self.0
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.get()).finish()
    }
}

fn read<T: DeserializeOwned>(path: &Path, root: &Arc<Node>) -> Result<T> {
    decode(path, at(root, path).map(|node| &**node))
}

impl<T: DeserializeOwned + Send + Sync + 'static> Followed for Cell<T> {
    fn prepare(self: Arc<Self>, old: &Arc<Node>, new: &Arc<Node>) -> Result<Option<Commit>> {
        let is_same = match (at(old, &self.path), at(new, &self.path)) {
            (Some(old), Some(new)) => same(old, new),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return Ok(None);
        }
        let value = Arc::new(read::<T>(&self.path, new)?);
        Ok(Some(Box::new(move || self.value.store(value))))
    }
}
