//! How many calls are running.

use std::sync::Arc;

use crate::atomic::{AtomicUsize, Ordering};

/// Calls that are running.
#[derive(Debug, Default)]
pub(crate) struct InFlight(AtomicUsize);

/// A call that is running, until dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<InFlight>);

impl InFlight {
    /// Counts one more call, unless `limit` are running.
    pub(super) fn enter(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        if self.0.fetch_add(1, Ordering::AcqRel) >= limit {
            self.0.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit(self.clone()))
    }

    /// Calls that are running; for the moment of a refusal one more.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
