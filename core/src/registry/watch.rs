//! A watch: the queue between a registry and one reader of its changes.
//!
//! A change is made once and shared by all watchers. A queue is bounded in changes and in bytes,
//! because one change may describe a hundred endpoints: a reader that stands still costs no more
//! than that, and is told to watch again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::mpsc;

use super::Change;
use crate::error::{Code, Error, Result};
use crate::plugin::caught;

/// Changes queued for one watcher; a reader further behind than this must watch again.
pub const WATCH_CAPACITY: usize = 1024;
/// Bytes that the changes queued for one watcher may take, roughly; a reader further behind than
/// this must watch again.
pub const WATCH_BYTES: usize = 8 << 20;

/// The reading end of a watch. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watcher {
    changes: mpsc::Receiver<Queued>,
    bytes: Arc<AtomicUsize>,
    /// Keeps alive what feeds the watch, and stops it on drop.
    guard: Option<Box<dyn fmt::Debug + Send + Sync>>,
}

/// The writing end of a watch, for implementations of [`Registry`](super::Registry).
#[derive(Debug, Clone)]
pub struct WatchSender {
    changes: mpsc::Sender<Queued>,
    bytes: Arc<AtomicUsize>,
    service: Option<Arc<str>>,
}

#[derive(Debug)]
struct Queued {
    change: Arc<Change>,
    weight: usize,
}

impl Watcher {
    /// Both ends of a watch on one service, or on all.
    pub fn channel(service: Option<&str>) -> (WatchSender, Self) {
        let (sender, changes) = mpsc::channel(WATCH_CAPACITY);
        let bytes = Arc::<AtomicUsize>::default();
        (
            WatchSender {
                changes: sender,
                bytes: Arc::clone(&bytes),
                service: service.map(Arc::from),
            },
            Self { changes, bytes, guard: None },
        )
    }

    /// Drops `guard` when the watcher is dropped, to stop whatever feeds it.
    #[must_use]
    pub fn with_guard(mut self, guard: impl fmt::Debug + Send + Sync + 'static) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// The next change; waits for it. Cancelled safely by dropping the future.
    ///
    /// # Errors
    /// `ABORTED` when the watch ended: the registry went away, or this reader fell more than
    /// [`WATCH_CAPACITY`] changes or [`WATCH_BYTES`] behind. Watch again, then read the current
    /// state.
    pub async fn next(&mut self) -> Result<Change> {
        Ok(Arc::unwrap_or_clone(self.next_shared().await?))
    }

    /// As [`next`](Self::next), without a copy of one's own.
    pub(crate) async fn next_shared(&mut self) -> Result<Arc<Change>> {
        let Queued { change, weight } =
            self.changes.recv().await.ok_or_else(|| {
                Error::new(Code::Aborted, "watch ended: watch again and read anew")
            })?;
        self.bytes.fetch_sub(weight, Relaxed);
        Ok(change)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let guard = self.guard.take();
        if let Err(error) = caught("the end of a watch", || drop(guard)) {
            tracing::error!(%error, "a bug of the registry");
        }
    }
}

impl WatchSender {
    /// Offers a change. False when the watch is over: the reader left or fell too far behind, and
    /// the sender should be dropped, which ends the reader's wait.
    pub fn send(&self, change: &Arc<Change>) -> bool {
        if !self.wants(&change.service.name) {
            return !self.changes.is_closed();
        }
        let weight = change.service.weight();
        if self.bytes.fetch_add(weight, Relaxed) + weight > WATCH_BYTES {
            self.bytes.fetch_sub(weight, Relaxed);
            return false;
        }
        self.changes.try_send(Queued { change: Arc::clone(change), weight }).is_ok()
    }

    /// True when the reader has left.
    pub fn is_closed(&self) -> bool {
        self.changes.is_closed()
    }

    /// The one service watched; `None` for all.
    pub(super) fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// True when changes of `service` are for this reader.
    pub(super) fn wants(&self, service: &str) -> bool {
        self.service().is_none_or(|name| name == service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Action, Service};

    #[tokio::test]
    async fn reader_that_falls_behind_is_told_to_watch_again() {
        let (sender, mut watcher) = Watcher::channel(Some("a"));
        let change =
            |name| Arc::new(Change { action: Action::Create, service: Service::new(name, "1") });
        let (change, other) = (change("a"), change("b"));
        for _ in 0..WATCH_CAPACITY {
            assert!(sender.send(&other) && sender.send(&change));
        }
        assert!(!sender.send(&change));
        drop(sender);
        for _ in 0..WATCH_CAPACITY {
            assert_eq!(watcher.next().await.expect("queued change"), *change);
        }
        assert_eq!(watcher.next().await.expect_err("the watch is over").code(), Code::Aborted);
    }

    #[tokio::test]
    async fn queue_is_bounded_in_bytes_and_has_room_again_once_it_is_read() {
        let (sender, mut watcher) = Watcher::channel(None);
        let mut service = Service::new("a", "1");
        service.metadata.insert("blob".into(), "x".repeat(WATCH_BYTES / 4));
        let change = Arc::new(Change { action: Action::Create, service });
        let queued = std::iter::from_fn(|| sender.send(&change).then_some(())).count();
        assert_eq!(queued, 3, "less than the bound, as each weighs more than its text");
        watcher.next().await.expect("queued");
        assert!(sender.send(&change), "what was read makes room");
    }

    #[derive(Debug)]
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bug of the registry");
        }
    }

    #[test]
    fn reader_survives_a_registry_that_panics_at_the_end_of_its_watch() {
        drop(Watcher::channel(None).1.with_guard(Bomb));
    }

    #[tokio::test]
    async fn readers_share_a_change() {
        let (first, mut one) = Watcher::channel(None);
        let (second, mut two) = Watcher::channel(None);
        let change = Arc::new(Change { action: Action::Create, service: Service::new("a", "1") });
        assert!(first.send(&change) && second.send(&change));
        let (one, two) = (one.next_shared().await, two.next_shared().await);
        assert!(Arc::ptr_eq(&one.expect("queued"), &two.expect("queued")));
    }
}
