//! Things that this process shares by name, for as long as somebody holds them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Shared things of one kind, by name.
pub(crate) struct Named<T>(Mutex<HashMap<String, Weak<T>>>);

impl<T: Default> Named<T> {
    /// The one of that name, made when nobody holds it.
    pub(crate) fn get(&self, name: &str) -> Arc<T> {
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = named.get(name).and_then(Weak::upgrade) {
            return shared;
        }
        // Forgetting the dead here bounds the map by the number of things in use.
        named.retain(|_, shared| shared.strong_count() > 0);
        let made = Arc::<T>::default();
        named.insert(name.to_owned(), Arc::downgrade(&made));
        made
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
