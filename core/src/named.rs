//! Things that this process shares by name, for as long as they are held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;

/// Shared things of one kind, by name.
pub(crate) struct ByName<T>(ArcSwap<Names<T>>);

type Names<T> = Mutex<HashMap<String, Weak<T>>>;

impl<T: Default> ByName<T> {
    /// The one of that name, made anew when it is not held.
    pub(crate) fn get(&self, name: &str) -> Arc<T> {
        let named = self.0.load();
        let mut named = named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = named.get(name).and_then(Weak::upgrade) {
            return shared;
        }
        // Forgetting the dead here bounds the map by the number of things in use.
        named.retain(|_, shared| shared.strong_count() > 0);
        let made = Arc::<T>::default();
        named.insert(name.to_owned(), Arc::downgrade(&made));
        made
    }

    /// In a child of a fork: what is shared now is its parent's, and a thread that is not there may hold its locks.
    pub(crate) fn begin_anew(&self) {
        // Not to be dropped either.
        std::mem::forget(self.0.swap(Arc::default()));
    }
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_a_fork_shares_nothing_with_its_parent() {
        let named = ByName::<Mutex<u32>>::default();
        let before = named.get("shop");
        assert!(Arc::ptr_eq(&before, &named.get("shop")));
        let _held = before.lock();
        named.begin_anew();
        assert!(!Arc::ptr_eq(&before, &named.get("shop")));
    }
}
