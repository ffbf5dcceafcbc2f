//! Who watches, and what wakes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use micro::store::Place;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::plan::Name;

/// PostgreSQL takes less than 8000 bytes.
const PAYLOAD: usize = 7000;

/// Who watches, and what wakes them.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// What tells this process's changes from those of others.
    id: String,
    inner: Mutex<Inner>,
    /// This process has changed something that ends.
    pub(crate) sooner: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) watchers: HashMap<u64, Watcher>,
    next: u64,
    pub(crate) task: Option<(u32, JoinHandle<()>)>,
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

impl Default for Pulse {
    fn default() -> Self {
        let id = format!("{:016x}", fastrand::u64(..));
        Self { id, inner: Mutex::default(), sooner: Notify::new() }
    }
}

impl Pulse {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the server is to tell others.
    pub(crate) fn payload(&self, names: &[Name], ttl: Option<i64>) -> String {
        let bytes: usize = names
            .iter()
            .map(|(place, key)| 2 * key.len() + place.table().len() + place.database().len() + 20)
            .sum();
        let keys = (bytes < PAYLOAD).then(|| {
            let key = |(place, key): &Name| json!([place.database(), place.table(), key]);
            names.iter().map(key).collect::<Value>()
        });
        let payload = json!([self.id, ttl, keys]).to_string();
        match payload.len() < PAYLOAD {
            true => payload,
            // Letters that take more room as JSON.
            false => json!([self.id, ttl, null]).to_string(),
        }
    }

    /// This process has changed records, of which the first ends after `ttl`.
    pub(crate) fn tell(&self, names: &[Name], ttl: Option<Duration>) {
        let mut inner = self.inner();
        if inner.watchers.is_empty() {
            return;
        }
        for (place, key) in names {
            inner.wake(place.database(), place.table(), key);
        }
        if let Some(ttl) = ttl {
            let ends = Instant::now() + ttl;
            inner.ends = Some(inner.ends.map_or(ends, |before| before.min(ends)));
            self.sooner.notify_one();
        }
    }

    /// Another has changed records; the time until the first of them ends.
    pub(crate) fn told(&self, payload: &str) -> Option<Duration> {
        let Ok(Value::Array(told)) = serde_json::from_str(payload) else {
            self.inner().wake_all();
            return None;
        };
        if told.first().and_then(Value::as_str) == Some(&self.id) {
            return None;
        }
        let inner = self.inner();
        match told.get(2).and_then(Value::as_array) {
            None => inner.wake_all(),
            Some(keys) => {
                for key in keys {
                    let part = |index: usize| key.get(index).and_then(Value::as_str).unwrap_or("");
                    inner.wake(part(0), part(1), part(2));
                }
            }
        }
        told.get(1).and_then(Value::as_u64).map(Duration::from_millis)
    }
}

impl Inner {
    fn wake(&self, database: &str, table: &str, key: &str) {
        for watcher in self.watchers.values() {
            let is_meant = watcher.place.database() == database
                && watcher.place.table() == table
                && key.starts_with(&watcher.prefix);
            if is_meant {
                watcher.wake.notify_one();
            }
        }
    }

    pub(crate) fn wake_all(&self) {
        for watcher in self.watchers.values() {
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
