//! Replies a peer has asked for and does not take.
//!
//! HTTP/2's flow control lets a peer ask for large replies and keep them here, at no cost to itself. So
//! the bytes each connection keeps are counted until the last of them is sent, and at a limit further
//! calls of that connection wait for room before their handlers run. Streams need less: their handlers
//! are asked for the next message only when the last one was taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// Smaller replies are not counted: they are bounded by the number of calls at once.
const COUNTED: usize = 16 * 1024;

/// What one connection holds.
#[derive(Debug)]
pub(super) struct Unsent {
    bytes: AtomicUsize,
    limit: usize,
    freed: Notify,
}

impl Unsent {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), limit, freed: Notify::new() })
    }

    /// Waits until the peer has taken enough.
    pub(super) async fn room(&self) {
        while self.is_full() {
            let freed = self.freed.notified();
            if self.is_full() {
                freed.await;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.limit
    }

    /// The same bytes, counted until nobody holds them any more.
    pub(super) fn count(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        if bytes.len() < COUNTED {
            return bytes;
        }
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { bytes, unsent: self.clone() })
    }
}

struct Counted {
    bytes: Bytes,
    unsent: Arc<Unsent>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.unsent.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.unsent.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_there_again_once_the_last_bytes_are_gone() {
        let unsent = Unsent::new(COUNTED);
        unsent.room().await;
        let small = unsent.count(Bytes::from_static(b"small"));
        unsent.room().await;
        let large = unsent.count(Bytes::from(vec![7; COUNTED]));
        assert_eq!(large, vec![7; COUNTED]);
        let part = large.slice(1..2);
        drop((small, large));
        let mut waiting = Box::pin(unsent.room());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(part);
        assert!(futures_util::poll!(&mut waiting).is_ready());
    }
}
