//! What happened to the calls of each key, and the gates that some of them wait at.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Calls are known by a key that the scenario chooses.
#[derive(Default)]
pub(crate) struct Keys(Mutex<HashMap<String, Arc<Key>>>);

/// The calls of one key.
#[derive(Default)]
pub(crate) struct Key {
    counts: Mutex<Counts>,
    released: Notify,
    unblocked: Condvar,
}

/// How many of each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) cancelled: u64,
    open: bool,
}

impl Keys {
    pub(crate) fn of(&self, name: &str) -> Arc<Key> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.entry(name.to_owned()).or_default().clone()
    }
}

impl Key {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> Counts {
        *self.lock()
    }

    /// Counts something; returns the counts after it.
    pub(crate) fn count(&self, add: impl FnOnce(&mut Counts)) -> Counts {
        let mut counts = self.lock();
        add(&mut counts);
        *counts
    }

    /// Lets through all that wait, now and later.
    pub(crate) fn release(&self) {
        self.lock().open = true;
        self.released.notify_waiters();
        self.unblocked.notify_all();
    }

    /// Waits for the release.
    pub(crate) async fn wait(&self) {
        let released = self.released.notified();
        if !self.counts().open {
            released.await;
        }
    }

    /// Waits for the release without giving up the thread.
    pub(crate) fn block(&self) {
        let mut counts = self.lock();
        while !counts.open {
            counts = self.unblocked.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
