//! The bookkeeping of one inbound call, done once wherever and however the call ends.

use std::sync::Arc;

use tokio::time::Instant;

use super::in_flight::Permit;
use crate::context::Context;
use crate::error::Error;
use crate::telemetry::{EdgeStats, Measured};

/// One call, from its arrival to its end. Dropped unfinished, it counts as cancelled.
pub(super) struct CallRecord {
    context: Context,
    measured: Measured,
    _permit: Permit,
}

impl CallRecord {
    /// A call that arrived at `arrived`.
    pub(super) fn begin(
        context: Context,
        edge: Arc<EdgeStats>,
        permit: Permit,
        arrived: Instant,
    ) -> Self {
        Self { context, measured: Measured::begin_at(edge, arrived.into_std()), _permit: permit }
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
