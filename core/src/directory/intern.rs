//! One copy of what many nodes have in common: labels, versions, endpoint lists.

use std::collections::HashSet;
use std::sync::Arc;

use crate::registry::{Labels, Service};
use crate::selector::Release;

/// Entries held before unused ones are looked for.
const SLACK: usize = 256;

/// Hands out shared values, and forgets them once they are held nowhere else.
#[derive(Debug, Default)]
pub(super) struct Interner {
    labels: HashSet<Arc<Labels>>,
    releases: HashSet<Arc<Release>>,
    /// Entries in use when last looked.
    in_use: usize,
}

impl Interner {
    pub(super) fn labels(&mut self, labels: &Labels) -> Arc<Labels> {
        if let Some(known) = self.labels.get(labels) {
            return Arc::clone(known);
        }
        self.make_room();
        let shared = Arc::new(labels.clone());
        self.labels.insert(Arc::clone(&shared));
        shared
    }

    pub(super) fn release(&mut self, service: &Service) -> Arc<Release> {
        let release = Release::of(service);
        if let Some(known) = self.releases.get(&release) {
            return Arc::clone(known);
        }
        self.make_room();
        let shared = Arc::new(release);
        self.releases.insert(Arc::clone(&shared));
        shared
    }

    /// Looks for unused entries each time their number may have doubled.
    fn make_room(&mut self) {
        if self.labels.len() + self.releases.len() >= 2 * self.in_use + SLACK {
            self.labels.retain(|labels| Arc::strong_count(labels) > 1);
            self.releases.retain(|release| Arc::strong_count(release) > 1);
            self.in_use = self.labels.len() + self.releases.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_held_nowhere_else_are_forgotten() {
        let mut interner = Interner::default();
        let labels = |index: usize| Labels::from([("index".to_owned(), index.to_string())]);
        let held = interner.labels(&labels(0));
        for index in 1..10 * SLACK {
            interner.labels(&labels(index));
        }
        assert!(interner.labels.len() <= SLACK + 2);
        assert!(Arc::ptr_eq(&held, &interner.labels(&labels(0))));
    }
}
