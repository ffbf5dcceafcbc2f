//! The bookkeeping of one inbound call, done once wherever and however the call ends.

use std::sync::Arc;

use tokio::time::Instant;

use super::admission::Slot;
use crate::context::Context;
use crate::error::Error;
use crate::telemetry::{EdgeStats, Measured};
use crate::transport::Hold;

/// One call, from its arrival to its end. Dropped unfinished, it counts as cancelled.
pub(super) struct CallRecord {
    context: Context,
    measured: Measured,
    /// Present once the call can run.
    slot: Option<Slot>,
    /// What its head holds, where that is much.
    _head: Option<Hold>,
    /// When its handler had returned the one message of its answer.
    answered: Option<Instant>,
}

impl CallRecord {
    /// A call that arrived at `arrived`.
    pub(super) fn begin(
        context: Context,
        edge: Arc<EdgeStats>,
        head: Option<Hold>,
        arrived: Instant,
    ) -> Self {
        let measured = Measured::begin_at(edge, arrived.into_std());
        Self { context, measured, slot: None, _head: head, answered: None }
    }

    /// The call can run, in its slot.
    pub(super) fn enter(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// The handler returned the one message of its answer at `now`.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The call was answered; `None` is success.
    pub(super) fn finish(&mut self, error: Option<&Error>) {
        let now = self.answered.unwrap_or_else(Instant::now);
        self.measured.finish_at(error.map(Error::code), now.into_std());
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
