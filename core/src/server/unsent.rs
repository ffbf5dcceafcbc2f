//! Replies a peer has asked for and does not take.
//!
//! HTTP/2's flow control lets a peer ask for large replies and keep them here, at no cost to itself. So
//! the bytes each connection keeps are counted until the last of them is sent, and at a limit further
//! calls of that connection wait for room before their handlers run. Streams need less: their handlers
//! are asked for the next message only when the last one was taken.

use std::sync::Arc;

use bytes::Bytes;

use crate::transport::{COUNTED, Reservoir, Share};

/// Connections that may keep as much as they like: what all of them keep is bounded by so many times the limit of one.
const FULL: usize = 4;

/// What all connections of a server keep.
pub(super) fn everybody(limit: usize) -> Arc<Reservoir> {
    Reservoir::new(limit.saturating_mul(FULL), 0)
}

/// What one connection keeps. Smaller replies than [`COUNTED`] are not counted: they are bounded by the number of calls at
/// once.
#[derive(Debug)]
pub(super) struct Unsent(Arc<Share>);

impl Unsent {
    pub(super) fn new(everybody: &Arc<Reservoir>, limit: usize) -> Self {
        Self(Share::new(everybody, limit, 0))
    }

    pub(super) fn has_room(&self) -> bool {
        self.0.has_room()
    }

    /// Waits until the peer has taken enough.
    pub(super) async fn room(&self) {
        if !self.has_room() {
            self.0.until(|| self.0.has_room().then_some(())).await;
        }
    }

    /// The same bytes, counted until they are released.
    pub(super) fn count(&self, bytes: Bytes) -> Bytes {
        if bytes.len() < COUNTED {
            return bytes;
        }
        self.0.force(bytes.len()).on(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_there_again_once_the_last_bytes_are_gone() {
        let unsent = Unsent::new(&everybody(COUNTED), COUNTED);
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

    #[tokio::test]
    async fn all_connections_together_are_bounded_and_one_that_keeps_nothing_is_served() {
        let everybody = everybody(COUNTED);
        let connections: Vec<_> = (0..FULL).map(|_| Unsent::new(&everybody, 2 * COUNTED)).collect();
        let kept: Vec<_> =
            connections.iter().map(|one| one.count(Bytes::from(vec![7; COUNTED]))).collect();
        let mut waiting = Box::pin(connections[0].room());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        Unsent::new(&everybody, COUNTED).room().await;
        drop(kept);
        waiting.await;
    }
}
