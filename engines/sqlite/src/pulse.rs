//! Who watches, and what wakes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use micro::store::Place;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::change::Name;

/// Who watches, and what wakes them.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    inner: Mutex<Inner>,
    /// This process has changed something that ends.
    pub(crate) sooner: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) watchers: HashMap<u64, Watcher>,
    next: u64,
    pub(crate) task: Option<JoinHandle<()>>,
    /// When a record ends that this process has written.
    pub(crate) ends: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Watcher {
    place: Place,
    prefix: String,
    wake: Arc<Notify>,
}

/// Ends with the watch.
#[derive(Debug)]
pub(crate) struct Registered {
    pulse: Arc<Pulse>,
    number: u64,
    pub(crate) wake: Arc<Notify>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.pulse.inner().watchers.remove(&self.number);
    }
}

impl Pulse {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process has changed records, of which the first ends after `ttl`.
    pub(crate) fn tell(&self, names: &[Name], ttl: Option<Duration>) {
        let mut inner = self.inner();
        if inner.watchers.is_empty() {
            return;
        }
        for watcher in inner.watchers.values() {
            let is_meant =
                |(place, key): &Name| *place == watcher.place && key.starts_with(&watcher.prefix);
            if names.iter().any(is_meant) {
                watcher.wake.notify_one();
            }
        }
        if let Some(ends) = ttl.and_then(|ttl| Instant::now().checked_add(ttl)) {
            inner.ends = Some(inner.ends.map_or(ends, |before| before.min(ends)));
            self.sooner.notify_one();
        }
    }

    pub(crate) fn wake_all(&self) {
        for watcher in self.inner().watchers.values() {
            watcher.wake.notify_one();
        }
    }
}

/// From now on, what changes wakes the one that watches.
pub(crate) fn register(pulse: &Arc<Pulse>, place: &Place, prefix: &str) -> Registered {
    let wake = Arc::new(Notify::new());
    let mut inner = pulse.inner();
    inner.next += 1;
    let number = inner.next;
    let (place, prefix) = (place.clone(), prefix.to_owned());
    inner.watchers.insert(number, Watcher { place, prefix, wake: wake.clone() });
    drop(inner);
    Registered { pulse: pulse.clone(), number, wake }
}
