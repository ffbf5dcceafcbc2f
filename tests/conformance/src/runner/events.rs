//! What handlers told of, at any server of a cell.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::Line;

/// Events that no step has waited for yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    told: Mutex<Vec<(u64, Line)>>,
    changed: Notify,
}

impl Events {
    /// A server told of something.
    pub(super) fn push(&self, server: u64, event: Line) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push((server, event));
        self.changed.notify_waiters();
    }

    /// Waits for the first event like this at one of `servers`, and takes it.
    pub(super) async fn take(&self, servers: &[u64], name: &str, key: &str) -> (u64, Line) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if let Some(taken) = self.take_now(servers, name, key) {
                return taken;
            }
            changed.await;
        }
    }

    fn take_now(&self, servers: &[u64], name: &str, key: &str) -> Option<(u64, Line)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |(server, event): &(u64, Line)| {
            servers.contains(server)
                && event.get("name") == Some(name)
                && event.get("key") == Some(key)
        };
        let index = told.iter().position(wanted)?;
        Some(told.remove(index))
    }
}
