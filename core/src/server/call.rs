//! The bookkeeping of one inbound call, done once wherever and however the call ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::context::Context;
use crate::error::Error;
use crate::telemetry::{EdgeStats, Measured};

/// Calls that are running, and a bell for when the last one is done.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    idle: Notify,
}

impl InFlight {
    /// Counts one more call, unless `limit` are running.
    pub(super) fn enter(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        if self.count.fetch_add(1, Ordering::AcqRel) >= limit {
            self.leave();
            return None;
        }
        Some(Permit(self.clone()))
    }

    fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Calls that are running.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

pub(super) struct Permit(Arc<InFlight>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// One call, from its arrival to its end. Dropped unfinished, it counts as cancelled.
pub(super) struct CallRecord {
    context: Context,
    measured: Measured,
    _permit: Permit,
}

impl CallRecord {
    pub(super) fn begin(context: Context, edge: Arc<EdgeStats>, permit: Permit) -> Self {
        Self { context, measured: Measured::begin(edge), _permit: permit }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The call was answered; `None` is success.
    pub(super) fn finish(&mut self, error: Option<&Error>) {
        self.measured.finish(error.map(Error::code));
        if let Some(error) = error {
            tracing::debug!(
                endpoint = self.context.endpoint(),
                caller = self.context.caller().unwrap_or_default(),
                elapsed = ?self.measured.elapsed(),
                %error,
                "call failed"
            );
        }
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        self.context.end();
    }
}
